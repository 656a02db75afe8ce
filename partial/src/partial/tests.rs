//! Single partials against known statistics; the merge laws and the encoding have their own files.

mod collect;
mod encoding;
mod hostile;
mod laws;
mod optional;
mod order;
mod readings;
mod states;

use super::*;
use readings::{at, partial_of};

/// Values, sum, mean, population variance, standard deviation, computed with Python's `fsum` and `Fraction`.
type Statistics = (&'static [f64], f64, f64, f64, f64);

#[rustfmt::skip]
const STATISTICS: &[Statistics] = &[
    (&[21.5, 21.6, 21.4, 21.5], 86.0, 21.5, 0.005000000000000142, 0.07071067811865575),
    (&[0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 0.7000000000000001, 0.1, 0.0, 0.0),
    (&[1000000000.1, 1000000000.2, 1000000000.3], 3000000000.6, 1000000000.2, 0.006666661898296727, 0.08164962889258424),
    (&[1e+16, 1.0, -1e+16], 1.0, 0.3333333333333333, 6.666666666666667e+31, 8164965809277260.0),
    (&[1.0, 1.0000000000000002], 2.0, 1.0, 1.232595164407831e-32, 1.1102230246251565e-16),
    (&[5e-324, 1e-323, 0.0], 1.5e-323, 5e-324, 0.0, 5e-324),
    (&[1e-170, 3e-170], 4e-170, 2e-170, 0.0, 1e-170),
    (&[-3.25, 7.125, 1e-09, -1000000000.0], -999999996.125, -249999999.03125, 1.87500000484375e+17, 433012702.4515274),
    (&[9007199254740992.0, 1.0, 1.0], 9007199254740994.0, 3002399751580331.5, 1.802880853657926e+31, 4246034448350514.5),
    (&[1e+100, 1.0, -1e+100, 3.0], 4.0, 1.0, 5e+199, 7.071067811865475e+99),
    (&[123.456, -78.9, 3.3333333333333335, 2.2250738585072014e-308], 47.88933333333333, 11.972333333333333, 5226.089496333334, 72.29169728491186),
];

#[test]
fn statistics_equal_exact_arithmetic() {
    for &(values, sum, mean, variance, stddev) in STATISTICS {
        // Repeating the values may exceed `EXACT_MAX`; a power of two keeps the mean's bits.
        for times in [1, 16] {
            let all = std::iter::repeat_n(values, times).flatten().copied();
            let partial = partial_of(all.map(|value| (at(0), value)));
            assert_eq!(partial.count(), (values.len() * times) as u64);
            assert_eq!(partial.sum(), sum * times as f64, "{values:?}");
            assert_eq!(partial.mean(), Some(mean), "{values:?}");
            assert_eq!(partial.variance(), Some(variance), "{values:?}");
            let error = (partial.stddev().unwrap() - stddev).abs();
            assert!(error <= stddev * f64::EPSILON, "{values:?}: {:?}", partial.stddev());
        }
    }
}

#[test]
fn the_empty_partial_has_no_statistics() {
    let empty = Partial::empty();
    assert!(empty.is_empty());
    assert_eq!((empty.count(), empty.sum()), (0, 0.0));
    assert_eq!(
        (empty.mean(), empty.variance(), empty.stddev(), empty.quantile(0.5)),
        (None, None, None, None)
    );
    assert_eq!((empty.min(), empty.max(), empty.first(), empty.last()), (None, None, None, None));
}

#[test]
fn ties_go_by_time_and_by_value() {
    let readings = [(5, 1.0), (3, 2.0), (3, 1.0), (9, 2.0), (9, 1.0), (4, 2.0)].map(|(t, v)| (at(t), v));
    let partial = partial_of(readings);
    let point = |t, value| Some(Point { time: at(t), value });
    assert_eq!(partial.min(), point(3, 1.0));
    assert_eq!(partial.max(), point(3, 2.0));
    assert_eq!(partial.first(), point(3, 1.0));
    assert_eq!(partial.last(), point(9, 2.0));
}

#[test]
fn negative_zero_is_zero() {
    let partial = partial_of([(at(0), -0.0)]);
    for value in
        [partial.sum(), partial.mean().unwrap(), partial.quantile(0.0).unwrap(), partial.min().unwrap().value]
    {
        assert_eq!(value.to_bits(), 0);
    }
    assert_eq!(partial, partial_of([(at(0), 0.0)]));
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "must be finite"))]
fn non_finite_values_are_ignored() {
    let mut partial = partial_of([(at(0), 1.0)]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        partial.push(at(1), value);
    }
    assert_eq!(partial, partial_of([(at(0), 1.0)]));
}

