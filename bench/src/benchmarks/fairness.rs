//! The cost of a greedy device, to the gateway and to other devices: one shard, a flooding device, an honest one.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::{Bench, at_most_times, latency};
use crate::{
    cpu,
    load::{Ending, Shape, Target, backfill, manual::Kind, run},
    metrics,
    report::{Better, Growth, Measurement, Reference, quantile},
    world::Site,
};

/// Messages a second of the honest device.
const RATE: f64 = 100.0;
/// Windows of the history.
const WINDOWS: usize = 400_000;
/// Timeout for windows to close.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A gateway of one shard, so that all devices share it, with room for the history.
fn site(bench: &Bench, name: &str, grace: &str) -> anyhow::Result<Site> {
    let most = (4 * WINDOWS).to_string();
    let flags = [
        ["--shards", "1"],
        ["--grace", grace],
        ["--device-open-windows-max", &most],
        ["--open-windows-max", &most],
    ];
    Site::start(&bench.pki, &bench.folder(name), flags.as_flattened())
}

/// Waits until no window is open.
fn closed(site: &Site) -> anyhow::Result<()> {
    let started = Instant::now();
    // The gauge is updated once a second.
    thread::sleep(Duration::from_millis(1_200));
    while metrics::sum(&metrics::text(site.http)?, "catchment_gateway_open_windows") > 0.0 {
        ensure!(started.elapsed() < TIMEOUT, "windows stay open");
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Processor time of the gateway for each late window, from its reading to its delivery, by the number of open windows
/// of one series.
pub(super) fn windows(bench: &Bench) -> anyhow::Result<Growth> {
    let sizes = if bench.quick { [1_000, 2_000, 4_000] } else { [1_000, 20_000, WINDOWS] };
    let values = sizes.into_iter().map(|size| {
        let devices = bench.sized(100_000, 4_000).div_ceil(size);
        let configs = bench.pki.devices(devices, Kind::Frames.alpn())?;
        let site = site(bench, &format!("windows-{size}"), "8s")?;
        let pid = site.gateway.pid();
        let before = cpu::seconds(pid)?;
        backfill::run(&site.target(&configs), devices, size)?;
        closed(&site)?;
        Ok(1e6 * (cpu::seconds(pid)? - before) / (devices * size) as f64)
    });
    Ok(Growth {
        what: "processor time a late window, by windows of one series open at once".to_owned(),
        unit: "µs",
        better: Better::Lower,
        sizes: sizes.into(),
        values: values.collect::<anyhow::Result<_>>()?,
    })
}

/// The p99 of an honest device's acknowledgements, in milliseconds, while other load runs.
pub(super) fn honest(bench: &Bench, target: &Target) -> anyhow::Result<f64> {
    Ok(1e3 * quantile(&latency::at_rate(bench, target, (Kind::Mqtt, 1), RATE)?, 0.99))
}

/// A row: the honest device during an attack, against the same device alone.
pub(super) fn row(what: &str, beside: f64, alone: f64, floor: f64, aim: f64) -> Measurement {
    Measurement {
        what: format!("p99 of an honest device beside {what}"),
        unit: "ms",
        ours: beside,
        reference: Reference { name: "alone".to_owned(), value: Ok(alone) },
        goal: at_most_times(floor, aim),
    }
}

/// Rows of an honest device beside others on its shard.
pub(super) fn run_all(bench: &Bench) -> anyhow::Result<Vec<Measurement>> {
    let all = bench.pki.devices(2, &[])?;
    let frames = bench.pki.devices(2, Kind::Frames.alpn())?;
    let site = site(bench, "fair", "2s")?;
    let honest_target = site.target(&all.iter().take(1).cloned().collect());
    let (mut alone, mut backfilled, mut flooded) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.repeat {
        alone.push(honest(bench, &honest_target)?);
        thread::scope(|scope| {
            let history = site.target(&frames.iter().skip(1).cloned().collect());
            let windows = bench.sized(WINDOWS, 2_000);
            let attack = scope.spawn(move || backfill::run(&history, 1, windows));
            backfilled.push(honest(bench, &honest_target)?);
            attack.join().ok().context("the backfill panicked")?
        })?;
        closed(&site)?;
        thread::scope(|scope| {
            let flood = site.target(&all.iter().skip(1).cloned().collect());
            let shape = Shape { connections: 1, ..bench.shape(Kind::JsonUnnumbered, Ending::Acknowledged) };
            let attack =
                scope.spawn(move || run(&flood, shape, &*Kind::JsonUnnumbered.clients(10), &mut |_| Ok(())));
            flooded.push(honest(bench, &honest_target)?);
            attack.join().ok().context("the flood panicked")?.map(drop)
        })?;
    }
    let median = |values: &[f64]| quantile(values, 0.5);
    let alone = median(&alone);
    Ok(vec![
        row("a backfill of 400,000 windows on its shard", median(&backfilled), alone, 5.0, 2.0),
        row("a flat-out device on its shard", median(&flooded), alone, 10.0, 3.0),
    ])
}
