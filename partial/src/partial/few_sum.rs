//! The exact sum of few values without an allocation: one integer of 128 bits, if their exponents are close.

use super::fixed::Rounded;
use super::sum::{UNIT, units};

/// Maximum difference of exponents: mantissas of 53 bits, shifted, and [`super::EXACT_MAX`] of them fit 127 bits.
const SPREAD: u32 = 64;

/// The sum of at most [`super::EXACT_MAX`] values: an integer in units of `2^exponent`.
pub(super) struct FewSum {
    sum: i128,
    exponent: i32,
}

impl FewSum {
    /// `None`: the values differ too much in their magnitude.
    #[inline]
    pub(super) fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let (mut least, mut most) = (u32::MAX, 0);
        // A zero has the least exponent, and does not count.
        for value in values.clone().filter(|value| *value != 0.0) {
            let bit = units(value).1;
            (least, most) = (least.min(bit), most.max(bit));
        }
        if least > most {
            return Some(Self { sum: 0, exponent: 0 });
        }
        if most - least > SPREAD {
            return None;
        }
        let mut sum = 0_i128;
        for value in values {
            let (mantissa, bit) = units(value);
            let magnitude = i128::from(mantissa).unbounded_shl(bit.saturating_sub(least));
            sum += if value < 0.0 { -magnitude } else { magnitude };
        }
        Some(Self { sum, exponent: UNIT + least as i32 })
    }

    fn sign(&self) -> f64 {
        if self.sum < 0 { -1.0 } else { 1.0 }
    }

    /// The sum, correctly rounded; infinite if it exceeds the range of doubles.
    pub(super) fn value(&self) -> f64 {
        self.sign() * Rounded::of(self.sum.unsigned_abs(), self.exponent, false).value()
    }

    /// The sum divided by `count`, correctly rounded; `None` if `count` is 0.
    pub(super) fn mean(&self, count: u64) -> Option<f64> {
        let magnitude = self.sum.unsigned_abs();
        // As many places as fit, so that the quotient has more bits than a double.
        let places = magnitude.leading_zeros().min(120);
        let dividend = magnitude << places;
        let (high, low) = ((dividend >> 64) as u64, dividend as u64);
        let (above, rest) = (high.checked_div(count)?, high.checked_rem(count)?);
        // Two steps of 64 bits are faster than a division of 128 bits by 128.
        let low = u128::from(rest) << 64 | u128::from(low);
        let (below, rest) = (low.checked_div(count.into())?, low.checked_rem(count.into())?);
        let quotient = u128::from(above) << 64 | below;
        let rounded = Rounded::of(quotient, self.exponent - places as i32, rest != 0);
        Some(self.sign() * rounded.value())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{EXACT_MAX, sum::Sum};
    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-100_000_i32..100_000, 0..4_i32).prop_map(|(i, k)| f64::from(i) / 10_f64.powi(k)),
            2 => (prop::num::f64::NORMAL, -40..20_i32)
                .prop_map(|(value, exponent)| value.signum() * (1.0 + value.abs().fract()) * 2_f64.powi(exponent)),
            1 => prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL,
            1 => Just(0.0),
            1 => Just(f64::MAX),
            1 => Just(-f64::from_bits(1)),
        ]
    }

    proptest! {
        #[test]
        fn it_is_the_sum_of_any_number_of_values(values in prop::collection::vec(value(), 0..=EXACT_MAX)) {
            let mut sum = Sum::default();
            values.iter().for_each(|value| sum.push(*value));
            let bits = |value: f64| value.to_bits();
            if let Some(few) = FewSum::of(values.iter().copied()) {
                prop_assert_eq!(bits(few.value()), bits(sum.value()));
                for count in [0, 1, values.len() as u64, 7, u64::MAX] {
                    prop_assert_eq!(few.mean(count).map(bits), sum.mean(count).map(bits), "by {}", count);
                }
            }
        }
    }

    #[test]
    fn ordinary_readings_take_this_way() {
        assert!(FewSum::of([0.0, 21.5, -0.01, 1e6].into_iter()).is_some());
        assert!(FewSum::of([1e30, 1e-30].into_iter()).is_none());
        assert_eq!(FewSum::of([].into_iter()).unwrap().mean(0), None);
    }
}
