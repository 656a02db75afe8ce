//! Maps values to integers, so that neighbouring values differ little and take few bytes.
//!
//! Readings are mostly decimal: 21.5 is 215 tenths. If all values of a partial are exactly `i / 10^k` with
//! `k <= 6` (the quotient rounds to the same 64 bits), they are written as their `i`. Otherwise a value is its
//! bit pattern as sign and magnitude, without the low zero bits common to all: 29 of them if the device measures in
//! single precision. Both mappings preserve order, so a difference from the least value is never negative.

use super::codec::{DecodeError, Reader};

/// How values map to integers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// The integer counts units of 10^-k, `k <= 6`.
    Decimal(u8),
    /// The integer is the sign and the magnitude bits, shifted right by this number (at most 63).
    Bits(u8),
}

/// 10^k as `f64`, all exact.
const POWERS: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Decimal integers stay below this limit, up to which a double distinguishes neighbours even after two roundings.
const DECIMAL_LIMIT: f64 = 1e15;
/// The code of [`Scale::Bits`]; smaller codes are the `k` of [`Scale::Decimal`].
const BITS: u8 = 7;
const MAGNITUDE: u64 = u64::MAX >> 1;

/// `value * 10^k`, if that is an integer in range that converts back to exactly `value`.
fn decimal(value: f64, power: f64) -> Option<i64> {
    let scaled = value * power;
    if scaled.abs() >= DECIMAL_LIMIT {
        return None;
    }
    let integer = (scaled + 0.5f64.copysign(scaled)) as i64;
    (integer as f64 / power == value).then_some(integer)
}

impl Scale {
    /// The best scale that fits all `values` (finite, no negative zero).
    pub(crate) fn of(values: &[f64]) -> Self {
        for (k, &power) in POWERS.iter().enumerate() {
            if values.iter().all(|&value| decimal(value, power).is_some()) {
                return Self::Decimal(k as u8);
            }
        }
        let shift =
            values.iter().map(|value| (value.to_bits() & MAGNITUDE).trailing_zeros()).min().unwrap_or(0);
        Self::Bits(shift.min(63) as u8)
    }

    /// The scale's three bits in the flags byte.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Decimal(k) => k,
            Self::Bits(_) => BITS,
        }
    }

    /// Encodes the rest: one byte for [`Scale::Bits`], nothing for [`Scale::Decimal`].
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        if let Self::Bits(shift) = self {
            out.push(shift);
        }
    }

    pub(crate) fn decode(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            BITS => match reader.byte()? {
                shift @ 0..=63 => Ok(Self::Bits(shift)),
                _ => Err(DecodeError::Invalid("the shift of the values exceeds 63 bits")),
            },
            k => Ok(Self::Decimal(k)),
        }
    }

    /// The integer of one of the values for which this scale was chosen.
    pub(crate) fn integer(self, value: f64) -> i64 {
        match self {
            Self::Decimal(k) => {
                POWERS.get(usize::from(k)).and_then(|&power| decimal(value, power)).unwrap_or_default()
            }
            Self::Bits(shift) => {
                let magnitude = ((value.to_bits() & MAGNITUDE) >> shift) as i64;
                if value < 0.0 { -magnitude } else { magnitude }
            }
        }
    }

    /// The value of an integer: finite and not negative zero, or `None`.
    #[inline]
    pub(crate) fn value(self, integer: i64) -> Option<f64> {
        match self {
            Self::Decimal(k) => {
                let quotient = integer as f64 / POWERS.get(usize::from(k))?;
                (quotient.abs() < DECIMAL_LIMIT).then_some(quotient)
            }
            Self::Bits(shift) => {
                let magnitude = integer.unsigned_abs();
                if magnitude.leading_zeros() <= u32::from(shift) && magnitude != 0 {
                    return None;
                }
                let value = f64::from_bits(magnitude.unbounded_shl(u32::from(shift)));
                value.is_finite().then_some(if integer < 0 { -value } else { value })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_smallest_scale_is_found() {
        assert_eq!(Scale::of(&[]), Scale::Decimal(0));
        assert_eq!(Scale::of(&[0.0, -3.0, 1e14]), Scale::Decimal(0));
        assert_eq!(Scale::of(&[21.5, 21.625, -0.1]), Scale::Decimal(3));
        assert_eq!(Scale::of(&[0.1 + 0.2]), Scale::Bits(2));
        assert_eq!(Scale::of(&[f64::from(21.6f32)]), Scale::Bits(29));
        assert_eq!(Scale::of(&[0.0, f64::MIN_POSITIVE]), Scale::Bits(52));
    }

    #[test]
    fn integers_without_a_finite_value_are_refused() {
        assert_eq!(Scale::Bits(52).value(0x7ff), None);
        assert_eq!(Scale::Bits(52).value(-0x7fe), Some(-(2f64.powi(1023))));
        assert_eq!(Scale::Bits(63).value(1), None);
        assert_eq!(Scale::Bits(0).value(i64::MIN), None);
        assert_eq!(Scale::Decimal(0).value(i64::MAX), None);
        assert_eq!(Scale::Decimal(7).value(1), None);
    }

    proptest! {
        #[test]
        fn values_survive_and_keep_their_order(
            values in prop::collection::vec(
                prop_oneof![
                    (any::<i32>(), 0usize..7).prop_map(|(i, k)| f64::from(i) / POWERS[k]),
                    prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL,
                    prop::num::f32::NORMAL.prop_map(f64::from),
                    Just(0.0),
                ],
                1..8,
            )
        ) {
            let scale = Scale::of(&values);
            for &a in &values {
                prop_assert_eq!(scale.value(scale.integer(a)).map(f64::to_bits), Some(a.to_bits()));
                for &b in &values {
                    prop_assert_eq!(a.total_cmp(&b), scale.integer(a).cmp(&scale.integer(b)));
                }
            }
        }

        #[test]
        fn any_integer_is_a_finite_value_or_none(integer: i64, shift in 0u8..64, k in 0u8..8) {
            for scale in [Scale::Bits(shift), Scale::Decimal(k)] {
                if let Some(value) = scale.value(integer) {
                    prop_assert!(value.is_finite());
                    prop_assert!(value != 0.0 || value.is_sign_positive());
                }
            }
        }
    }
}
