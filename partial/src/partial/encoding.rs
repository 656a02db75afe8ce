//! The encoding of a [`Partial`], for storage and transmission. Version 1 stays readable forever.
//!
//! ```text
//! byte    version, 1
//! byte    flags: bit 0     0 = the values follow, 1 = sums and sketch follow
//!                bit 1     unit of times: 0 = milliseconds, 1 = nanoseconds
//!                bits 2-4  scale of values: 0-6 = units of 10^-k, 7 = bits of the double
//!                bits 5-7  0; each reserved for a part of a later version, placed after the parts of this one
//! byte    only for scale 7: number of bits by which the magnitudes are shifted right (0-63)
//!
//! the values follow (up to 32 readings)        sums and sketch follow (more than 32 readings)
//! values  see `exact`                          min     zigzag, as integer on the scale
//! then nothing if there are none, or           first, last, max   each: varint, its excess over min
//! first   varint, index of the first           times   see below
//!         reading's value                      sum     see `sum`
//! last    varint, index of the last one's      squares see `moments`
//! times   see below                            sketch  see `sketch`
//!
//! times   zigzag, first reading's time relative to the base (the window's start), modulo 2^64 ns;
//!         varint each for last, least and greatest reading: how much later than the first
//! ```
//!
//! With a single reading, the indices and the last three times are left out. Varint, zigzag: see `codec`; scale:
//! see `numbers`. A reader refuses unknown flags, because it would lose parts that belong to the summary. Decoding
//! takes at most a small multiple of the input in memory. It accepts only states that readings can lead to, as far as
//! that can be checked at no cost.

use super::codec::{DecodeError, Reader, put_varint, put_zigzag};
use super::exact::Exact;
use super::extent::{Extent, Point, Times, Unit};
use super::moments::Squares;
use super::numbers::Scale;
use super::sketch::Sketch;
use super::sum::Sum;
use super::{EXACT_MAX, Many, Partial, Parts, Values};
use crate::time::Timestamp;

/// The version that [`Partial::encode`] writes; [`Partial::decode`] reads it and all earlier ones.
pub const ENCODING_VERSION: u8 = 1;

const SKETCH: u8 = 1;
const NANOSECONDS: u8 = 1 << 1;
const SCALE_SHIFT: u8 = 2;
const SCALE: u8 = 0b111 << SCALE_SHIFT;
const KNOWN: u8 = SKETCH | NANOSECONDS | SCALE;

const CONTRADICTION: DecodeError = DecodeError::Invalid("least, greatest, first and last reading contradict");

impl Partial {
    /// Appends the encoding to `out`. Times are written relative to `base`, usually the start of the window;
    /// [`Partial::decode`] needs the same base. (Any base works; a near one gives a short encoding.)
    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        let unit = self.extent.map_or(Unit::Milliseconds, |extent| extent.unit(base));
        let ends = self
            .extent
            .map(|extent| [extent.min, extent.max, extent.first, extent.last].map(|end| end.value));
        let (form, scale) = match (&self.values, &ends) {
            (Values::Few(few), _) => (0, Scale::of(few.values())),
            (Values::Many(_), ends) => (SKETCH, Scale::of(ends.as_ref().map_or(&[][..], |ends| ends))),
        };
        let nanoseconds = if unit == Unit::Nanoseconds { NANOSECONDS } else { 0 };
        out.extend([ENCODING_VERSION, form | nanoseconds | scale.code() << SCALE_SHIFT]);
        scale.encode(out);
        match &self.values {
            Values::Few(few) => few.encode(scale, out),
            Values::Many(_) => {}
        }
        let Some(extent) = &self.extent else { return };
        match &self.values {
            Values::Few(few) => {
                let single = few.values().len() == 1;
                if !single {
                    few.encode_index(extent.first.value, out);
                    few.encode_index(extent.last.value, out);
                }
                extent.encode_times(base, unit, single, out);
            }
            Values::Many(many) => {
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
        }
    }

    /// Appends an encoding that readers of version 1 understand: without the times of the values, without optional
    /// parts and without states. Returns whether that leaves states out, which nothing else can stand for.
    pub fn encode_version_1(&self, base: Timestamp, out: &mut Vec<u8>) -> bool {
        self.encode(base, out);
        false
    }

