//! Time from the start of an aggregator's process until it is ready.

use std::{fs, time::Instant};

use super::{growth, stored, stored::Stored};
use crate::{
    benchmarks::{Bench, goals::at_most},
    process::Server,
    report::{Better, Growth, Measurement, Reference, Report, number, quantile},
};

fn seconds(bench: &Bench, start: impl Fn() -> anyhow::Result<Server>) -> anyhow::Result<f64> {
    let mut all = Vec::new();
    for _ in 0..bench.repeat.max(3) {
        let started = Instant::now();
        let _server = start()?;
        all.push(started.elapsed().as_secs_f64());
    }
    Ok(quantile(&all, 0.5))
}

/// In each folder after an ordered stop, and in one without windows.
pub(super) fn run(bench: &Bench, all: &[Stored], report: &mut Report) -> anyhow::Result<()> {
    let empty = bench.folder("query").join("empty");
    fs::create_dir_all(&empty)?;
    let empty = seconds(bench, || stored::start(bench, &empty))?;
    let values: Vec<f64> =
        all.iter().map(|stored| seconds(bench, || stored.start(bench))).collect::<anyhow::Result<_>>()?;
    let sizes = growth::sizes(all);
    if let (Some(ours), Some(size)) = (values.last(), sizes.last()) {
        report.measurements.push(Measurement {
            what: format!("start with {} windows stored", number(*size as f64)),
            unit: "s",
            ours: *ours,
            reference: Reference { name: "the same, nothing stored".to_owned(), value: Ok(empty) },
            goal: at_most(3.0, 1.0),
        });
    }
    let what = "start, by stored windows".to_owned();
    report.growth.push(Growth { what, unit: "s", better: Better::Lower, sizes, values });
    Ok(())
}
