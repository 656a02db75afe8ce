//! Figures that depend on the order of the readings.

use super::readings::{Reading, at, partial_of};
use super::*;
use crate::{Width, Window};
use proptest::prelude::*;

const WIDTH: i64 = 10_000;

fn window(time: Timestamp) -> Window {
    Window::containing(time, Width::from_millis(WIDTH as u32).unwrap())
}

fn with_order(readings: impl IntoIterator<Item = Reading>) -> Partial {
    let mut partial = Partial::with_parts(Parts::ORDER);
    partial.push_run(readings);
    partial
}

/// The figures of readings in [0, `to`), each window a partial, made by `of`.
fn figures(readings: &[Reading], to: i64, of: impl Fn(&[Reading]) -> Vec<Partial>) -> OrderFigures {
    let mut order = SeriesOrder::new(&[5.0]);
    for readings in readings.chunk_by(|a, b| window(a.0) == window(b.0)) {
        for partial in of(readings) {
            order.push(window(readings[0].0), &partial);
        }
    }
    order.finish(at(0), at(to))
}

fn one_by_one(readings: &[Reading]) -> Vec<Partial> {
    vec![with_order(readings.iter().copied())]
}

/// What a naive calculation on the readings gives: resets, changes, increase between first and last, integrals.
fn naive(readings: &[Reading]) -> (u64, u64, f64, f64, f64) {
    let (mut resets, mut changes, mut increase, mut held, mut linear) = (0, 0, 0.0, 0.0, 0.0);
    for pair in readings.windows(2) {
        let ((from, a), (to, b)) = (pair[0], pair[1]);
        let seconds = to.saturating_nanos_since(from) as f64 / 1e9;
        changes += u64::from(a != b);
        resets += u64::from(b < a);
        increase += if b < a { b } else { b - a };
        held += a * seconds;
        linear += (a + b) / 2.0 * seconds;
    }
    (resets, changes, increase, held, linear)
}

fn assert_close(a: Option<f64>, b: f64) {
    let a = a.unwrap();
    assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} for {b}");
}

/// Times and values of a counter with resets, a reading every `step` milliseconds or so.
fn counter() -> impl Strategy<Value = Vec<Reading>> {
    let step = prop_oneof![Just(1_000_i64), 1..5_000_i64, 1..300_i64];
    prop::collection::vec((step, prop_oneof![9 => 0..50_i32, 1 => -1000..0_i32]), 1..400).prop_map(|steps| {
        let (mut time, mut value) = (0, 0);
        let reading = |(step, grow): (i64, i32)| {
            time += step;
            value = if grow < 0 { 0 } else { value + grow };
            (at(time), f64::from(value) / 4.0)
        };
        steps.into_iter().map(reading).collect()
    })
}

#[test]
fn rates_are_those_of_prometheus() {
    // Prometheus 2.42 with `m 0 10 20 5 15` each 10 s from 5 s on: `increase(m[50s])` at 50 s.
    let readings = [(5, 0.0), (15, 10.0), (25, 20.0), (35, 5.0), (45, 15.0)].map(|(s, v)| (at(s * 1_000), v));
    let figures = figures(&readings, 50_000, one_by_one);
    // Sampled 40 s, increase 35: extended by 0 to the start (it was 0 then) and by 5 s to the end.
    assert_close(figures.increase(), 35.0 * 45.0 / 40.0);
    assert_close(figures.rate(), 35.0 * 45.0 / 40.0 / 50.0);
    assert_close(figures.delta(), 15.0 * 50.0 / 40.0);
    assert_eq!((figures.resets(), figures.changes()), (Some(1), Some(4)));
    assert_close(figures.integral(), 350.0);
    assert_close(figures.integral_linear(), 425.0);
    assert_close(figures.time_weighted_mean(), 350.0 / 40.0);
    assert_close(figures.time_above(5.0), 20.0);
    assert_close(figures.time_below(5.0), 10.0);
    assert_eq!(figures.time_above(6.0), None, "not asked for");
}

