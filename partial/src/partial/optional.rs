//! The optional parts at the end of an encoded partial, each with its length, so that parts can be added for ever.
//!
//! ```text
//! varint  how many parts follow, so that a partial that was cut short between two parts is noticed
//! for each part, by rising number:
//! varint  number of the part
//! varint  length in bytes
//! bytes   the part
//!
//! 2  order            beyond 32 readings: byte 0 for times in milliseconds, 1 for nanoseconds; varint number of single
//!                     readings, for each: time (the first zigzag relative to the base, others varint steps), 8 bytes of
//!                     the value; varint number of spans, each as in `value_span`
//! 4  moments          beyond 32 readings: see `powers`
//! 6  distinct         beyond 32 readings: see `distinct`
//! 8  states           see `states`
//! 10 distinct states  only with states: see `distinct`
//! ```
//!
//! A reader that does not know a part with an even number leaves it out: what it holds is not part of any aggregate that
//! this reader computes. (Stored bytes are kept as they are, so a later version finds it again.) It refuses a part with an
//! odd number: it changes what other parts mean.

use super::codec::{DecodeError, Reader, put_varint};
use super::distinct::Distinct;
use super::extent::Unit;
use super::many::OptionalParts;
use super::powers::Powers;
use super::sequence::{MERGED_MAX, SPANS_MAX, Sequence};
use super::states::States;
use super::value_span::ValueSpan;
use super::{Partial, Parts, Values};
use crate::time::Timestamp;

const ORDER: u64 = 2;
const MOMENTS: u64 = 4;
const DISTINCT: u64 = 6;
const STATES: u64 = 8;
const DISTINCT_STATES: u64 = 10;

const TOO_MANY: &str = "more parts than bytes";
const TOO_LONG: &str = "a part is longer than the partial";

/// The parts that were found.
#[derive(Default)]
pub(super) struct Optional {
    order: Option<Sequence<ValueSpan>>,
    powers: Option<Powers>,
    distinct: Option<Distinct>,
    states: Option<States>,
    distinct_states: Option<Distinct>,
}

/// Appends the optional parts of a partial.
pub(super) fn encode(partial: &Partial, base: Timestamp, kept: Parts, out: &mut Vec<u8>) {
    let (mut part, mut parts, mut count) = (Vec::new(), Vec::new(), 0);
    let mut put = |number: u64, write: &dyn Fn(&mut Vec<u8>)| {
        part.clear();
        write(&mut part);
        put_varint(number, &mut parts);
        put_varint(part.len() as u64, &mut parts);
        parts.extend_from_slice(&part);
        count += 1;
    };
    if let Values::Many(many) = &partial.values
        && let Some(optional) = &many.optional
    {
        if let Some(order) = optional.order.as_ref().filter(|_| kept.contains(Parts::ORDER)) {
            put(ORDER, &|out| encode_order(order, base, out));
        }
        if let Some(powers) = &optional.powers {
            put(MOMENTS, &|out| powers.encode(out));
        }
        if let Some(distinct) = &optional.distinct {
            put(DISTINCT, &|out| distinct.encode(out));
        }
    }
    if let Some(states) = &partial.states {
        put(STATES, &|out| states.encode(base, out));
        if let Some(distinct) = &states.distinct {
            put(DISTINCT_STATES, &|out| distinct.encode(out));
        }
    }
    put_varint(count, out);
    out.extend_from_slice(&parts);
}

/// Skips the parts at the end of many readings. False if there are states, or one of the parts to be kept, or one that is
/// not known and must not be left out, or if they are malformed.
pub(super) fn skip(mut reader: Reader<'_>, kept: Parts) -> bool {
    skip_parts(&mut reader, kept) == Ok(true) && reader.remaining() == 0
}

fn skip_parts(reader: &mut Reader<'_>, kept: Parts) -> Result<bool, DecodeError> {
    let mut before = 0;
    for _ in 0..reader.count(reader.remaining(), TOO_MANY)? {
        let number = reader.varint()?;
        let is_kept = match number {
            ORDER => kept.contains(Parts::ORDER),
            MOMENTS => kept.contains(Parts::MOMENTS),
            DISTINCT => kept.contains(Parts::DISTINCT),
            STATES | DISTINCT_STATES => true,
            unknown => unknown % 2 == 1,
        };
        if is_kept || number <= before {
            return Ok(false);
        }
        before = number;
        let length = reader.count(reader.remaining(), TOO_LONG)?;
        reader.bytes(length)?;
    }
    Ok(true)
}

