//! The exact sum of the values, and the mean.
//!
//! Positive and negative values are summed separately, each as an integer in units of 2^-1074 (see [`Fixed`]). Most
//! series have only one sign, and an empty sum takes no heap memory.
//!
//! Encoding: the sum of the positive values, then of the magnitudes of the negative ones, each as a [`Fixed`].

use super::codec::{DecodeError, Reader};
use super::fixed::{EncodedFixed, Fixed, Signed};

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
    /// Makes it zero, and keeps memory.
    pub(super) fn clear(&mut self) {
        self.positive.clear();
        self.negative.clear();
    }

    /// Makes it equal to another one, and keeps memory.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.positive.copy_from(&other.positive);
        self.negative.copy_from(&other.negative);
    }

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
}

/// The encoding of a [`Sum`].
#[derive(Clone, Copy)]
pub(super) struct EncodedSum<'a> {
    positive: EncodedFixed<'a>,
    negative: EncodedFixed<'a>,
}

impl<'a> EncodedSum<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { positive: EncodedFixed::read(reader)?, negative: EncodedFixed::read(reader)? })
    }

    pub(super) fn decode(&self) -> Sum {
        Sum { positive: self.positive.decode(), negative: self.negative.decode() }
    }

    /// As [`Sum::signs`].
    pub(super) fn signs(&self) -> (bool, bool) {
        (!self.positive.is_zero(), !self.negative.is_zero())
    }

    /// Whether the mean of `count` values, correctly rounded, is between the least and the greatest value.
    pub(super) fn is_mean_between(&self, count: u64, min: f64, max: f64) -> bool {
        self.is_surely_between(count, min, max)
            || self.decode().mean(count).is_none_or(|mean| (min..=max).contains(&mean))
    }

    /// The same at a low cost, but false where it is close.
    fn is_surely_between(&self, count: u64, min: f64, max: f64) -> bool {
        /// More than the relative errors of the estimates, of the count as a double and of products add up to.
        const ERROR: f64 = 1.0 / (1_u64 << 44) as f64;
        if min == 0.0 && max == 0.0 {
            return self.signs() == (false, false);
        }
        if min == max {
            let (mantissa, bit) = units(min);
            let (sum, other) =
                if min > 0.0 { (self.positive, self.negative) } else { (self.negative, self.positive) };
            return other.is_zero() && sum.is_product(count, mantissa, bit);
        }
        let sums = self.positive.estimate(UNIT).zip(self.negative.estimate(UNIT));
        let Some((positive, negative)) = sums else { return false };
        let (least, most) = (min * count as f64, max * count as f64);
        let error = ERROR * (positive + negative + least.abs() + most.abs());
        let sum = positive - negative;
        error.is_finite() && least + error <= sum && sum + error <= most
    }
}

impl Sum {
    /// As [`Sum::merge`] with what [`EncodedSum::decode`] makes of this.
    pub(super) fn merge_encoded(&mut self, other: &EncodedSum<'_>) {
        self.positive.merge_encoded(&other.positive);
        self.negative.merge_encoded(&other.negative);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-300_i32..300).prop_map(|tenths| f64::from(tenths) / 10.0),
            2 => prop::num::f64::NORMAL,
            1 => prop::num::f64::SUBNORMAL,
            1 => prop::sample::select(vec![f64::MAX, -f64::MAX, 5e-324, -5e-324]),
        ]
    }

    fn is_between(sum: &Sum, count: u64, min: f64, max: f64) -> (bool, bool) {
        let mut bytes = Vec::new();
        sum.encode(&mut bytes);
        let encoded = EncodedSum::read(&mut Reader::new(&bytes)).unwrap();
        (encoded.is_mean_between(count, min, max), encoded.is_surely_between(count, min, max))
    }

    proptest! {
        #[test]
        fn the_mean_is_between_as_exactly_computed(
            values in prop::collection::vec(value(), 1..40),
            equal: bool,
            ends in (value(), value()),
            shift in -2_i32..3,
            count in prop_oneof![4 => Just(None), 1 => (1_u64..u64::MAX).prop_map(Some)],
        ) {
            let values = if equal { vec![values[0]; values.len()] } else { values };
            let mut sum = Sum::default();
            values.iter().for_each(|value| sum.push(*value));
            let count = count.unwrap_or(values.len() as u64);
            let mean = sum.mean(count).unwrap();
            let step = |value: f64| (0..shift.abs()).fold(value, |value, _| if shift < 0 { value.next_down() } else { value.next_up() });
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            let near = step(mean).clamp(f64::MIN, f64::MAX);
            for (min, max) in [(least, most), (near, most), (least, near), (near, near), ends, (ends.0, ends.0)] {
                let exact = (min..=max).contains(&mean);
                let (found, surely) = is_between(&sum, count, min, max);
                prop_assert_eq!(found, exact, "{} of {} between {} and {}", mean, count, min, max);
                prop_assert!(exact || !surely);
            }
        }
    }

    #[test]
    fn ordinary_readings_need_no_exact_mean() {
        for values in
            [[21.5, 21.75, -3.25], [7.25, 7.25, 7.25], [-0.1, -0.1, -0.1], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        {
            let mut sum = Sum::default();
            values.iter().for_each(|value| sum.push(*value));
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            assert_eq!(is_between(&sum, 3, least, most), (true, true), "{values:?}");
        }
    }
}
