//! The encoding of a [`Partial`], for storage and transmission. What version 1 wrote stays readable forever.
//!
//! ```text
//! byte    version, 1 or 2: the lower one if it can express the partial
//! byte    flags: bit 0     0 = the values follow, 1 = sums and sketch follow
//!                bit 1     unit of times: 0 = milliseconds, 1 = nanoseconds
//!                bits 2-4  scale of values: 0-6 = units of 10^-k, 7 = bits of the double
//!         version 2 only:
//!                bit 5     the values follow with their times, in order of time
//!                bit 6     optional parts follow at the end
//!                bit 7     only with bit 5: regular, one step leads from each time to the next
//! byte    only for scale 7: number of bits by which the magnitudes are shifted right (0-63)
//!
//! the values follow with times (up to 32 readings): see `timed`
//!
//! the values follow without times              sums and sketch follow (more than 32 readings)
//! values  see `exact`                          min     zigzag, as integer on the scale
//! then nothing if there are none, or           first, last, max   each: varint, its excess over min
//! first   varint, index of the first           times   see below
//!         reading's value                      sum     see `sum`
//! last    varint, index of the last one's      squares see `moments`
//! times   see below                            sketch  see `sketch`
//!
//! times   zigzag, first reading's time relative to the base (the window's start), modulo 2^64 ns;
//!         varint each for last, least and greatest reading: how much later than the first
//!
//! optional parts               see `optional`
//! ```
//!
//! With a single reading, the indices and the last three times are left out. Varint, zigzag: see `codec`; scale:
//! see `numbers`. A reader refuses unknown flags and versions, because it would lose readings. Decoding
//! takes at most a small multiple of the input in memory. It accepts only states that readings can lead to, as far as
//! that can be checked at no cost.

use super::codec::{DecodeError, Reader, put_varint, put_zigzag};
use super::encoded_many::EncodedMany;
use super::exact::{Exact, Untimed};
use super::extent::{Extent, Point, Times, Unit};
use super::many::Many;
use super::numbers::Scale;
use super::optional::{self, Optional};
use super::run;
use super::timed::Timed;
use super::{EXACT_MAX, Partial, Parts, Values};
use crate::time::Timestamp;

/// The version that [`Partial::encode`] writes; [`Partial::decode`] reads it and all earlier ones.
pub const ENCODING_VERSION: u8 = 2;

const VERSION_1: u8 = 1;
const SKETCH: u8 = 1;
const NANOSECONDS: u8 = 1 << 1;
const SCALE_SHIFT: u8 = 2;
const SCALE: u8 = 0b111 << SCALE_SHIFT;
const KNOWN_1: u8 = SKETCH | NANOSECONDS | SCALE;
const TIMED: u8 = 1 << 5;
const OPTIONAL: u8 = 1 << 6;
const REGULAR: u8 = 1 << 7;

