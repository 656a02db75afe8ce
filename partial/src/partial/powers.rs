//! Exact sums of the third and fourth powers, for skewness and kurtosis.
//!
//! With `S1` to `S4` the sums of the powers of `n` values and `m2`, `m3`, `m4` their central moments,
//! `n^2 m2 = n S2 - S1^2 = N2`, `n^3 m3 = n^2 S3 - 3 n S1 S2 + 2 S1^3 = N3` and
//! `n^4 m4 = n^3 S4 - 4 n^2 S1 S3 + 6 n S1^2 S2 - 3 S1^4 = N4`. So the skewness `m3 / m2^1.5` is `N3 / N2^1.5`, and the
//! excess kurtosis `m4 / m2^2 - 3` is `N4 / N2^2 - 3`. `N2` to `N4` are exact integers here, so nothing cancels: only
//! their quotient is rounded, a few times.
//!
//! Encoding: sums of the cubes of positive values, of the magnitudes of the cubes of negative ones, and of the fourth
//! powers, each as a [`Fixed`].

use super::codec::{DecodeError, Reader};
use super::fixed::{Fixed, Signed};
use super::moments::Squares;
use super::sum::{self, Sum};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Powers {
    /// In units of 2^-3222.
    positive_cubes: Fixed,
    negative_cubes: Fixed,
    /// In units of 2^-4296.
    fourths: Fixed,
}

/// The product of a number and a factor below 2^53.
fn times(number: [u64; 3], factor: u64) -> [u64; 4] {
    let mut product = [0; 4];
    let (rest, mut carry) = (product.iter_mut(), 0);
    for (place, limb) in rest.zip(number.into_iter().chain([0])) {
        (*place, carry) = limb.carrying_mul(factor, carry);
    }
    product
}

impl Powers {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut powers = Self::default();
        values.into_iter().for_each(|value| powers.push(value));
        powers
    }

    pub(super) fn push(&mut self, value: f64) {
        if value == 0.0 {
            return;
        }
        let (mantissa, bit) = sum::units(value);
        let square = u128::from(mantissa) * u128::from(mantissa);
        let cube = times([square as u64, (square >> 64) as u64, 0], mantissa);
        let fourth = times([cube[0], cube[1], cube[2]], mantissa);
        let cubes = if value > 0.0 { &mut self.positive_cubes } else { &mut self.negative_cubes };
        cubes.add_shifted(cube, 3 * bit);
        self.fourths.add_shifted(fourth, 4 * bit);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.positive_cubes.merge(&other.positive_cubes);
        self.negative_cubes.merge(&other.negative_cubes);
        self.fourths.merge(&other.fourths);
    }

    /// The skewness of `count` values with these sums; `None`: they do not differ.
    pub(super) fn skewness(&self, count: u64, sum: &Sum, squares: &Squares) -> Option<f64> {
        let (sum, squares) = (sum.signed_sum(), Signed::positive(squares.0.clone()));
        let second = squares.times(count).minus(&sum.product(&sum));
        let third = (self.cubes().times(count).times(count))
            .minus(&sum.product(&squares).times(count).times(3))
            .plus(&sum.product(&sum).product(&sum).times(2));
        let root = second.magnitude_if_positive()?.round(0, false).sqrt();
        let second = second.magnitude_if_positive()?.round(0, false);
        let third_rounded = third.magnitude.round(0, false);
        let magnitude = third_rounded.over(second).over(root).value();
        Some(if third.negative { -magnitude } else { magnitude } + 0.0)
            .filter(|skewness| skewness.is_finite())
    }

    /// The excess kurtosis; `None`: they do not differ.
    pub(super) fn kurtosis(&self, count: u64, sum: &Sum, squares: &Squares) -> Option<f64> {
        let (sum, squares) = (sum.signed_sum(), Signed::positive(squares.0.clone()));
        let sum_squared = sum.product(&sum);
        let second = squares.times(count).minus(&sum_squared);
        let fourth = Signed::positive(self.fourths.clone()).times(count).times(count).times(count);
        let fourth = fourth
            .minus(&sum.product(&self.cubes()).times(count).times(count).times(4))
            .plus(&sum_squared.product(&squares).times(count).times(6))
            .minus(&sum_squared.product(&sum_squared).times(3));
        let second = second.magnitude_if_positive()?.round(0, false);
        let fourth = fourth.magnitude_if_positive()?.round(0, false);
        Some(fourth.over(second).over(second).value() - 3.0).filter(|kurtosis| kurtosis.is_finite())
    }

    fn cubes(&self) -> Signed {
        Signed::positive(self.positive_cubes.clone()).minus(&Signed::positive(self.negative_cubes.clone()))
    }

    /// Whether there are cubes of positive and of negative values.
    pub(super) fn signs(&self) -> (bool, bool) {
        (!self.positive_cubes.is_zero(), !self.negative_cubes.is_zero())
    }

    pub(super) fn heap(&self) -> usize {
        self.positive_cubes.heap() + self.negative_cubes.heap() + self.fourths.heap()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.positive_cubes.encode(out);
        self.negative_cubes.encode(out);
        self.fourths.encode(out);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            positive_cubes: Fixed::decode(reader)?,
            negative_cubes: Fixed::decode(reader)?,
            fourths: Fixed::decode(reader)?,
        })
    }
}
