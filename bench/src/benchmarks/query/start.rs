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

/// In the last folder, as an ordered stop right after the backlog left it, and in one without windows.
pub(super) fn after_backlog(bench: &Bench, all: &[Stored], report: &mut Report) -> anyhow::Result<()> {
    let (Some(stored), Some(size)) = (all.last(), growth::sizes(all).pop()) else { return Ok(()) };
    let empty = bench.folder("query").join("empty");
    fs::create_dir_all(&empty)?;
    report.measurements.push(Measurement {
        what: format!("start with {} windows stored", number(size as f64)),
        unit: "s",
        ours: seconds(bench, || stored.start(bench))?,
        reference: Reference {
            name: "the same, nothing stored".to_owned(),
            value: Ok(seconds(bench, || stored::start(bench, &empty))?),
        },
        goal: at_most(3.0, 1.0),
    });
    Ok(())
}

/// In each folder, once it is arranged.
pub(super) fn by_stored_windows(bench: &Bench, all: &[Stored], report: &mut Report) -> anyhow::Result<()> {
    let values = all.iter().map(|stored| seconds(bench, || stored.start(bench)));
    report.growth.push(Growth {
        what: "start, by stored windows".to_owned(),
        unit: "s",
        better: Better::Lower,
        sizes: growth::sizes(all),
        values: values.collect::<anyhow::Result<_>>()?,
    });
    Ok(())
}
