//! Optional parts: higher moments, distinct values, and the rules for parts that a reader does not know.

use super::readings::{Reading, at, partial_of, readings};
use super::*;
use proptest::prelude::*;

const ALL: Parts = Parts::ORDER.with(Parts::MOMENTS).with(Parts::DISTINCT);

fn with_parts(readings: impl IntoIterator<Item = Reading>) -> Partial {
    let mut partial = Partial::with_parts(ALL);
    partial.push_run(readings);
    partial
}

fn encoded(partial: &Partial) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial.encode(at(0), &mut bytes);
    bytes
}

/// Values, skewness and excess kurtosis, computed with Python's `Fraction` and `math.sqrt` at the end.
type Shape = (&'static [f64], f64, f64);

#[rustfmt::skip]
const SHAPES: &[Shape] = &[
    (&[1.0, 2.0, 3.0, 4.0], 0.0, -1.36),
    (&[1.0, 1.0, 1.0, 5.0], 1.154700538379251_5, -0.666_666_666_666_666_7),
    (&[-5.0, 1.0, 1.0, 1.0], -1.154700538379251_5, -0.666_666_666_666_666_7),
];

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-14 * b.abs().max(1.0)
}

#[test]
fn shapes_equal_exact_arithmetic_few_and_many() {
    for &(values, skewness, kurtosis) in SHAPES {
        for times in [1, 16] {
            // Large offsets cancel exactly.
            for offset in [0.0, 1e9] {
                let all = std::iter::repeat_n(values, times).flatten().copied();
                let partial = with_parts(all.map(|value| (at(0), value + offset)));
                assert!(close(partial.skewness().unwrap(), skewness), "{values:?} {:?}", partial.skewness());
                assert!(close(partial.kurtosis().unwrap(), kurtosis), "{values:?} {:?}", partial.kurtosis());
            }
        }
    }
    let equal = with_parts((0..50).map(|i| (at(i), 7.5)));
    assert_eq!((equal.skewness(), equal.kurtosis()), (None, None));
}

#[test]
fn sample_figures_need_two_readings() {
    let partial = partial_of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].map(|value| (at(0), value)));
    assert_eq!(partial.sample_variance(), Some(32.0 / 7.0));
    assert!(close(partial.sample_stddev().unwrap(), (32.0f64 / 7.0).sqrt()));
    let one = partial_of([(at(0), 1.0)]);
    assert_eq!((one.sample_variance(), one.sample_stddev(), one.variance()), (None, None, Some(0.0)));
}

#[test]
fn parts_that_are_not_asked_for_are_unknown_beyond_few_readings() {
    let readings = |count: i64| (0..count).map(|i| (at(i), (i * i % 97) as f64));
    let few = partial_of(readings(32));
    assert!(few.skewness().is_some() && few.kurtosis().is_some() && few.distinct().is_some());
    let many = partial_of(readings(33));
    assert_eq!((many.skewness(), many.kurtosis(), many.distinct()), (None, None, None));
    let asked = with_parts(readings(5_000));
    assert!(asked.skewness().is_some() && asked.kurtosis().is_some());
    // 97 squares modulo a prime: 49 distinct values.
    assert!((asked.distinct().unwrap() - 49.0).abs() < 4.0);
}

#[test]
fn a_merge_that_asks_for_parts_computes_them_from_few_readings() {
    let mut merged = Partial::with_parts(ALL);
    for start in 0..100 {
        let partial = partial_of((0..10).map(|i| (at(10 * start + i), (start * 7 % 50) as f64)));
        merged.merge(&Partial::decode(&encoded(&partial), at(0)).unwrap());
    }
    assert_eq!(merged.count(), 1_000);
    assert!(merged.skewness().is_some());
    assert!((merged.distinct().unwrap() - 50.0).abs() < 4.0);
    merged.merge(&partial_of((0..40).map(|i| (at(i), i as f64))));
    assert_eq!((merged.skewness(), merged.distinct()), (None, None), "one side does not know");
}

#[test]
fn ranks_of_few_and_many_values() {
    let few = partial_of((0..30).map(|i| (at(i), i as f64)));
    assert_eq!([-1.0, 0.0, 0.5, 29.0, 30.0].map(|x| few.below(x)), [0, 0, 1, 29, 30]);
    assert_eq!(few.trimmed_mean(0.1), Some(14.5));
    assert_eq!(few.trimmed_mean(0.0), few.mean());
    assert_eq!([-0.1, 0.5, f64::NAN].map(|cut| few.trimmed_mean(cut)), [None; 3]);
    let many = partial_of((0..3_001).map(|i| (at(i), (i - 1_000) as f64)));
    assert_eq!(many.below(-1_000.0), 0);
    assert_eq!(many.below(0.0), 1_000);
    assert_eq!(many.below(2_001.0), 3_001);
    for bound in [-700.0, -1.5, 10.0, 1_234.5] {
        let (low, high) = (bound - 0.01 * f64::abs(bound), bound + 0.01 * f64::abs(bound));
        let count = |bound: f64| (bound.ceil() + 1_000.0) as u64;
        assert!((count(low)..=count(high)).contains(&many.below(bound)), "{bound}: {}", many.below(bound));
    }
    assert!((many.trimmed_mean(0.25).unwrap() - 500.0).abs() <= 0.01 * 600.0);
    assert_eq!(many.below(f64::NAN), 0);
}

