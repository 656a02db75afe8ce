//! Watches: the delay from the close of a window, and the aggregator's processor time.

use std::fs;

use super::{Bench, goals::at_most};
use crate::{
    load::watch::{self, Load},
    report::{Measurement, Reference, quantile},
    world,
};

/// Series of the load, ten for each watch.
const SERIES: usize = 10_000;

/// Delay and processor time beside 1,000 watches.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let dir = bench.folder("watch");
    fs::create_dir_all(&dir)?;
    let server = world::aggregator(&bench.pki, &dir)?;
    let series = bench.sized(SERIES, 500);
    // Windows last a second.
    let windows = (bench.duration.as_secs() as u32).max(bench.sized(5, 2) as u32);
    let (gateway, operator) = (bench.pki.gateway()?, bench.pki.operator("watcher")?);
    let once = |watches| {
        let load = Load { addr: server.addr, pid: server.pid(), series, watches, windows };
        watch::run(&load, &gateway, &operator)
    };
    let watches = series / 10;
    let alone = bench.median(|| Ok(100.0 * once(0)?.cpu))?;
    let (mut delays, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        let watched = once(watches)?;
        delays.extend(watched.delays.iter().map(|seconds| 1e3 * seconds));
        cpu.push(100.0 * watched.cpu);
    }
    Ok(vec![
        Measurement {
            what: format!("watch: from the close of a window to {watches} watches of ten series, p99"),
            unit: "ms",
            ours: quantile(&delays, 0.99),
            reference: Reference { name: "the same, median".to_owned(), value: Ok(quantile(&delays, 0.5)) },
            goal: at_most(500.0, 100.0),
        },
        Measurement {
            what: format!("watch: aggregator with {watches} watches of ten series, windows of a second"),
            unit: "% of a processor",
            ours: quantile(&cpu, 0.5),
            reference: Reference { name: "the same deliveries, no watch".to_owned(), value: Ok(alone) },
            goal: at_most(30.0, 10.0),
        },
    ])
}