#[test]
fn single_readings_and_unknown_orders_have_no_rate() {
    let one = figures(&[(at(5_000), 3.0)], 10_000, one_by_one);
    assert_eq!((one.increase(), one.rate(), one.delta(), one.time_weighted_mean()), (None, None, None, None));
    assert_eq!((one.resets(), one.changes(), one.integral()), (Some(0), Some(0), Some(0.0)));
    let none = SeriesOrder::new(&[]).finish(at(0), at(1));
    assert_eq!(
        (none.resets(), none.integral(), none.state_times(), none.last_state()),
        (None, None, None, None)
    );
    let many: Vec<Reading> = (0..33).map(|i| (at(i), i as f64)).collect();
    assert_eq!(figures(&many, 10_000, |r| vec![partial_of(r.iter().copied())]).resets(), None);
    let known = figures(&many, 10_000, one_by_one);
    assert_eq!((known.resets(), known.changes(), known.time_above(5.0)), (Some(0), Some(32), None));
    let old = |readings: &[Reading]| {
        let mut bytes = Vec::new();
        partial_of(readings.iter().copied()).encode_version_1(at(0), &mut bytes);
        vec![Partial::decode(&bytes, at(0)).unwrap()]
    };
    assert_eq!(figures(&many[..9], 10_000, old).resets(), None, "version 1 kept no times");
}

#[test]
fn parts_that_overlap_count_for_themselves() {
    let even: Vec<Reading> = (0..100).map(|i| (at(2 * i), (2 * i) as f64)).collect();
    let late = [(at(51), 51.0), (at(53), 53.0)];
    let split = |_: &[Reading]| vec![with_order(even.iter().copied()), with_order(late)];
    let (a, b) = (figures(&even, 10_000, split), figures(&even, 10_000, one_by_one));
    // The late ones lie within the span of the first 68.
    assert_eq!(a.resets(), Some(0));
    // 99 steps of 2, or 101 readings in the same time, and half a mean distance to the end.
    assert_close(b.increase(), 198.0 * (1.0 + 0.5 / 99.0));
    assert_close(a.increase(), 198.0 * (1.0 + 0.5 / 101.0));
}

#[test]
fn huge_values_are_undefined_and_never_not_a_number() {
    let values = [f64::MAX, -f64::MAX, f64::MAX, -f64::MAX, 0.0];
    let readings: Vec<Reading> =
        (0..200).map(|i| (at(i * 50_000), values[i as usize % values.len()])).collect();
    let figures = figures(&readings, 10_000_000, one_by_one);
    for figure in [figures.increase(), figures.rate(), figures.delta(), figures.integral()] {
        assert!(figure.is_none_or(f64::is_finite));
    }
    assert_eq!(figures.changes(), Some(199));
}

/// The figures of readings that arrive in another order, in one partial.
fn arriving(readings: &[Reading], order: impl Iterator<Item = usize>) -> OrderFigures {
    let mut partial = Partial::with_parts(Parts::ORDER);
    order.for_each(|at| partial.push(readings[at].0, readings[at].1));
    assert_eq!(partial.count(), readings.len() as u64);
    figures(&readings[..1], 10_000, |_| vec![partial.clone()])
}

#[test]
fn readings_that_come_late_give_the_same_figures_or_none() {
    let readings: Vec<Reading> = (0..100).map(|i| (at(90 * i), (i % 13) as f64)).collect();
    let whole = figures(&readings, 10_000, one_by_one);
    let same = |figures: OrderFigures| {
        assert_eq!((figures.changes(), figures.resets()), (whole.changes(), whole.resets()));
        assert_close(figures.integral(), whole.integral().unwrap());
    };
    same(arriving(&readings, (50..100).chain(0..50)));
    same(arriving(&readings, (60..100).chain(0..60)));
    same(arriving(&readings, (0..100).rev()));
    same(arriving(&readings, (80..100).chain(40..60).chain(0..40).chain(60..80)));
    let unknown = arriving(&readings, (0..100).step_by(2).chain((1..100).step_by(2)));
    assert_eq!((unknown.changes(), unknown.integral(), unknown.rate()), (None, None, None));
}

#[test]
fn parts_that_are_interleaved_are_unknown_and_many_that_are_not_are_known() {
    let readings: Vec<Reading> = (0..800).map(|i| (at(10 * i), (i % 13) as f64)).collect();
    let interleaved = |readings: &[Reading]| {
        let every_other = |first| with_order(readings.iter().copied().skip(first).step_by(2));
        vec![every_other(0), every_other(1)]
    };
    let unknown = figures(&readings, 10_000, interleaved);
    assert_eq!((unknown.changes(), unknown.integral(), unknown.rate()), (None, None, None));
    let many =
        |readings: &[Reading]| readings.chunks(40).map(|part| with_order(part.iter().copied())).collect();
    let (known, whole) = (figures(&readings, 10_000, many), figures(&readings, 10_000, one_by_one));
    assert_eq!((known.changes(), known.resets()), (whole.changes(), whole.resets()));
    assert_close(known.integral(), whole.integral().unwrap());
}