#[test]
fn unknown_parts_are_left_out_or_refused_by_their_number() {
    let mut bytes = encoded(&partial_of([(at(1), 1.5)]));
    let known = bytes.clone();
    bytes[1] |= 1 << 6;
    let with = |count: u8, part: &[u8]| {
        let mut bytes = bytes.clone();
        bytes.push(count);
        bytes.extend(part);
        Partial::decode(&bytes, at(0))
    };
    let partial = Partial::decode(&known, at(0)).unwrap();
    assert_eq!(with(0, &[]), Ok(partial.clone()));
    assert_eq!(with(1, &[200, 1, 3, 7, 8, 9]), Ok(partial.clone()));
    assert_eq!(with(2, &[200, 1, 0, 202, 1, 1, 7]), Ok(partial));
    assert_eq!(with(2, &[200, 1, 0]), Err(DecodeError::Truncated));
    assert_eq!(with(0, &[200, 1, 0]), Err(DecodeError::Trailing(3)));
    assert_eq!(with(1, &[201, 1, 0]), Err(DecodeError::UnknownParts(201)));
    assert!(with(1, &[200, 1, 4, 7, 8, 9]).is_err());
    assert!(matches!(with(2, &[202, 1, 0, 200, 1, 0]), Err(DecodeError::Invalid(_))), "not in order");
    assert!(matches!(with(1, &[4, 3, 0, 0, 0]), Err(DecodeError::Invalid(_))), "moments of few values");
}

proptest! {
    #[test]
    fn any_tree_gives_the_same_moments_and_distinct_values(
        readings in readings(120),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let single = with_parts(readings.iter().copied());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(readings.len() + 1)).collect();
        cuts.extend([0, readings.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|ends| with_parts(readings[ends[0]..ends[1]].iter().copied()));
        for reversed in [false, true] {
            let mut parts: Vec<_> = parts.clone().collect();
            if reversed {
                parts.reverse();
            }
            let mut merged = Partial::with_parts(ALL);
            parts.iter().for_each(|part| merged.merge(part));
            let bits = |value: Option<f64>| value.map(f64::to_bits);
            for (a, b) in [
                (merged.skewness(), single.skewness()),
                (merged.kurtosis(), single.kurtosis()),
                (merged.distinct(), single.distinct()),
                (merged.sample_variance(), single.sample_variance()),
                (merged.trimmed_mean(0.2), single.trimmed_mean(0.2)),
            ] {
                prop_assert_eq!(bits(a), bits(b));
            }
        }
    }

    #[test]
    fn shapes_are_near_those_of_two_passes(values in prop::collection::vec(-1000.0..1000.0, 2..80)) {
        let partial = with_parts(values.iter().map(|value| (at(0), *value)));
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let moment = |power| values.iter().map(|value: &f64| (value - mean).powi(power)).sum::<f64>() / count;
        let (second, third, fourth) = (moment(2), moment(3), moment(4));
        if second > 1e-6 {
            let (skewness, kurtosis) = (third / second.powf(1.5), fourth / (second * second) - 3.0);
            prop_assert!((partial.skewness().unwrap() - skewness).abs() < 1e-7 * (1.0 + skewness.abs()));
            prop_assert!((partial.kurtosis().unwrap() - kurtosis).abs() < 1e-7 * (1.0 + kurtosis.abs()));
        }
    }

    #[test]
    fn decoding_inverts_encoding_with_parts(readings in readings(120), base: i64) {
        let partial = with_parts(readings);
        for base in [Timestamp::from_nanos(base), at(0)] {
            let mut bytes = Vec::new();
            partial.encode(base, &mut bytes);
            let decoded = Partial::decode(&bytes, base).map(|partial| partial.asking_for(ALL));
            prop_assert_eq!(decoded.as_ref(), Ok(&partial));
            prop_assert_eq!(Partial::check(&bytes, base), Ok(partial.last().map(|point| point.time)));
            // An older reader gets the same values.
            let mut bytes = Vec::new();
            prop_assert!(!partial.encode_version_1(base, &mut bytes));
            prop_assert_eq!(bytes[0], 1);
            let old = Partial::decode(&bytes, base).unwrap();
            prop_assert_eq!((old.count(), old.sum(), old.first()), (partial.count(), partial.sum(), partial.first()));
            prop_assert_eq!((old.min(), old.max(), old.last()), (partial.min(), partial.max(), partial.last()));
        }
    }
}
