//! Compares sums with `u128` arithmetic, and checks carries, the limit, rounding and the encoding.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

/// The value as bytes, least significant first, for any value up to the limit.
fn bytes(fixed: &Fixed) -> Vec<u8> {
    let mut bytes = vec![0; fixed.low as usize * LIMB_BYTES];
    bytes.extend(fixed.limbs.iter().flat_map(|limb| limb.to_le_bytes()));
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// The sum of `mantissa << bit` over the parts.
fn fixed(parts: &[(u64, u32)]) -> Fixed {
    let mut sum = Fixed::default();
    parts.iter().for_each(|&(mantissa, bit)| sum.add(mantissa, bit));
    sum
}

fn decoded(fixed: &Fixed) -> Fixed {
    let mut out = Vec::new();
    fixed.encode(&mut out);
    let mut reader = Reader::new(&out);
    let decoded = Fixed::decode(&mut reader).unwrap();
    assert_eq!(reader.finish(), Ok(()));
    decoded
}

#[test]
fn carries_run_to_the_top() {
    let mut sum = fixed(&[(u64::MAX, 0), (u64::MAX, 64), (u64::MAX, 128)]);
    sum.add(1, 0);
    assert_eq!(bytes(&sum), [[0; 24].as_slice(), &[1]].concat());
    assert_eq!(sum, fixed(&[(1, 192)]));
    assert_eq!(sum.minus(&fixed(&[(1, 0)])), fixed(&[(u64::MAX, 0), (u64::MAX, 64), (u64::MAX, 128)]));
}

#[test]
fn a_sum_at_the_limit_stays_there_whatever_is_added() {
    let limit = Fixed { low: LIMIT, limbs: vec![1] };
    let mut single = limit.clone();
    single.add(1, 0);
    let mut square = limit.clone();
    square.add_square(3, 640);
    assert_eq!((&single, &square), (&limit, &limit));
}

#[test]
fn sums_are_clamped_to_the_limit() {
    let beyond = Fixed { low: LIMIT - 1, limbs: vec![0, 3] };
    let mut below = Fixed { low: LIMIT - 1, limbs: vec![u64::MAX] };
    assert_eq!(decoded(&below), below);
    let mut sum = below.clone();
    sum.merge(&fixed(&[(1, 0)]));
    assert!(sum > below && sum.top() == LIMIT);
    below.merge(&below.clone());
    sum.merge(&beyond);
    assert_eq!(sum, below);
    assert_eq!(sum, Fixed { low: LIMIT, limbs: vec![1] });
    assert_eq!(decoded(&sum), sum);
    assert_eq!(sum.round(-2148, false).value(), f64::INFINITY);
}

#[test]
fn halves_round_to_even_unless_more_follows() {
    let one = 1u64 << 52;
    let half_up = |mantissa: u64, more| fixed(&[(mantissa, 1), (1, 0)]).round(-1, more).value();
    assert_eq!(half_up(one, false), one as f64);
    assert_eq!(half_up(one, true), (one + 1) as f64);
    assert_eq!(half_up(one + 1, false), (one + 2) as f64);
    // The deciding bit is far below.
    assert_eq!(fixed(&[(one, 1001), (1, 1000), (1, 3)]).round(-1001, false).value(), (one + 1) as f64);
    assert_eq!(Fixed::default().round(-5, false).value(), 0.0);
    assert_eq!(fixed(&[(u64::MAX, 2034)]).round(-1074, false).value(), f64::INFINITY);
    assert_eq!(fixed(&[(1, 0)]).round(-1074, false).value(), f64::from_bits(1));
    assert_eq!(fixed(&[(3, 0)]).round(-1076, false).value(), f64::from_bits(1));
}

#[test]
fn damaged_sums_are_refused() {
    let decode = |bytes: &[u8]| Fixed::decode(&mut Reader::new(bytes));
    assert!(matches!(decode(&[0xe2, 0x08]), Err(DecodeError::Invalid(_))), "1,122 bytes");
    assert!(matches!(decode(&[1, 0xe1, 0x08, 1]), Err(DecodeError::Invalid(_))), "a byte above the limit");
    assert_eq!(decode(&[3, 0, 1, 2]), Err(DecodeError::Truncated));
}

proptest! {
    #[test]
    fn small_numbers_are_integers(a: u64, b: u64, c in 1u64.., bit in 0u32..64) {
        let (wide_a, wide_b) = (u128::from(a) << bit, u128::from(b));
        let (sum_a, sum_b) = (fixed(&[(a, bit)]), fixed(&[(b, 0)]));
        let of = |n: u128| fixed(&[(n as u64, 0), ((n >> 64) as u64, 64)]);
        prop_assert_eq!(sum_a.cmp(&sum_b), wide_a.cmp(&wide_b));
        prop_assert_eq!(sum_a.minus(&sum_b), of(wide_a.saturating_sub(wide_b)));
        prop_assert_eq!(sum_b.times(c), of(wide_b * u128::from(c)));
        prop_assert_eq!(sum_b.squared(), of(wide_b * wide_b));
        prop_assert_eq!(sum_a.over(c, 0), (of(wide_a / u128::from(c)), wide_a % u128::from(c) != 0));
        prop_assert_eq!(of(wide_a).round(0, false).value(), wide_a as f64);
        let mut square = Fixed::default();
        let mantissa = b >> 11;
        square.add_square(u128::from(mantissa) * u128::from(mantissa), 2 * bit);
        prop_assert_eq!(square, fixed(&[(mantissa, bit)]).squared());
    }

    #[test]
    fn sums_do_not_depend_on_the_order(
        parts in prop::collection::vec((any::<u64>(), 0u32..4096), 1..20),
        cut in any::<Index>(),
    ) {
        let (left, right) = parts.split_at(cut.index(parts.len()));
        let mut merged = fixed(right);
        merged.merge(&fixed(left));
        let whole = fixed(&parts);
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(bytes(&merged), bytes(&whole));
        prop_assert_eq!(decoded(&whole), whole.clone());
        prop_assert_eq!(whole.minus(&fixed(left)), fixed(right));
    }
}

#[test]
fn zeros_at_the_limit_are_no_sum() {
    // Index of the lowest byte: 1,119.
    let sum = Fixed::decode(&mut Reader::new(&[2, 0xdf, 8, 0, 0])).unwrap();
    assert!(sum.is_zero());
    assert_eq!(sum, Fixed::default());
}