impl Partial {
    /// Appends the encoding to `out`. Times are written relative to `base`, usually the start of the window;
    /// [`Partial::decode`] needs the same base. (Any base works; a near one gives a short encoding.)
    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        self.encode_parts(base, Parts::ALL, out);
    }

    /// As [`Partial::encode`] of the same without what depends on the order of more than [`EXACT_MAX`] readings.
    pub fn encode_without_order(&self, base: Timestamp, out: &mut Vec<u8>) {
        self.encode_parts(base, Parts::MOMENTS.with(Parts::DISTINCT), out);
    }

    fn encode_parts(&self, base: Timestamp, kept: Parts, out: &mut Vec<u8>) {
        let optional = if self.has_optional(kept) { OPTIONAL } else { 0 };
        match &self.values {
            Values::Timed(timed) if timed.points().is_empty() => {
                encode_few(None, &Exact::default(), base, optional, out);
            }
            Values::Timed(timed) => encode_timed(timed, base, optional, out),
            Values::Untimed(few) => encode_few(Some(&few.extent), &few.values, base, optional, out),
            Values::Many(many) => encode_many(many, base, optional, out),
        }
        if optional != 0 {
            optional::encode(self, base, kept, out);
        }
    }

    /// Appends an encoding that readers of version 1 understand: without the times of the values, without optional
    /// parts and without states. Returns whether that leaves out readings: states that stand beside no number.
    pub fn encode_version_1(&self, base: Timestamp, out: &mut Vec<u8>) -> bool {
        match &self.values {
            Values::Timed(timed) => {
                encode_few(timed.extent().as_ref(), &Exact::of(timed.values()), base, 0, out);
            }
            Values::Untimed(few) => encode_few(Some(&few.extent), &few.values, base, 0, out),
            Values::Many(many) => encode_many(many, base, 0, out),
        }
        self.states.as_ref().is_some_and(|states| states.alone > 0)
    }

    fn has_optional(&self, kept: Parts) -> bool {
        let of_values = matches!(&self.values, Values::Many(many) if many.parts().only(kept) != Parts::NONE);
        of_values || self.states.is_some()
    }

    /// Decodes the output of [`Partial::encode`] with the same `base`. Total: any bytes give a partial or an error.
    /// Optional parts that this version does not know are left out.
    ///
    /// # Errors
    ///
    /// The bytes are of a later version, truncated, too long, or not a state that readings lead to.
    pub fn decode(bytes: &[u8], base: Timestamp) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let head = Head::decode(&mut reader)?;
        let (unit, scale) = (head.unit, head.scale);
        let values = match head.form {
            Form::Many => {
                let many = EncodedMany::read(&mut reader, base, unit, scale)?;
                Values::Many(Box::new(many.decode()))
            }
            Form::Timed { regular } => {
                Values::Timed(Timed::decode(&mut reader, base, (unit, scale, regular))?)
            }
            Form::Untimed => {
                let values = Exact::decode(scale, &mut reader)?;
                match extent_of_few(values.values(), &mut reader, base, unit)? {
                    Some(extent) => Values::Untimed(Box::new(Untimed { extent, values })),
                    None => Values::default(),
                }
            }
        };
        let mut partial = Self { values, states: None, parts: Parts::NONE };
        if head.optional {
            Optional::decode(&mut reader, base)?.put_into(&mut partial)?;
        }
        reader.finish()?;
        Ok(partial)
    }

    /// As [`Partial::merge_across_series`] with what [`Partial::decode`] makes of these bytes; faster, because most are
    /// added without a partial between. On an error nothing is added.
    ///
    /// # Errors
    ///
    /// Those of [`Partial::decode`]; optional parts that are not kept are left unread.
    pub fn merge_encoded_across_series(&mut self, bytes: &[u8], base: Timestamp) -> Result<(), DecodeError> {
        let kept = self.parts.only(Parts::MOMENTS.with(Parts::DISTINCT));
        if !self.add_encoded(bytes, base, kept)? {
            self.merge_across_series(&Self::decode(bytes, base)?);
        } else if let Values::Many(many) = &mut self.values {
            many.keep_unordered(self.parts);
        }
        Ok(())
    }

    /// As [`Partial::merge`] with what [`Partial::decode`] makes of these bytes, but the optional parts that this partial
    /// asks for are kept of few readings too; faster, because most are added without a partial between. On an error
    /// nothing is added.
    ///
    /// # Errors
    ///
    /// Exactly those of [`Partial::decode`].
    pub fn merge_encoded(&mut self, bytes: &[u8], base: Timestamp) -> Result<(), DecodeError> {
        if !self.add_encoded(bytes, base, Parts::ALL)? {
            self.merge(&Self::decode(bytes, base)?);
        }
        Ok(())
    }

    /// Adds few readings one by one, and sums and sketch of many from their bytes; false, without having added anything,
    /// if these are others, or carry states or one of the optional parts that are to be kept.
    pub(super) fn add_encoded(
        &mut self,
        bytes: &[u8],
        base: Timestamp,
        kept: Parts,
    ) -> Result<bool, DecodeError> {
        let mut reader = Reader::new(bytes);
        let head = Head::decode(&mut reader)?;
        match head.form {
            Form::Timed { regular } if !head.optional => {
                let mut buffer = [Point { time: Timestamp::from_nanos(0), value: 0.0 }; EXACT_MAX];
                let of_head = (head.unit, head.scale, regular);
                let points = Timed::read(&mut reader, base, of_head, &mut buffer)?;
                reader.finish()?;
                run::push_ordered(self, points);
            }
            Form::Many => {
                let many = EncodedMany::read(&mut reader, base, head.unit, head.scale)?;
                if !head.optional {
                    reader.finish()?;
                } else if !optional::skip(reader, kept) {
                    return Ok(false);
                }
                self.merge_encoded_many(&many);
            }
            Form::Timed { .. } | Form::Untimed => return Ok(false),
        }
        Ok(true)
    }

    /// Checks that [`Partial::decode`] accepts these bytes; returns the last reading's time (`None`: there are no
    /// readings). Allocates nothing for up to 32 readings without states.
    ///
    /// # Errors
    ///
    /// Exactly those of [`Partial::decode`].
    pub fn check(bytes: &[u8], base: Timestamp) -> Result<Option<Timestamp>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let head = Head::decode(&mut reader)?;
        if head.optional || matches!(head.form, Form::Many) {
            return Self::decode(bytes, base).map(|partial| partial.last_time());
        }
        let (unit, scale) = (head.unit, head.scale);
        let last = if let Form::Timed { regular } = head.form {
            let mut buffer = [Point { time: Timestamp::from_nanos(0), value: 0.0 }; EXACT_MAX];
            let points = Timed::read(&mut reader, base, (unit, scale, regular), &mut buffer)?;
            points.last().map(|point| point.time)
        } else {
            let mut buffer = [0.0; EXACT_MAX];
            let values = Exact::read(scale, &mut reader, &mut buffer)?;
            extent_of_few(values, &mut reader, base, unit)?.map(|extent| extent.last.time)
        };
        reader.finish()?;
        Ok(last)
    }

    /// Time of the last reading, number or state. `None`: there are none.
    #[must_use]
    pub fn last_time(&self) -> Option<Timestamp> {
        let state = self.states.as_ref().map(|states| states.last);
        self.last().map(|point| point.time).max(state)
    }
}

