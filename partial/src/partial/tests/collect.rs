//! Partials that are collected window by window.

use super::readings::{Reading, at, partial_of, readings};
use super::*;
use crate::{Collector, Spares, Width, Window};
use proptest::prelude::*;

/// What a collector makes of these partials, encoded; each has its own base.
fn collected(windows: &[Vec<u8>], collector: &mut Collector, spares: &mut Spares) -> Partial {
    for body in windows {
        collector.push(body, at(0), spares).unwrap();
    }
    let merged = collector.merged(spares).clone();
    collector.clear(spares);
    merged
}

fn encoded(partial: &Partial) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial.encode(at(0), &mut bytes);
    bytes
}

fn without_order(mut partial: Partial) -> Partial {
    if let Values::Many(many) = &mut partial.values {
        many.keep_unordered(many.parts());
    }
    partial
}

/// A counter with a reading every `step` milliseconds, and a reset now and then.
fn counter(readings: i64, step: i64) -> Vec<Reading> {
    (0..readings).map(|n| (at(n * step), ((n * 7) % 1_000 + n % 3) as f64)).collect()
}

proptest! {
    #[test]
    fn the_same_as_a_merge_whatever_was_collected_before(
        rounds in prop::collection::vec((any::<bool>(), prop::collection::vec(readings(90), 0..9)), 1..6),
    ) {
        let (mut spares, mut collector) = (Spares::default(), Collector::new(Parts::ORDER));
        for (with_parts, windows) in rounds {
            let parts = if with_parts { Parts::ORDER.with(Parts::MOMENTS) } else { Parts::NONE };
            let partials: Vec<Partial> = windows
                .iter()
                .map(|readings| {
                    let mut partial = Partial::with_parts(parts);
                    partial.push_run(readings.iter().copied());
                    partial
                })
                .collect();
            let bodies: Vec<Vec<u8>> = partials.iter().map(encoded).collect();
            let merged = collected(&bodies, &mut collector, &mut spares);
            let (mut found, mut plain, mut one_pass) =
                (Partial::empty(), Partial::empty(), partial_of(windows.into_iter().flatten()));
            found.merge_across_series(&merged);
            partials.iter().for_each(|partial| plain.merge_across_series(partial));
            one_pass.parts = Parts::NONE;
            prop_assert_eq!(&found, &plain);
            prop_assert_eq!(&found, &one_pass);
            let mut bytes = Vec::new();
            merged.encode_without_order(at(0), &mut bytes);
            prop_assert_eq!(bytes, encoded(&without_order(merged)));
        }
    }

    #[test]
    fn the_order_stays_known_over_a_day_of_hours_of_minutes(
        step in prop::sample::select(vec![50_i64, 1_000, 7_000, 20_000]),
        windows_with_order: bool,
        readings in 2_i64..9_000,
    ) {
        let readings = counter(readings, step);
        let parts = if windows_with_order { Parts::ORDER } else { Parts::NONE };
        let width = if windows_with_order { 60_000 } else { 10_000.min(30 * step) };
        let window = |time: Timestamp, width: i64| Window::containing(time, Width::from_millis(width as u32).unwrap());
        let (mut spares, mut minute) = (Spares::default(), Collector::new(Parts::ORDER));
        let mut day = Partial::with_parts(Parts::ORDER);
        for hour_readings in readings.chunk_by(|a, b| window(a.0, 3_600_000) == window(b.0, 3_600_000)) {
            let mut hour = Partial::with_parts(Parts::ORDER);
            for minute_readings in hour_readings.chunk_by(|a, b| window(a.0, 60_000) == window(b.0, 60_000)) {
                for few in minute_readings.chunk_by(|a, b| window(a.0, width) == window(b.0, width)) {
                    let mut partial = Partial::with_parts(parts);
                    partial.push_run(few.iter().copied());
                    minute.push(&encoded(&partial), at(0), &mut spares).unwrap();
                }
                hour.append(minute.merged(&mut spares), &mut spares);
                minute.clear(&mut spares);
            }
            // As it is stored.
            day.append(&Partial::decode(&encoded(&hour), at(0)).unwrap(), &mut spares);
            spares.put(hour);
        }
        let figures = |partial: &Partial| {
            let mut order = SeriesOrder::new(&[]);
            order.push(window(at(0), 86_400_000), partial);
            order.finish(at(0), at(86_400_000))
        };
        let mut whole = Partial::with_parts(Parts::ORDER);
        whole.push_run(readings.iter().copied());
        let (found, expected) = (figures(&day), figures(&whole));
        prop_assert_eq!(found.increase(), expected.increase());
        prop_assert!(found.increase().is_some());
        prop_assert_eq!(found.resets(), expected.resets());
        let close = |a: Option<f64>, b: Option<f64>| a.zip(b).is_some_and(|(a, b)| (a - b).abs() <= 1e-9 * b.abs());
        prop_assert!(close(found.time_weighted_mean(), expected.time_weighted_mean()));
    }
}

#[test]
fn states_stay_known_over_many_partials() {
    let mut spares = Spares::default();
    let mut day = Partial::empty();
    for window in 0..500_i64 {
        let mut partial = Partial::empty();
        for n in 0..40_i64 {
            partial.push_state(at(window * 60_000 + n * 1_000), if n < 30 { "auto" } else { "off" });
        }
        day.append(&partial, &mut spares);
    }
    let mut order = SeriesOrder::new(&[]);
    order.push(Window::containing(at(0), Width::from_millis(86_400_000).unwrap()), &day);
    let figures = order.finish(at(0), at(86_400_000));
    assert_eq!(figures.transitions(), Some(999));
}

#[test]
fn overlapping_partials_are_merged() {
    let (mut a, mut b) = (Partial::with_parts(Parts::ORDER), Partial::with_parts(Parts::ORDER));
    a.push_run((0..50).map(|n| (at(2 * n), 1.0)));
    b.push_run((0..50).map(|n| (at(2 * n + 1), 2.0)));
    let mut merged = a.clone();
    merged.merge(&b);
    a.append(&b, &mut Spares::default());
    assert_eq!(a, merged);
}
