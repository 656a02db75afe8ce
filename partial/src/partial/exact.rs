//! Few values without their times, sorted, as partials of encoding version 1 hold them.
//!
//! They give the sums and all quantiles exactly. Nothing that depends on the order of the readings is known of them.
//!
//! Encoding, with values as integers on the partial's scale: varint number of values; zigzag least value; for each
//! further value: varint difference from its predecessor.

use super::codec::{DecodeError, Reader, put_varint, put_zigzag};
use super::extent::{Extent, Point};
use super::numbers::Scale;

/// Maximum number of values kept exactly.
///
/// Up to this number, the readings are about as small as sums and sketch (on the wire one to three bytes per decimal
/// value of a regular device against 60 to 100 bytes; in memory 16 bytes per reading against some 400), appending one is
/// faster than finding a bin, and a series with three readings per second in ten-second windows has exact quantiles.
pub const EXACT_MAX: usize = 32;

/// At most [`EXACT_MAX`] finite values in rising order, no negative zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exact(Vec<f64>);

/// Few values and their extent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Untimed {
    pub(super) extent: Extent,
    /// At least one.
    pub(super) values: Exact,
}

impl Untimed {
    pub(super) fn new(extent: Extent, values: impl Iterator<Item = f64>) -> Self {
        Self { extent, values: Exact::of(values) }
    }

    /// Adds a reading, or returns its value when full.
    pub(super) fn push(&mut self, point: Point) -> Result<(), f64> {
        self.values.push(point.value)?;
        self.extent.push(point);
        Ok(())
    }
}

impl Exact {
    /// Those values; at most [`EXACT_MAX`].
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.take(EXACT_MAX).collect();
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    /// Adds the value, or returns it when full.
    #[inline]
    pub(super) fn push(&mut self, value: f64) -> Result<(), f64> {
        if self.0.len() >= EXACT_MAX {
            return Err(value);
        }
        let place = self.0.partition_point(|&other| other < value);
        self.0.insert(place, value);
        Ok(())
    }

    /// Adds values; there must be room for them.
    pub(super) fn extend(&mut self, values: &[f64]) {
        let needed = self.0.len() + values.len();
        debug_assert!(needed <= EXACT_MAX);
        // The same capacity as after single pushes.
        let mut capacity = self.0.capacity();
        while capacity < needed {
            capacity = (2 * capacity).max(4);
        }
        self.0.reserve_exact(capacity - self.0.len());
        self.0.extend_from_slice(values);
        self.0.sort_unstable_by(f64::total_cmp);
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.0
    }

    /// Index of a value that is present.
    fn index(&self, value: f64) -> u64 {
        self.0.partition_point(|&other| other < value) as u64
    }

    pub(super) fn heap(&self) -> usize {
        self.0.capacity() * size_of::<f64>()
    }

    pub(super) fn encode(&self, scale: Scale, out: &mut Vec<u8>) {
        put_varint(self.0.len() as u64, out);
        let mut below = None;
        for &value in &self.0 {
            let integer = scale.integer(value);
            match below {
                None => put_zigzag(integer, out),
                Some(below) => put_varint(integer.wrapping_sub(below) as u64, out),
            }
            below = Some(integer);
        }
    }

    pub(super) fn decode(scale: Scale, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut buffer = [0.0; EXACT_MAX];
        Ok(Self(Self::read(scale, reader, &mut buffer)?.to_vec()))
    }

    /// Reads the values into `buffer`, without allocating.
    pub(super) fn read<'b>(
        scale: Scale,
        reader: &mut Reader<'_>,
        buffer: &'b mut [f64; EXACT_MAX],
    ) -> Result<&'b [f64], DecodeError> {
        const RANGE: DecodeError = DecodeError::Invalid("a value is out of range");
        let count = reader.count(EXACT_MAX, "too many exact values")?;
        let mut below: Option<i64> = None;
        for place in buffer.iter_mut().take(count) {
            let integer = match below {
                None => reader.zigzag()?,
                Some(below) => below.checked_add_unsigned(reader.varint()?).ok_or(RANGE)?,
            };
            *place = scale.value(integer).ok_or(RANGE)?;
            below = Some(integer);
        }
        Ok(buffer.get(..count).unwrap_or_default())
    }

    /// Encodes the index of a value that is present.
    pub(super) fn encode_index(&self, value: f64, out: &mut Vec<u8>) {
        put_varint(self.index(value), out);
    }

    pub(super) fn decode_index(values: &[f64], reader: &mut Reader<'_>) -> Result<f64, DecodeError> {
        let index = usize::try_from(reader.varint()?).ok().and_then(|index| values.get(index));
        index
            .copied()
            .ok_or(DecodeError::Invalid("the value of the first or last reading is not among the values"))
    }
}
