//! Bytes on disk for each window, of everything in the data folder.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use super::stored::start;
use crate::{
    benchmarks::{Bench, goals::at_most},
    cpu,
    load::history::{DAY_MS, Recorded, days_ago, deliver},
    report::{Measurement, Reference, Report},
};

/// Devices with ten metrics each.
const DEVICES: i64 = 20;
/// Enough that what an empty folder takes is little.
const DAYS: i64 = 3;
/// Longest time that the store may take to merge what was flushed.
const SETTLE: Duration = Duration::from_secs(60);

/// Bytes that the file system has allocated for a folder.
fn allocated(path: &Path) -> anyhow::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += allocated(&entry?.path())?;
        }
    }
    Ok(bytes)
}

/// Bytes on disk a window, and bytes of an encoded partial, of devices that are late by up to some milliseconds.
fn measure(bench: &Bench, jitter_ms: u64) -> anyhow::Result<(f64, f64)> {
    let dir = bench.folder("query").join(format!("disk-{jitter_ms}"));
    fs::create_dir_all(&dir)?;
    let windows = bench.sized(DAYS as usize * DAY_MS as usize / 10_000, 20) as i64;
    let server = start(bench, &dir)?;
    let mut recorded = Recorded::new(DEVICES, windows, days_ago(DAYS), jitter_ms);
    deliver(server.addr, &bench.pki.gateway()?, recorded.by_ref())?;
    // An ordered stop flushes everything; then the store has time to merge it.
    drop(server);
    let server = start(bench, &dir)?;
    if !bench.quick {
        cpu::settle(server.pid(), SETTLE)?;
    }
    drop(server);
    let count = (DEVICES * 10 * windows) as f64;
    Ok((allocated(&dir.join("aggregator"))? as f64 / count, recorded.body_bytes() as f64 / count))
}

/// With and without jitter.
pub(super) fn run(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    for (jitter_ms, how) in [(0, "sampled on time"), (3, "sampled up to 3 ms late")] {
        let (ours, encoded) = measure(bench, jitter_ms)?;
        report.measurements.push(Measurement {
            what: format!("on disk a window of ten readings, {how}, everything in the data folder"),
            unit: "bytes",
            ours,
            reference: Reference { name: "the encoded partial alone".to_owned(), value: Ok(encoded) },
            goal: at_most(32.0, 16.0),
        });
    }
    Ok(())
}
