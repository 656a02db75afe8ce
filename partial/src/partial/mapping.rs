//! Maps magnitudes to the keys of the sketch's bins, and back.
//!
//! A key is the integer part of a scaled logarithm, so the values in one bin differ by at most 2 %. The logarithm is
//! the piecewise cubic one of DDSketch's `CubicallyInterpolatedMapping` (Masson, Rim, Lee: "DDSketch", PVLDB 12(12),
//! 2019, and DataDog/sketches-java): for `x = 2^e (1 + s)` it is `e + 6/35 s^3 - 3/5 s^2 + 10/7 s`. Its slope is at
//! least 10/7 of that of ln x, so bins of relative accuracy `a` need `7 / (10 ln((1+a)/(1-a)))` keys per octave:
//! 34.999 for 1 %. With 35, the polynomial has integer coefficients, an octave has exactly 35 bins, and a bin is at
//! most `e^0.02` wide: accuracy tanh(0.01) = 0.99997 %. Compared with `ln`, this costs 1 % more bins, is faster, and
//! uses only operations that IEEE 754 specifies exactly. `ln` may differ in its last bit between platforms; then the
//! same reading would fall into different bins on a gateway and on the aggregator.

/// Bins per doubling of the magnitude.
const KEYS_PER_OCTAVE: i32 = 35;
/// Exponent of the least magnitude, `f64::from_bits(1)`.
const MIN_EXPONENT: i32 = -1074;
const MAX_EXPONENT: i32 = 1023;

/// Least key of a finite magnitude.
pub(crate) const MIN_KEY: i32 = KEYS_PER_OCTAVE * MIN_EXPONENT;
/// Greatest key of a finite magnitude.
pub(crate) const MAX_KEY: i32 = KEYS_PER_OCTAVE * (MAX_EXPONENT + 1) - 1;

const FRACTION_BITS: u32 = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const EXPONENT_BIAS: i32 = 1023;
/// Binary exponent that scales subnormal numbers into the normal range without rounding.
const SUBNORMAL_SCALE: i32 = 54;

/// The position of `1 + s` within its octave: 0 at `s = 0`, 35 at `s = 1`.
fn position(s: f64) -> f64 {
    ((6.0 * s - 21.0) * s + 50.0) * s
}

/// `2^exponent`, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + EXPONENT_BIAS) as u64) << FRACTION_BITS)
}

/// The key of a magnitude (finite, greater than zero): from [`MIN_KEY`] to [`MAX_KEY`], monotonic in the magnitude.
#[inline]
pub(crate) fn key(magnitude: f64) -> i32 {
    let (bits, bias) = if magnitude < f64::MIN_POSITIVE {
        ((magnitude * power_of_two(SUBNORMAL_SCALE)).to_bits(), EXPONENT_BIAS + SUBNORMAL_SCALE)
    } else {
        (magnitude.to_bits(), EXPONENT_BIAS)
    };
    let exponent = (bits >> FRACTION_BITS) as i32 - bias;
    let s = f64::from_bits(bits & FRACTION | 1f64.to_bits()) - 1.0;
    // Just below the end of an octave, the polynomial can round up to 35.
    KEYS_PER_OCTAVE * exponent + (position(s) as i32).min(KEYS_PER_OCTAVE - 1)
}

/// The magnitude that represents a bin: within 1 % of each value in it, up to the spacing of subnormal numbers.
pub(crate) fn magnitude(key: i32) -> f64 {
    let exponent = key.div_euclid(KEYS_PER_OCTAVE);
    let index = key.rem_euclid(KEYS_PER_OCTAVE);
    let (low, high) = (1.0 + inverse(index), 1.0 + inverse(index + 1));
    // The harmonic mean has the same relative distance to both ends.
    let significand = 2.0 * low * high / (low + high);
    if exponent < MIN_EXPONENT + FRACTION_BITS as i32 {
        significand * power_of_two(exponent + SUBNORMAL_SCALE) * power_of_two(-SUBNORMAL_SCALE)
    } else {
        significand * power_of_two(exponent)
    }
}

/// The least magnitude of a bin, but for rounding; infinite beyond [`MAX_KEY`].
pub(crate) fn least_magnitude(key: i32) -> f64 {
    let exponent = key.div_euclid(KEYS_PER_OCTAVE);
    let significand = 1.0 + inverse(key.rem_euclid(KEYS_PER_OCTAVE));
    if exponent > MAX_EXPONENT {
        f64::INFINITY
    } else if exponent < MIN_EXPONENT + FRACTION_BITS as i32 {
        significand * power_of_two(exponent + SUBNORMAL_SCALE) * power_of_two(-SUBNORMAL_SCALE)
    } else {
        significand * power_of_two(exponent)
    }
}

/// The `s` whose position is `target`, by Newton's method; the slope is between 26 and 50.
fn inverse(target: i32) -> f64 {
    let target = f64::from(target);
    let mut s = target / f64::from(KEYS_PER_OCTAVE);
    for _ in 0..6 {
        s -= (position(s) - target) / ((18.0 * s - 42.0) * s + 50.0);
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_range_have_keys() {
        assert_eq!(key(f64::from_bits(1)), MIN_KEY);
        assert_eq!(key(f64::MAX), MAX_KEY);
        assert_eq!(key(1.0), 0);
        assert_eq!(key(1.0f64.next_down()), -1);
        assert_eq!(key(2.0), 35);
        assert_eq!(key(f64::MIN_POSITIVE), -1022 * 35);
        assert_eq!(key(f64::MIN_POSITIVE.next_down()), -1022 * 35 - 1);
        assert_eq!(magnitude(MIN_KEY), f64::from_bits(1));
        assert!(magnitude(MAX_KEY).is_finite());
    }

    #[test]
    fn every_key_of_an_octave_is_used_and_round_trips() {
        for wanted in -35..70 {
            assert_eq!(key(magnitude(wanted)), wanted);
        }
    }

    #[test]
    fn bins_begin_at_their_least_magnitude() {
        for key_of in (-70..70).chain([MIN_KEY, MAX_KEY]) {
            let least = least_magnitude(key_of);
            assert!(least <= magnitude(key_of) && magnitude(key_of) <= least_magnitude(key_of + 1));
            assert!((key(least) - key_of).abs() <= 1, "{key_of}");
        }
        assert_eq!(
            (least_magnitude(0), least_magnitude(35), least_magnitude(MAX_KEY + 1)),
            (1.0, 2.0, f64::INFINITY)
        );
    }

    proptest! {
        #[test]
        fn the_bin_is_within_one_percent(value in prop::num::f64::POSITIVE | prop::num::f64::NORMAL) {
            let value = value.abs();
            let middle = magnitude(key(value));
            prop_assert!((middle - value).abs() <= 0.01 * value, "{value} became {middle}");
        }

        #[test]
        fn subnormals_are_within_one_percent_and_a_spacing(bits in 1u64..=FRACTION) {
            let value = f64::from_bits(bits);
            let middle = magnitude(key(value));
            prop_assert!((middle - value).abs() <= 0.01 * value + f64::from_bits(1));
        }

        #[test]
        fn keys_grow_with_the_magnitude(a in prop::num::f64::POSITIVE, steps in 1u64..1000) {
            let b = f64::from_bits(a.to_bits() + steps);
            prop_assume!(b.is_finite() && a > 0.0);
            prop_assert!(key(a) <= key(b));
        }
    }
}
