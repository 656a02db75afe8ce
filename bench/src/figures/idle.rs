//! Memory of a connected device that is silent, its actor and one series with an open window included.

use std::{process::Command, time::Duration};

use super::{Bench, at_least};
use crate::{
    load::{Target, idle},
    process,
    report::{Better, Figure, Goal, Reference},
    world::{Site, target},
};

/// Open files beside the connections.
const SPARE: usize = 200;

/// Measures both servers once: memory that is given back would make a second time look cheaper.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Figure> {
    let limit = process::run(Command::new("/bin/sh").args(["-c", "ulimit -n"]))?;
    let limit: usize = limit.trim().parse().unwrap_or(usize::MAX);
    let connections = bench.sized(10_000, 200).min(limit.saturating_sub(SPARE));
    println!("  making {connections} identities");
    let devices = bench.pki.devices(connections + 1, &[])?;
    let silence = if bench.quick { Duration::from_millis(500) } else { Duration::from_secs(3) };
    let measure = |target: &Target, answered| idle::run(target, connections, silence, answered);
    // So wide that no window ends meanwhile.
    let site = Site::start(&bench.pki, &bench.folder("idle"), &["--window", "1h"])?;
    let ours = measure(&site.target(&devices), true)?;
    drop(site);
    let sink = bench.sink("discard-buffer=1024")?;
    let value = measure(&target(&sink, &devices), false)?;
    let what = format!("memory of an idle device, {connections} connected");
    let reference = Reference { name: "bare sink, 1 KiB buffer".into(), value: Ok(value / 1024.0) };
    let goal = Goal { better: Better::Lower, ..at_least(16.0, 10.0) };
    Ok(Figure { what, unit: "KiB", ours: ours / 1024.0, reference, goal })
}