    /// Decodes the output of [`Partial::encode`] with the same `base`. Total: any bytes give a partial or an error.
    ///
    /// # Errors
    ///
    /// The bytes are of a later version, truncated, too long, or not a state that readings lead to.
    pub fn decode(bytes: &[u8], base: Timestamp) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let Head { sketch, unit, scale } = Head::decode(&mut reader)?;
        let partial = if sketch {
            Self::decode_many(&mut reader, base, unit, scale)?
        } else {
            let few = Exact::decode(scale, &mut reader)?;
            let extent = extent_of_few(few.values(), &mut reader, base, unit)?;
            Self { extent, values: Values::Few(few), parts: Parts::NONE }
        };
        reader.finish()?;
        Ok(partial)
    }

    /// Checks that [`Partial::decode`] accepts these bytes; returns the last reading's time (`None`: there are no
    /// readings). Allocates nothing for up to 32 readings.
    ///
    /// # Errors
    ///
    /// Exactly those of [`Partial::decode`].
    pub fn check(bytes: &[u8], base: Timestamp) -> Result<Option<Timestamp>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let Head { sketch, unit, scale } = Head::decode(&mut reader)?;
        let extent = if sketch {
            Self::decode_many(&mut reader, base, unit, scale)?.extent
        } else {
            let mut buffer = [0.0; EXACT_MAX];
            let values = Exact::read(scale, &mut reader, &mut buffer)?;
            extent_of_few(values, &mut reader, base, unit)?
        };
        reader.finish()?;
        Ok(extent.map(|extent| extent.last.time))
    }

    fn decode_many(
        reader: &mut Reader<'_>,
        base: Timestamp,
        unit: Unit,
        scale: Scale,
    ) -> Result<Self, DecodeError> {
        const RANGE: DecodeError = DecodeError::Invalid("a value is out of range");
        let least = reader.zigzag()?;
        let mut above = || {
            let integer = least.checked_add_unsigned(reader.varint()?);
            integer.and_then(|integer| scale.value(integer)).ok_or(RANGE)
        };
        let (first, last, max) = (above()?, above()?, above()?);
        let min = scale.value(least).ok_or(RANGE)?;
        let times = Times::decode(reader, base, unit, false)?;
        let extent = extent(min, max, first, last, times)?;

        let (sum, squares) = (Sum::decode(reader)?, Squares::decode(reader)?);
        let sketch = Sketch::decode(reader)?;
        let many = Many { count: sketch.count(), sum, squares, sketch };
        many.check(&extent)?;
        Ok(Self { extent: Some(extent), values: Values::Many(Box::new(many)), parts: Parts::NONE })
    }
}

/// Contents of the first bytes.
struct Head {
    sketch: bool,
    unit: Unit,
    scale: Scale,
}

impl Head {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.byte()? {
            ENCODING_VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let flags = reader.byte()?;
        if flags & !KNOWN != 0 {
            return Err(DecodeError::UnknownParts(flags));
        }
        let unit = if flags & NANOSECONDS == 0 { Unit::Milliseconds } else { Unit::Nanoseconds };
        let scale = Scale::decode((flags & SCALE) >> SCALE_SHIFT, reader)?;
        Ok(Self { sketch: flags & SKETCH != 0, unit, scale })
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
    extent(min, max, first, last, times).map(Some)
}

impl Many {
    /// Checks that these sums and this sketch can belong to values with that extent.
    fn check(&self, extent: &Extent) -> Result<(), DecodeError> {
        let (min, max) = (extent.min.value, extent.max.value);
        if self.count <= EXACT_MAX as u64 {
            return Err(DecodeError::Invalid("a sketch of few values"));
        }
        if !self.sketch.is_possible(min, max, self.sum.signs())
            || self.squares.is_zero() != (min == 0.0 && max == 0.0)
        {
            return Err(DecodeError::Invalid("sketch, sums, and least or greatest value contradict"));
        }
        // A saturated count says nothing about the mean.
        let mean = self.sum.mean(self.count).filter(|_| self.count < u64::MAX);
        if mean.is_some_and(|mean| !(min..=max).contains(&mean)) {
            return Err(DecodeError::Invalid("the mean is not between least and greatest value"));
        }
        Ok(())
    }
}

fn extent(min: f64, max: f64, first: f64, last: f64, times: Times) -> Result<Extent, DecodeError> {
    let extent = Extent {
        min: Point { time: times.min, value: min },
        max: Point { time: times.max, value: max },
        first: Point { time: times.first, value: first },
        last: Point { time: times.last, value: last },
    };
    if extent.is_possible() { Ok(extent) } else { Err(CONTRADICTION) }
}