/// Appends the readings to `points`, if there are few, with their times and nothing else; otherwise false.
pub(super) fn read_few(bytes: &[u8], base: Timestamp, points: &mut Vec<Point>) -> Result<bool, DecodeError> {
    let mut reader = Reader::new(bytes);
    let head = Head::decode(&mut reader)?;
    let Form::Timed { regular } = head.form else { return Ok(false) };
    if head.optional {
        return Ok(false);
    }
    let mut buffer = [Point { time: Timestamp::from_nanos(0), value: 0.0 }; EXACT_MAX];
    let read = Timed::read(&mut reader, base, (head.unit, head.scale, regular), &mut buffer)?;
    reader.finish()?;
    points.extend_from_slice(read);
    Ok(true)
}

fn nanoseconds(unit: Unit) -> u8 {
    if unit == Unit::Nanoseconds { NANOSECONDS } else { 0 }
}

fn encode_timed(timed: &Timed, base: Timestamp, optional: u8, out: &mut Vec<u8>) {
    let (unit, step) = (timed.unit(base), timed.step());
    let mut values = [0.0; EXACT_MAX];
    for (place, value) in values.iter_mut().zip(timed.values()) {
        *place = value;
    }
    let scale = Scale::of(values.get(..timed.points().len()).unwrap_or_default());
    let regular = if step.is_some() { REGULAR } else { 0 };
    let flags = TIMED | regular | optional | nanoseconds(unit) | scale.code() << SCALE_SHIFT;
    out.extend([ENCODING_VERSION, flags]);
    scale.encode(out);
    timed.encode(base, (unit, scale, step), out);
}

