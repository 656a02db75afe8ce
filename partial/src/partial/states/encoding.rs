//! Encoding of states.
//!
//! Byte with bit 0 for times in nanoseconds instead of milliseconds, and bit 1 if the order is known; varint number of
//! readings, varint how many of them stand beside no number.
//!
//! If the order is not known: zigzag nanoseconds from the base to the last one's time, modulo 2^64.
//!
//! If it is known: varint number of states and the text of each (varint length, bytes), in rising order; varint number
//! of single readings, and unless it is 0 zigzag time of the first one relative to the base, varint steps to the others,
//! varint index of each one's state; varint number of spans, each as [`StateSpan`]. The index after those of all texts
//! is that of other states.

use std::sync::Arc;

use super::{StateSpan, States, is_state};
use crate::partial::codec::{DecodeError, Reader, put_varint, put_zigzag};
use crate::partial::extent::Unit;
use crate::partial::sequence::{MERGED_MAX, SPANS_MAX, Sequence, Span as _};
use crate::partial::{OTHER_STATE, STATE_BYTES_MAX, STATES_MAX};
use crate::time::Timestamp;

const NANOSECONDS: u8 = 1;
const ORDERED: u8 = 1 << 1;

impl States {
    fn index(&self, state: &str) -> u64 {
        match self.texts.binary_search_by(|known| (**known).cmp(state)) {
            Ok(at) => at as u64,
            // Not among them: other.
            Err(_) => self.texts.len() as u64,
        }
    }

    pub(in crate::partial) fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        let Some(sequence) = &self.sequence else {
            out.push(0);
            put_varint(self.count, out);
            put_varint(self.alone, out);
            return put_zigzag(self.last.as_nanos().wrapping_sub(base.as_nanos()), out);
        };
        let unit = sequence.unit(base);
        out.push(ORDERED | if unit == Unit::Nanoseconds { NANOSECONDS } else { 0 });
        put_varint(self.count, out);
        put_varint(self.alone, out);
        put_varint(self.texts.len() as u64, out);
        for text in &self.texts {
            put_varint(text.len() as u64, out);
            out.extend(text.as_bytes());
        }
        put_varint(sequence.readings.len() as u64, out);
        let mut before = None;
        for (time, _) in &sequence.readings {
            unit.put(base, before.replace(*time), *time, out);
        }
        sequence.readings.iter().for_each(|(_, state)| put_varint(self.index(state), out));
        put_varint(sequence.spans.len() as u64, out);
        sequence.spans.iter().for_each(|span| self.encode_span(span, base, unit, out));
    }

    /// Encodes a span: zigzag first time relative to the base, varint time to the last, varint index of the first and
    /// last state, varint readings and transitions, varint number of states, for each its index and nanoseconds.
    fn encode_span(&self, span: &StateSpan, base: Timestamp, unit: Unit, out: &mut Vec<u8>) {
        unit.put_ends(base, span.ends(), out);
        let ends = [self.index(&span.first.1), self.index(&span.last.1)];
        for number in [ends[0], ends[1], span.count, span.transitions, span.times.len() as u64] {
            put_varint(number, out);
        }
        for (state, nanos) in &span.times {
            put_varint(self.index(state), out);
            put_varint(*nanos, out);
        }
    }

    pub(in crate::partial) fn decode(reader: &mut Reader<'_>, base: Timestamp) -> Result<Self, DecodeError> {
        const COUNT: DecodeError = DecodeError::Invalid("the number of states contradicts their readings");
        let flags = reader.byte()?;
        let (count, alone) = (reader.varint()?, reader.varint()?);
        if alone > count {
            return Err(COUNT);
        }
        match flags {
            0 if count > 0 => {
                let last = Timestamp::from_nanos(base.as_nanos().wrapping_add(reader.zigzag()?));
                return Ok(Self { count, alone, last, sequence: None, texts: Vec::new(), distinct: None });
            }
            ORDERED | 0b11 => {}
            _ => return Err(DecodeError::Invalid("unknown flags of states")),
        }
        let unit = if flags & NANOSECONDS == 0 { Unit::Milliseconds } else { Unit::Nanoseconds };
        let texts = decode_texts(reader)?;
        let other: Arc<str> = OTHER_STATE.into();
        let state = |index: u64| match usize::try_from(index) {
            Ok(at) if at < texts.len() => texts.get(at).map(Arc::clone),
            Ok(at) if at == texts.len() => Some(Arc::clone(&other)),
            _ => None,
        };
        let mut sequence =
            Sequence { readings: decode_readings(reader, base, unit, state)?, spans: Vec::new() };
        let spans = reader.count(SPANS_MAX, "too many spans of states")?;
        for _ in 0..spans {
            sequence.spans.push(decode_span(reader, base, unit, state)?);
        }
        if sequence.count() != count || count == 0 || !sequence.is_possible() {
            return Err(COUNT);
        }
        let (_, last) = sequence.ends().ok_or(COUNT)?;
        Ok(Self { count, alone, last, sequence: Some(sequence), texts, distinct: None })
    }
}

