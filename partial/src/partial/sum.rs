//! The exact sum of the values, and the mean.
//!
//! Positive and negative values are summed separately, each as an integer in units of 2^-1074 (see [`Fixed`]). Most
//! series have only one sign, and an empty sum takes no heap memory.
//!
//! Encoding: the sum of the positive values, then of the magnitudes of the negative ones, each as a [`Fixed`].

use super::codec::{DecodeError, Reader};
use super::fixed::{Fixed, Signed};

/// Exponent of the unit of sums: the least double.
pub(super) const UNIT: i32 = -1074;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) positive: Fixed,
    pub(super) negative: Fixed,
}

/// A finite magnitude as `mantissa << bit` in units of 2^-1074; the mantissa is below 2^53.
#[inline]
pub(super) fn units(value: f64) -> (u64, u32) {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let exponent = (bits >> 52) as u32 & 0x7ff;
    // Subnormal numbers have no leading one, and the same exponent as the least normal numbers.
    let leading = u64::from(exponent != 0) << 52;
    (bits & FRACTION | leading, exponent.saturating_sub(1))
}

impl Sum {
    #[inline]
    pub(super) fn push(&mut self, value: f64) {
        let (mantissa, bit) = units(value);
        if value > 0.0 {
            self.positive.add(mantissa, bit);
        } else if value < 0.0 {
            self.negative.add(mantissa, bit);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// The sum, correctly rounded; infinite if it exceeds the range of doubles.
    pub(super) fn value(&self) -> f64 {
        let (sign, magnitude) = self.signed();
        sign * magnitude.round(UNIT, false).value()
    }

    /// The sum divided by `count`, correctly rounded; `None` if `count` is 0.
    pub(super) fn mean(&self, count: u64) -> Option<f64> {
        let (sign, magnitude) = self.signed();
        let (quotient, rest) = (count > 0).then(|| magnitude.over(count, 2))?;
        Some(sign * quotient.round(UNIT, rest).value())
    }

    /// The magnitude of the sum, in units of 2^-1074.
    pub(super) fn magnitude(&self) -> Fixed {
        self.signed().1
    }

    /// The sum, in units of 2^-1074.
    pub(super) fn signed_sum(&self) -> Signed {
        let (sign, magnitude) = self.signed();
        Signed { negative: sign < 0.0, magnitude }
    }

    fn signed(&self) -> (f64, Fixed) {
        if self.positive >= self.negative {
            (1.0, self.positive.minus(&self.negative))
        } else {
            (-1.0, self.negative.minus(&self.positive))
        }
    }

    /// Whether the sum contains positive values, and whether it contains negative ones.
    pub(super) fn signs(&self) -> (bool, bool) {
        (!self.positive.is_zero(), !self.negative.is_zero())
    }

    pub(super) fn heap(&self) -> usize {
        self.positive.heap() + self.negative.heap()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.positive.encode(out);
        self.negative.encode(out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { positive: Fixed::decode(reader)?, negative: Fixed::decode(reader)? })
    }
}
