//! Encoded sums and sketch of many readings, checked but not decoded.
//!
//! Queries merge millions of rows like these. Built from its bytes, each would take four allocations that are freed
//! at once, so they are added to what is at hand from the bytes; [`Partial::decode`] reads them in the same way.

use super::codec::{DecodeError, Reader};
use super::extent::{Extent, Times, Unit};
use super::fixed::EncodedFixed;
use super::many::Many;
use super::moments::Squares;
use super::numbers::Scale;
use super::parts::Parts;
use super::sketch::EncodedSketch;
use super::sum::EncodedSum;
use super::{EXACT_MAX, Partial, Values};
use crate::time::Timestamp;

/// The encoding of a [`Many`] without its optional parts.
pub(super) struct EncodedMany<'a> {
    extent: Extent,
    /// Equal to the sketch's count.
    count: u64,
    sum: EncodedSum<'a>,
    squares: EncodedFixed<'a>,
    sketch: EncodedSketch<'a>,
}

impl<'a> EncodedMany<'a> {
    /// Reads the summary, and checks whether any readings can have it.
    pub(super) fn read(
        reader: &mut Reader<'a>,
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
        let extent = Extent::decoded([min, max, first, last], times)?;
        let (sum, squares) = (EncodedSum::read(reader)?, EncodedFixed::read(reader)?);
        let sketch = EncodedSketch::read(reader)?;
        let many = Self { extent, count: sketch.count(), sum, squares, sketch };
        many.check()?;
        Ok(many)
    }

    /// Checks that these sums and this sketch can belong to values with this extent.
    fn check(&self) -> Result<(), DecodeError> {
        let (min, max) = (self.extent.min.value, self.extent.max.value);
        if self.count <= EXACT_MAX as u64 {
            return Err(DecodeError::Invalid("a sketch of few values"));
        }
        if !self.sketch.is_possible(min, max, self.sum.signs())
            || self.squares.is_zero() != (min == 0.0 && max == 0.0)
        {
            return Err(DecodeError::Invalid("sketch, sums, and least or greatest value contradict"));
        }
        // A saturated count says nothing about the mean.
        if self.count < u64::MAX && !self.sum.is_mean_between(self.count, min, max) {
            return Err(DecodeError::Invalid("the mean is not between least and greatest value"));
        }
        Ok(())
    }

    pub(super) fn decode(&self) -> Many {
        Many {
            count: self.count,
            sum: self.sum.decode(),
            squares: Squares(self.squares.decode()),
            sketch: self.sketch.decode(),
            ..Many::new(self.extent, Parts::NONE)
        }
    }
}

impl Partial {
    /// Adds many readings whose optional parts are not known, or not kept.
    pub(super) fn merge_encoded_many(&mut self, encoded: &EncodedMany<'_>) {
        let Some(many) = self.make_many() else {
            self.values = Values::Many(Box::new(encoded.decode()));
            return;
        };
        many.extent.merge(&encoded.extent);
        many.count = many.count.saturating_add(encoded.count);
        many.sum.merge_encoded(&encoded.sum);
        many.squares.merge_encoded(&encoded.squares);
        many.sketch.merge_encoded(&encoded.sketch);
        many.optional = None;
    }
}