fn decode_texts(reader: &mut Reader<'_>) -> Result<Vec<Arc<str>>, DecodeError> {
    const TEXT: DecodeError = DecodeError::Invalid("the text of a state is not allowed");
    let count = reader.count(STATES_MAX, "too many states")?;
    let mut texts: Vec<Arc<str>> = Vec::with_capacity(count.min(reader.remaining()));
    for _ in 0..count {
        let length = reader.count(STATE_BYTES_MAX, "the text of a state is too long")?;
        let text = std::str::from_utf8(reader.bytes(length)?).map_err(|_| TEXT)?;
        let in_order = texts.last().is_none_or(|last| **last < *text);
        if !is_state(text) || text == OTHER_STATE || !in_order {
            return Err(TEXT);
        }
        texts.push(text.into());
    }
    Ok(texts)
}

fn decode_readings(
    reader: &mut Reader<'_>,
    base: Timestamp,
    unit: Unit,
    state: impl Fn(u64) -> Option<Arc<str>>,
) -> Result<Vec<(Timestamp, Arc<str>)>, DecodeError> {
    const STATE: DecodeError = DecodeError::Invalid("an unknown state");
    let count = reader.count(MERGED_MAX, "too many readings of states")?;
    let mut times: Vec<Timestamp> = Vec::with_capacity(count.min(reader.remaining()));
    for _ in 0..count {
        times.push(unit.take(base, times.last().copied(), reader)?);
    }
    times.into_iter().map(|time| Ok((time, state(reader.varint()?).ok_or(STATE)?))).collect()
}

fn decode_span(
    reader: &mut Reader<'_>,
    base: Timestamp,
    unit: Unit,
    state: impl Fn(u64) -> Option<Arc<str>>,
) -> Result<StateSpan, DecodeError> {
    const STATE: DecodeError = DecodeError::Invalid("an unknown state");
    let (first, last) = unit.take_ends(base, reader)?;
    let ends = [state(reader.varint()?).ok_or(STATE)?, state(reader.varint()?).ok_or(STATE)?];
    let [first_state, last_state] = ends;
    let (count, transitions) = (reader.varint()?, reader.varint()?);
    let number = reader.count(STATES_MAX + 1, "too many states of a span")?;
    let mut times: Vec<(Arc<str>, u64)> = Vec::with_capacity(number.min(reader.remaining()));
    for _ in 0..number {
        times.push((state(reader.varint()?).ok_or(STATE)?, reader.varint()?));
    }
    if count == 0 || transitions >= count || !times.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(DecodeError::Invalid("the counts of a span of states contradict"));
    }
    Ok(StateSpan { first: (first, first_state), last: (last, last_state), count, transitions, times })
}