impl Optional {
    /// Reads the parts.
    pub(super) fn decode(reader: &mut Reader<'_>, base: Timestamp) -> Result<Self, DecodeError> {
        let mut parts = Self::default();
        let mut before = 0;
        for _ in 0..reader.count(reader.remaining(), TOO_MANY)? {
            let number = reader.varint()?;
            if number <= before {
                return Err(DecodeError::Invalid("parts are not in order"));
            }
            before = number;
            let length = reader.count(reader.remaining(), TOO_LONG)?;
            let mut part = Reader::new(reader.bytes(length)?);
            match number {
                ORDER => parts.order = Some(decode_order(&mut part, base)?),
                MOMENTS => parts.powers = Some(Powers::decode(&mut part)?),
                DISTINCT => parts.distinct = Some(Distinct::decode(&mut part)?),
                STATES => parts.states = Some(States::decode(&mut part, base)?),
                DISTINCT_STATES => parts.distinct_states = Some(Distinct::decode(&mut part)?),
                unknown if unknown % 2 == 1 => return Err(DecodeError::UnknownParts(unknown)),
                _ => continue,
            }
            part.finish()?;
        }
        Ok(parts)
    }

    /// Gives the parts to the partial to which they belong.
    pub(super) fn put_into(self, partial: &mut Partial) -> Result<(), DecodeError> {
        const FEW: DecodeError = DecodeError::Invalid("an optional part of few values");
        let Self { order, powers, distinct, states, distinct_states } = self;
        match &mut partial.values {
            Values::Many(many) => {
                let ends = (many.extent.first.time, many.extent.last.time);
                let within = order
                    .as_ref()
                    .is_none_or(|order| order.ends() == Some(ends) && order.count() == many.count);
                let signs = powers.as_ref().is_none_or(|powers| powers.signs() == many.sum.signs());
                if !within || !signs {
                    return Err(DecodeError::Invalid("an optional part contradicts the values"));
                }
                many.optional = OptionalParts { powers, order, distinct }.boxed();
                partial.parts = many.parts();
            }
            Values::Timed(_) | Values::Untimed(_) => {
                if order.is_some() || powers.is_some() || distinct.is_some() {
                    return Err(FEW);
                }
            }
        }
        match (states, distinct_states) {
            (Some(mut states), distinct) => {
                states.distinct = distinct;
                partial.states = Some(Box::new(states));
            }
            (None, Some(_)) => return Err(DecodeError::Invalid("distinct states without states")),
            (None, None) => {}
        }
        Ok(())
    }
}

fn encode_order(order: &Sequence<ValueSpan>, base: Timestamp, out: &mut Vec<u8>) {
    let unit = order.unit(base);
    out.push(u8::from(unit == Unit::Nanoseconds));
    put_varint(order.readings.len() as u64, out);
    let mut before = None;
    for (time, value) in &order.readings {
        unit.put(base, before.replace(*time), *time, out);
        out.extend(value.to_le_bytes());
    }
    put_varint(order.spans.len() as u64, out);
    order.spans.iter().for_each(|span| span.encode(base, unit, out));
}

fn decode_order(reader: &mut Reader<'_>, base: Timestamp) -> Result<Sequence<ValueSpan>, DecodeError> {
    let unit = match reader.byte()? {
        0 => Unit::Milliseconds,
        1 => Unit::Nanoseconds,
        _ => return Err(DecodeError::Invalid("unknown unit of times")),
    };
    let count = reader.count(MERGED_MAX, "too many readings in order")?;
    let mut readings: Vec<(Timestamp, f64)> = Vec::with_capacity(count.min(reader.remaining()));
    for _ in 0..count {
        let time = unit.take(base, readings.last().map(|(before, _)| *before), reader)?;
        readings.push((time, reader.finite()? + 0.0));
    }
    let mut spans = Vec::new();
    for _ in 0..reader.count(SPANS_MAX, "too many spans")? {
        spans.push(ValueSpan::decode(reader, base, unit)?);
    }
    let order = Sequence { readings, spans };
    if order.is_possible() { Ok(order) } else { Err(DecodeError::Invalid("readings are not in order")) }
}
