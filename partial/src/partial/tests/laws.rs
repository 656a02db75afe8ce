//! Merge laws: any grouping, order and tree equals a single pass, and a single pass equals a naive model.

use super::readings::{Reading, partial_of, readings};
use crate::{EXACT_MAX, Partial, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;

const QS: [f64; 9] = [0.0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0];

/// All statistics; floating-point ones as bits.
fn statistics(partial: &Partial) -> Vec<Option<u64>> {
    let bits = |value: Option<f64>| value.map(f64::to_bits);
    let ends = [partial.min(), partial.max(), partial.first(), partial.last()];
    let mut statistics = vec![Some(partial.count()), bits(Some(partial.sum())), bits(partial.mean())];
    statistics.extend([bits(partial.variance()), bits(partial.stddev())]);
    statistics.extend(ends.map(|end| end.map(|end| end.time.as_nanos() as u64)));
    statistics.extend(ends.map(|end| bits(end.map(|end| end.value))));
    statistics.extend(QS.map(|q| bits(partial.quantile(q))));
    statistics
}

fn encoded(partial: &Partial) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial.encode(Timestamp::from_nanos(0), &mut bytes);
    bytes
}

fn assert_same(a: &Partial, b: &Partial) {
    assert_eq!(statistics(a), statistics(b));
    assert_eq!(a, b);
    assert_eq!(encoded(a), encoded(b));
}

/// Distributes the readings over partials, then merges two at a time, chosen by `choices`, until one is left.
fn merged(readings: &[Reading], groups: &[Index], choices: &[(Index, Index)]) -> Partial {
    let mut partials = vec![Partial::empty(); 7];
    for (&(time, value), group) in readings.iter().zip(groups.iter().cycle()) {
        group.get_mut(&mut partials).push(time, value);
    }
    for (from, to) in choices.iter().cycle() {
        if partials.len() == 1 {
            break;
        }
        let other = partials.swap_remove(from.index(partials.len()));
        to.get_mut(&mut partials).merge(&other);
    }
    partials.remove(0)
}

/// Exact sum by Shewchuk's method, as in Python's `fsum`; for sums that do not overflow on the way.
fn fsum(values: impl Iterator<Item = f64>) -> f64 {
    let mut parts: Vec<f64> = Vec::new();
    for mut x in values {
        let mut kept = Vec::new();
        for &part in &parts {
            let (large, small) = if x.abs() < part.abs() { (part, x) } else { (x, part) };
            let high = large + small;
            let low = small - (high - large);
            if low != 0.0 {
                kept.push(low);
            }
            x = high;
        }
        kept.push(x);
        parts = kept;
    }
    let mut parts = parts.into_iter().rev();
    let mut high = parts.next().unwrap_or(0.0);
    let mut low = 0.0;
    for part in parts.by_ref() {
        let x = high;
        high = x + part;
        low = part - (high - x);
        if low != 0.0 {
            break;
        }
    }
    // Half-way cases: a further part decides.
    if let Some(next) = parts.next()
        && (low < 0.0) == (next < 0.0)
    {
        let y = low * 2.0;
        let x = high + y;
        if y == x - high {
            high = x;
        }
    }
    high
}

fn check_against_model(readings: &[Reading]) {
    let partial = partial_of(readings.iter().copied());
    let mut values: Vec<f64> = readings.iter().map(|reading| reading.1 + 0.0).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(partial.count(), values.len() as u64);

    let point = |reading: Option<&Reading>| reading.map(|&(time, value)| (time, value + 0.0));
    let by_time = |a: &&Reading, b: &&Reading| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
    let of = |end: Option<crate::Point>| end.map(|end| (end.time, end.value));
    let by_value = |a: &&Reading, b: &&Reading| (a.1 + 0.0).total_cmp(&(b.1 + 0.0)).then(a.0.cmp(&b.0));
    let down = |a: &&Reading, b: &&Reading| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0));
    assert_eq!(of(partial.first()), point(readings.iter().min_by(by_time)));
    assert_eq!(of(partial.last()), point(readings.iter().max_by(by_time)));
    assert_eq!(of(partial.min()), point(readings.iter().min_by(by_value)));
    assert_eq!(of(partial.max()), point(readings.iter().min_by(down)));

    if values.iter().all(|value| value.abs() < 1e290) {
        let sum = fsum(readings.iter().map(|reading| reading.1));
        assert_eq!(partial.sum(), sum);
        if let Some(mean) = partial.mean() {
            assert!((mean - sum / values.len() as f64).abs() <= 1.0001 * f64::EPSILON * mean.abs() + 1e-323);
        }
    }
    let Some(highest) = values.len().checked_sub(1) else { return };
    for q in QS {
        let truth = values[(q * highest as f64) as usize];
        let quantile = partial.quantile(q).unwrap();
        if values.len() <= EXACT_MAX || q == 0.0 || q == 1.0 {
            assert_eq!(quantile, truth);
        } else {
            assert!((quantile - truth).abs() <= 0.01 * truth.abs() + 5e-324, "{q}: {quantile} for {truth}");
        }
    }
    // Two passes in floating point: accurate if the values have similar magnitudes.
    let mean = partial.mean().unwrap();
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    if values.iter().all(|value| value.abs() < 1e150) {
        let ours = partial.variance().unwrap();
        assert!((ours - variance).abs() <= 1e-12 * variance + 1e-300, "{ours} for {variance}");
        assert!((partial.stddev().unwrap() - variance.sqrt()).abs() <= 1e-12 * variance.sqrt() + 1e-150);
    }
}

proptest! {
    #[test]
    fn any_tree_equals_the_single_pass(
        readings in readings(120),
        groups in prop::collection::vec(any::<Index>(), 1..40),
        choices in prop::collection::vec(any::<(Index, Index)>(), 1..10),
    ) {
        let single = partial_of(readings.iter().copied());
        assert_same(&merged(&readings, &groups, &choices), &single);
        assert_same(&partial_of(readings.iter().rev().copied()), &single);
    }

    #[test]
    fn merging_is_commutative_associative_and_has_a_neutral_element(
        a in readings(50), b in readings(50), c in readings(50),
    ) {
        let [a, b, c] = [a, b, c].map(partial_of);
        let merge = |a: &Partial, b: &Partial| {
            let mut merged = a.clone();
            merged.merge(b);
            merged
        };
        assert_same(&merge(&a, &b), &merge(&b, &a));
        assert_same(&merge(&merge(&a, &b), &c), &merge(&a, &merge(&b, &c)));
        assert_same(&merge(&a, &Partial::empty()), &a);
        assert_same(&merge(&Partial::empty(), &a), &a);
    }

    #[test]
    fn merging_encoded_partials_equals_merging_them(
        a in readings(50), b in readings(40), c in readings(40), parts in 0..8_u8,
    ) {
        let [a, b, c] = [a, b, c].map(partial_of);
        let start = Partial::with_parts(crate::Parts::from_bits(parts).unwrap());
        let (mut decoded, mut direct) = (start.clone(), start);
        for partial in [&a, &b, &c] {
            decoded.merge_across_series(partial);
            direct.merge_encoded_across_series(&encoded(partial), Timestamp::from_nanos(0)).unwrap();
        }
        assert_eq!(statistics(&direct), statistics(&decoded));
        assert_eq!(direct.skewness().map(f64::to_bits), decoded.skewness().map(f64::to_bits));
        assert_eq!(direct.distinct().map(f64::to_bits), decoded.distinct().map(f64::to_bits));
    }

    #[test]
    fn statistics_equal_a_naive_model(readings in readings(120)) {
        check_against_model(&readings);
    }
}
