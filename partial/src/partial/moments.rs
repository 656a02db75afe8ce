//! The exact sum of the squares, and the variance.
//!
//! The population variance is `(n Q - S^2) / n^2`, the sample variance `(n Q - S^2) / (n (n - 1))`, with the sum `S` and the sum of squares `Q`. In floating point,
//! this formula suffers from cancellation; here `n`, `Q` and `S` are integers and the numerator is exact (see
//! [`Fixed`]), so the variance is the true one, correctly rounded, even for values that differ only in their last bit.
//!
//! Encoding: the sum as a [`Fixed`] in units of 2^-2148. (Third and fourth moments: see [`super::powers`].)

use super::fixed::{EncodedFixed, Fixed, Rounded};
use super::sum::{self, Sum};

/// Exponent of the unit of sums of squares: the square of the least double.
const UNIT: i32 = 2 * sum::UNIT;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Squares(pub(super) Fixed);

impl Squares {
    #[inline]
    pub(super) fn push(&mut self, value: f64) {
        // A zero would extend the sum down to bit 0.
        if value != 0.0 {
            let (mantissa, bit) = sum::units(value);
            self.0.add_square(u128::from(mantissa) * u128::from(mantissa), 2 * bit);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    /// As [`Squares::merge`] with what an encoded sum is decoded to.
    pub(super) fn merge_encoded(&mut self, other: &EncodedFixed<'_>) {
        self.0.merge_encoded(other);
    }

    /// The variance of `count` values with this sum, with `count` less `less` as divisor; `None` if that is 0. Never
    /// negative: a negative numerator, possible only with forged bytes, counts as zero.
    pub(super) fn variance(&self, sum: &Sum, count: u64, less: u64) -> Option<Rounded> {
        let divisor = count.checked_sub(less).filter(|divisor| *divisor > 0)?;
        let numerator = self.0.times(count).minus(&sum.magnitude().squared());
        // With all places in the first division, dividing its floor again gives the floor of dividing by the product.
        let (once, rest) = (count > 0).then(|| numerator.over(count, 4))?;
        let (twice, more) = once.over(divisor, 0);
        Some(twice.round(UNIT, rest || more))
    }

    pub(super) fn heap(&self) -> usize {
        self.0.heap()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}