fn version(optional: u8) -> u8 {
    if optional == 0 { VERSION_1 } else { ENCODING_VERSION }
}

fn encode_few(extent: Option<&Extent>, few: &Exact, base: Timestamp, optional: u8, out: &mut Vec<u8>) {
    let unit = extent.map_or(Unit::Milliseconds, |extent| extent.unit(base));
    let scale = Scale::of(few.values());
    out.extend([version(optional), optional | nanoseconds(unit) | scale.code() << SCALE_SHIFT]);
    scale.encode(out);
    few.encode(scale, out);
    let Some(extent) = extent else { return };
    let single = few.values().len() == 1;
    if !single {
        few.encode_index(extent.first.value, out);
        few.encode_index(extent.last.value, out);
    }
    extent.encode_times(base, unit, single, out);
}

fn encode_many(many: &Many, base: Timestamp, optional: u8, out: &mut Vec<u8>) {
    let extent = &many.extent;
    let ends = [extent.min, extent.max, extent.first, extent.last].map(|end| end.value);
    let (unit, scale) = (extent.unit(base), Scale::of(&ends));
    out.extend([version(optional), SKETCH | optional | nanoseconds(unit) | scale.code() << SCALE_SHIFT]);
    scale.encode(out);
    let min = scale.integer(extent.min.value);
    put_zigzag(min, out);
    for end in [extent.first, extent.last, extent.max] {
        put_varint(scale.integer(end.value).wrapping_sub(min) as u64, out);
    }
    extent.encode_times(base, unit, false, out);
    many.sum.encode(out);
    many.squares.encode(out);
    many.sketch.encode(out);
}

/// What follows the first bytes.
#[derive(Clone, Copy)]
enum Form {
    Timed { regular: bool },
    Untimed,
    Many,
}

/// Contents of the first bytes.
struct Head {
    form: Form,
    unit: Unit,
    scale: Scale,
    optional: bool,
}

impl Head {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.byte()?;
        if !(VERSION_1..=ENCODING_VERSION).contains(&version) {
            return Err(DecodeError::Version(version));
        }
        let flags = reader.byte()?;
        let unknown = if version == VERSION_1 { !KNOWN_1 } else { 0 };
        if flags & unknown != 0 {
            return Err(DecodeError::UnknownParts(flags.into()));
        }
        let form = match (flags & SKETCH != 0, flags & TIMED != 0, flags & REGULAR != 0) {
            (false, true, regular) => Form::Timed { regular },
            (false, false, false) => Form::Untimed,
            (true, false, false) => Form::Many,
            _ => return Err(DecodeError::UnknownParts(flags.into())),
        };
        let unit = if flags & NANOSECONDS == 0 { Unit::Milliseconds } else { Unit::Nanoseconds };
        let scale = Scale::decode((flags & SCALE) >> SCALE_SHIFT, reader)?;
        Ok(Self { form, unit, scale, optional: flags & OPTIONAL != 0 })
    }
}

/// The extent, encoded after the values; `None`: there are no values.
fn extent_of_few(
    values: &[f64],
    reader: &mut Reader<'_>,
    base: Timestamp,
    unit: Unit,
) -> Result<Option<Extent>, DecodeError> {
    let (Some(&min), Some(&max)) = (values.first(), values.last()) else { return Ok(None) };
    let single = values.len() == 1;
    let (first, last) = match single {
        true => (min, min),
        false => (Exact::decode_index(values, reader)?, Exact::decode_index(values, reader)?),
    };
    let times = Times::decode(reader, base, unit, single)?;
    Extent::decoded([min, max, first, last], times).map(Some)
}
