//! Memory of a connected, silent device, including its actor and one series with an open window.

use std::{process::Command, time::Duration};

use super::{Bench, at_least};
use crate::{
    load::idle,
    process,
    report::{Better, Goal, Measurement, Reference},
    world::{Site, target},
};

/// Open files besides the connections.
const SPARE: usize = 200;

/// The wanted number of connections, limited by the open files that the process may have.
pub(super) fn possible(wanted: usize) -> anyhow::Result<usize> {
    let limit = process::run(Command::new("/bin/sh").args(["-c", "ulimit -n"]))?;
    Ok(wanted.min(limit.trim().parse().unwrap_or(usize::MAX).saturating_sub(SPARE)))
}

fn silence(bench: &Bench) -> Duration {
    if bench.quick { Duration::from_millis(500) } else { Duration::from_secs(3) }
}

/// Bytes of a gateway per device, for the wanted number of devices or as many as possible.
pub(super) fn of_gateway(bench: &Bench, wanted: usize) -> anyhow::Result<f64> {
    let connections = possible(wanted)?;
    println!("  making {connections} identities");
    let devices = bench.pki.devices(connections + 1, &[])?;
    // So wide that no window ends during the measurement.
    let folder = bench.folder(&format!("idle-{connections}"));
    let site = Site::start(&bench.pki, &folder, &["--window", "1h"])?;
    idle::run(&site.target(&devices), connections, silence(bench), true)
}

/// Measures both servers once: freed memory would make a second measurement look cheaper.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Measurement> {
    let connections = possible(bench.sized(10_000, 200))?;
    let ours = of_gateway(bench, connections)?;
    let devices = bench.pki.devices(connections + 1, &[])?;
    let sink = bench.sink("discard-buffer=1024")?;
    let value = idle::run(&target(&sink, &devices), connections, silence(bench), false)?;
    let what = format!("memory of an idle device, {connections} connected");
    let reference = Reference { name: "bare sink, 1 KiB buffer".into(), value: Ok(value / 1024.0) };
    let goal = Goal { better: Better::Lower, ..at_least(16.0, 10.0) };
    Ok(Measurement { what, unit: "KiB", ours: ours / 1024.0, reference, goal })
}