#[test]
fn huge_values_never_turn_into_nan() {
    for times in [1, 50] {
        let partial = partial_of((0..3 * times).map(|i| (at(i), f64::MAX)));
        assert_eq!(partial.sum(), f64::INFINITY);
        assert_eq!(partial.mean(), Some(f64::MAX));
        assert_eq!((partial.variance(), partial.stddev()), (Some(0.0), Some(0.0)));
        assert_eq!(partial.quantile(0.5), Some(f64::MAX));

        let partial =
            partial_of((0..2 * times).map(|i| (at(i), if i % 2 == 0 { -f64::MAX } else { f64::MAX })));
        assert_eq!((partial.sum(), partial.mean()), (0.0, Some(0.0)));
        assert_eq!((partial.variance(), partial.stddev()), (None, Some(f64::MAX)));

        // A running floating-point sum would overflow on the way.
        let partial = partial_of((0..4 * times).map(|i| (at(i), if i < 2 * times { 1e308 } else { -1e308 })));
        assert_eq!(partial.sum(), 0.0);
        assert_eq!(partial_of((0..3 * times).map(|i| (at(i), -1e308))).sum(), f64::NEG_INFINITY);
    }
}

#[test]
fn quantiles_take_the_lower_nearest_rank() {
    let partial = partial_of((1..=11).rev().map(|i| (at(i), i as f64)));
    let quantiles = [0.0, 0.09, 0.1, 0.19, 0.5, 0.99, 1.0].map(|q| partial.quantile(q).unwrap());
    assert_eq!(quantiles, [1.0, 1.0, 2.0, 2.0, 6.0, 10.0, 11.0]);
    for q in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert_eq!(partial.quantile(q), None);
    }
}

#[test]
fn one_reading_beyond_exact_max_changes_only_the_quantiles() {
    let readings = |count: i64| (0..count).map(|i| (at(i), 20.0 + i as f64 / 10.0));
    let exact = partial_of(readings(EXACT_MAX as i64));
    assert_eq!(exact.quantile(0.5), Some(21.5));
    let mut sketch = exact.clone();
    sketch.push(at(99), 20.0);
    assert!(matches!((&exact.values, &sketch.values), (Values::Timed(_), Values::Many(_))));
    assert_eq!(sketch.sum(), exact.sum() + 20.0);
    assert_eq!(sketch.quantile(0.0), Some(20.0));
    assert_eq!(sketch.quantile(1.0), Some(23.1));
    assert!((sketch.quantile(0.5).unwrap() - 21.5).abs() <= 0.215);
}

#[test]
fn counts_saturate() {
    let mut partial = partial_of((0..40).map(|i| (at(i), 1.5)));
    for _ in 0..70 {
        partial.merge(&partial.clone());
    }
    assert_eq!(partial.count(), u64::MAX);
    assert_eq!(partial.sum(), 60.0 * 2f64.powi(70));
    assert_eq!(partial.quantile(0.5), Some(1.5));
    let mut bytes = Vec::new();
    partial.encode(at(0), &mut bytes);
    assert_eq!(Partial::decode(&bytes, at(0)), Ok(partial));
}

#[test]
fn few_readings_take_little_memory() {
    let ten = partial_of((0..10).map(|i| (at(i), 21.0 + i as f64 / 10.0)));
    assert!(ten.memory() <= 250, "{} bytes", ten.memory());
    let hundred = partial_of((0..100).map(|i| (at(i), 20.0 + (i % 40) as f64 / 10.0)));
    assert!(hundred.memory() <= 640, "{} bytes", hundred.memory());
}
