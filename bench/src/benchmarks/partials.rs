//! Time to merge two partials, of few readings and of many, and to read and merge an encoded one.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use catchment_partial::{Partial, Timestamp};
use sketches_ddsketch::{Config, DDSketch};

use super::{Bench, goals::at_most};
use crate::report::{Measurement, Reference};

/// Rounds of which the quickest counts.
const ROUNDS: u32 = 15;

/// Readings of a gauge with two decimals, a reading a second.
fn readings(count: i64, seed: i64) -> impl Iterator<Item = (Timestamp, f64)> + Clone {
    (0..count).map(move |at| {
        let value = 2_150 + (at * 7_919 + seed * 104_729) % 211;
        (Timestamp::from_nanos(at * 1_000_000_000), value as f64 / 100.0)
    })
}

fn partial(count: i64, seed: i64) -> Partial {
    let mut partial = Partial::empty();
    partial.push_run(readings(count, seed));
    partial
}

fn sketch(count: i64, seed: i64) -> anyhow::Result<DDSketch> {
    let mut sketch = DDSketch::new(Config::new(0.01, 2_048, 1e-9));
    readings(count, seed).for_each(|(_, value)| sketch.add(value));
    Ok(sketch)
}

/// Nanoseconds of one call, in the quickest of several rounds.
fn nanos(round: Duration, mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (started, mut calls) = (Instant::now(), 0_u32);
        while started.elapsed() < round {
            (0..64).for_each(|_| call());
            calls += 64;
        }
        best = best.min(started.elapsed().as_nanos() as f64 / f64::from(calls));
    }
    best
}

fn measurement(what: &str, ours: f64, theirs: f64, floor: f64, aim: f64) -> Measurement {
    let reference = Reference { name: "the crate sketches-ddsketch".into(), value: Ok(theirs) };
    Measurement { what: what.to_owned(), unit: "ns", ours, reference, goal: at_most(floor, aim) }
}

/// All of them, from one thread.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let round = Duration::from_millis(if bench.quick { 5 } else { 50 });
    let mut measured = Vec::new();
    for (count, what, floor, aim) in [
        (10, "merge of two partials of ten readings", 300.0, 100.0),
        (1_000, "merge of two partials of a thousand readings", 1_500.0, 500.0),
    ] {
        let (one, other) = (partial(count, 1), partial(count, 2));
        let ours = nanos(round, || {
            let mut merged = one.clone();
            merged.merge(black_box(&other));
            black_box(&merged);
        });
        let (one, other) = (sketch(count, 1)?, sketch(count, 2)?);
        let theirs = nanos(round, || {
            let mut merged = one.clone();
            let _ = merged.merge(black_box(&other));
            black_box(&merged);
        });
        measured.push(measurement(what, ours, theirs, floor, aim));
    }
    let (mut bytes, base) = (Vec::new(), Timestamp::from_nanos(0));
    partial(10, 1).encode(base, &mut bytes);
    let mut merged = partial(1_000, 2);
    let ours = nanos(round, || {
        // The bytes are those of a partial.
        let _ = merged.merge_encoded_across_series(black_box(&bytes), base);
    });
    let (mut merged, one) = (sketch(1_000, 2)?, sketch(10, 1)?);
    let theirs = nanos(round, || {
        let _ = merged.merge(black_box(&one));
    });
    measured.push(measurement("ten encoded readings merged into many", ours, theirs, 200.0, 66.0));
    Ok(measured)
}
