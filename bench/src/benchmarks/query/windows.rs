//! Windows that are decoded and merged in a second of the aggregator's processor time.

use std::{hint::black_box, time::Instant};

use anyhow::{Context as _, ensure};
use catchment_partial::{Partial, Timestamp};

use super::{
    growth,
    question::everything,
    stored::{Stored, operator},
};
use crate::{
    benchmarks::{Bench, goals::at_least},
    cpu,
    report::{Better, Growth, Measurement, Reference, Report},
};

/// Least processor time of a measurement: its unit is 10 ms.
const CPU_SECONDS: f64 = 1.0;
/// Partials that the reference merges.
const PARTIALS: i64 = 10_000;

/// Windows a processor second.
fn merged(bench: &Bench, stored: &Stored) -> anyhow::Result<f64> {
    let server = stored.settled(bench)?;
    let operator = operator(bench, &server)?;
    let request = everything(r#"{device=~"press-.*"}"#, &stored.history);
    operator.query(request.clone())?;
    let (before, mut windows) = (cpu::seconds(server.pid())?, 0.0);
    loop {
        ensure!(operator.query(request.clone())?.points == 1, "an answer without its point");
        windows += stored.history.stored() as f64;
        let used = cpu::seconds(server.pid())? - before;
        if used >= CPU_SECONDS || bench.quick && used > 0.0 {
            return Ok(windows / used);
        }
    }
}

/// Windows a second of one thread that merges the same partials from memory.
fn from_memory(stored: &Stored) -> anyhow::Result<f64> {
    let encoded = stored.history.encoded(PARTIALS);
    let base = Timestamp::from_nanos(0);
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let (started, mut merged) = (Instant::now(), Partial::empty());
        for partial in &encoded {
            merged.merge_encoded_across_series(black_box(partial), base)?;
        }
        black_box(&merged);
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(encoded.len() as f64 / best)
}

/// Over each folder.
pub(super) fn run(bench: &Bench, all: &[Stored], report: &mut Report) -> anyhow::Result<()> {
    let values: Vec<f64> = all.iter().map(|stored| merged(bench, stored)).collect::<anyhow::Result<_>>()?;
    let last = all.last().context("a folder")?;
    report.measurements.push(Measurement {
        what: "windows of ten readings decoded and merged into one point, p99".to_owned(),
        unit: "windows/CPU-s",
        ours: values.last().copied().unwrap_or(0.0),
        reference: Reference {
            name: "the same partials merged from memory, one thread".to_owned(),
            value: Ok(from_memory(last)?),
        },
        goal: at_least(5e6, 15e6),
    });
    report.growth.push(Growth {
        what: "windows decoded and merged, by stored windows".to_owned(),
        unit: "windows/CPU-s",
        better: Better::Higher,
        sizes: growth::sizes(all),
        values,
    });
    Ok(())
}
