//! Ingest at half load beside a backup of the store, against the same ingest alone.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{Bench, aggregator::SERIES, goals::times};
use crate::{
    load::delivery::{self, Load},
    process::{Server, beside},
    report::{Measurement, Reference, quantile},
    world,
};

/// The load that fills it: so many series that their windows lie in the past.
const FILL: (usize, Duration) = (100_000, Duration::from_secs(75));

/// Partials a second that are acknowledged, in the repetitions: without and beside a backup.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Measurement> {
    let dir = bench.folder("backup");
    fs::create_dir_all(&dir)?;
    let server = world::aggregator(&bench.pki, &dir)?;
    let half = fill(bench, &server, &dir.join("aggregator"))? / 2.0;
    let (addr, operator) = (server.addr, bench.pki.operator("keeper")?);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for turn in 0..bench.repeat {
        alone.push(ingest(bench, &server, half)?);
        let ended = AtomicBool::new(false);
        beside.push(thread::scope(|scope| {
            let backups = scope.spawn(|| back_up(addr, &operator, &dir.join(format!("to-{turn}")), &ended));
            let rate = ingest(bench, &server, half);
            ended.store(true, Ordering::Relaxed);
            backups.join().ok().context("the backups panicked")??;
            rate
        })?);
    }
    Ok(Measurement {
        what: "backup: ingest at half load beside a backup of a store of 1 GiB".to_owned(),
        unit: "partials/s",
        ours: quantile(&beside, 0.5),
        reference: Reference { name: "no backup".to_owned(), value: Ok(quantile(&alone, 0.5)) },
        goal: times(0.8, 0.95),
    })
}

/// Fills the store; returns the partials a second that it took.
fn fill(bench: &Bench, server: &Server, data: &Path) -> anyhow::Result<f64> {
    let (series, duration) = if bench.quick { (SERIES, bench.duration) } else { FILL };
    let load = Load { addr: server.addr, pid: None, series, in_flight: 64, duration, rate: None };
    let outcome = delivery::run(&load, &bench.pki.gateway()?)?;
    println!("  {} M partials, the store has {} MiB", outcome.readings / 1_000_000, bytes(data)? >> 20);
    Ok(outcome.readings as f64 / outcome.seconds)
}

fn ingest(bench: &Bench, server: &Server, rate: f64) -> anyhow::Result<f64> {
    let duration = bench.duration.max(Duration::from_secs(if bench.quick { 1 } else { 10 }));
    let load =
        Load { addr: server.addr, pid: None, series: SERIES, in_flight: 64, duration, rate: Some(rate) };
    let outcome = delivery::run(&load, &bench.pki.gateway()?)?;
    Ok(outcome.readings as f64 / outcome.seconds)
}

/// Backs up into new folders until `ended`; the last backup is finished.
fn back_up(addr: SocketAddr, operator: &Path, to: &Path, ended: &AtomicBool) -> anyhow::Result<()> {
    let mut backups = 0;
    while !ended.load(Ordering::Relaxed) {
        let mut command = Command::new(beside("catchment-aggregator")?);
        command.args(["store", "backup", "--aggregator", &format!("https://{addr}"), "--identity"]);
        command.arg(operator).arg("--to").arg(to).stdout(Stdio::null()).stderr(Stdio::null());
        ensure!(command.status()?.success(), "a backup failed");
        backups += 1;
        println!("  backup {backups}: {} MiB", bytes(to)? >> 20);
        fs::remove_dir_all(to)?;
    }
    Ok(())
}

/// Bytes of the files in a folder and its folders.
fn bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file that was removed meanwhile counts for nothing.
        let Ok(about) = entry.metadata() else { continue };
        sum += if about.is_dir() { bytes(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}