#[test]
fn readings_added_after_a_merge_find_the_span_that_they_follow() {
    let readings: Vec<Reading> = (0..300).map(|i| (at(20 * i), (i % 90) as f64)).collect();
    let mut merged = with_order(readings[..100].iter().copied());
    merged.merge(&with_order(readings[200..].iter().copied()));
    readings[100..200].iter().for_each(|(time, value)| merged.push(*time, *value));
    let merged = figures(&readings, 6_000, |_| vec![merged.clone()]);
    let whole = figures(&readings, 6_000, one_by_one);
    assert_eq!((merged.resets(), merged.changes()), (whole.resets(), whole.changes()));
    assert_close(merged.integral(), whole.integral().unwrap());
}

proptest! {
    #[test]
    fn figures_equal_a_naive_model(readings in counter()) {
        let to = readings.last().unwrap().0.as_millis() + 1;
        let figures = figures(&readings, to, one_by_one);
        let (resets, changes, increase, held, linear) = naive(&readings);
        prop_assert_eq!((figures.resets(), figures.changes()), (Some(resets), Some(changes)));
        assert_close(figures.integral(), held);
        assert_close(figures.integral_linear(), linear);
        if readings.len() > 1 {
            prop_assert!(figures.increase().unwrap() >= increase * (1.0 - 1e-12));
            let covered = readings.last().unwrap().0.saturating_nanos_since(readings[0].0) as f64 / 1e9;
            assert_close(figures.time_weighted_mean(), held / covered);
        }
    }

    #[test]
    fn parts_of_a_window_that_do_not_overlap_change_nothing(
        readings in counter(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
        reversed: bool,
    ) {
        let to = readings.last().unwrap().0.as_millis() + 1;
        let whole = figures(&readings, to, one_by_one);
        let split = |readings: &[Reading]| {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(readings.len())).collect();
            ends.extend([0, readings.len()]);
            ends.sort_unstable();
            let parts = ends.windows(2).map(|ends| with_order(readings[ends[0]..ends[1]].iter().copied()));
            let mut parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
            if reversed {
                parts.reverse();
            }
            parts
        };
        let parts = figures(&readings, to, split);
        prop_assert_eq!((parts.resets(), parts.changes()), (whole.resets(), whole.changes()));
        assert_close(parts.integral(), whole.integral().unwrap());
        assert_close(parts.increase().or(Some(0.0)), whole.increase().unwrap_or(0.0));
    }

    #[test]
    fn few_readings_may_arrive_in_any_order_and_in_any_parts(
        mut readings in prop::collection::vec((0..9_999_i64, 0..20_i32), 1..33),
        owners in prop::collection::vec(0..3_usize, 33),
        keys in prop::collection::vec(any::<u32>(), 33),
    ) {
        readings.sort_unstable();
        let in_order: Vec<Reading> = readings.iter().map(|(t, v)| (at(*t), f64::from(*v))).collect();
        let whole = figures(&in_order, 10_000, one_by_one);
        let scattered = |readings: &[Reading]| {
            let mut parts = vec![Partial::empty(); 3];
            let mut shuffled: Vec<_> = readings.iter().zip(&keys).zip(&owners).collect();
            shuffled.sort_by_key(|((_, key), _)| **key);
            for (((time, value), _), owner) in shuffled {
                parts[*owner].push(*time, *value);
            }
            parts
        };
        prop_assert_eq!(figures(&in_order, 10_000, scattered), whole);
    }

    #[test]
    fn many_readings_may_arrive_a_little_out_of_order(readings in counter(), swaps in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let mut shuffled = readings.clone();
        for swap in swaps {
            let at = swap.index(shuffled.len());
            let other = (at + 7).min(shuffled.len() - 1);
            if readings[at].0 == shuffled[at].0 && readings[other].0 == shuffled[other].0 {
                shuffled.swap(at, other);
            }
        }
        let fold = |readings: &[Reading]| {
            let mut partial = Partial::with_parts(Parts::ORDER);
            readings.iter().for_each(|(time, value)| partial.push(*time, *value));
            let mut order = SeriesOrder::new(&[]);
            order.push(window(at(0)), &partial);
            order.finish(at(0), at(10_000_000))
        };
        prop_assert_eq!(fold(&shuffled), fold(&readings));
    }
}
