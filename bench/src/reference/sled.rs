//! sled as a store with one row per window, in its own process (`catchment-bench sled-reference`).

use std::{path::Path, process, process::Command};

use anyhow::{Context as _, ensure};

use crate::{cpu, load::delivery::bodies, process as programs};

/// Rows between two flushes.
const FLUSH: usize = 1_000;

/// Puts rows of `series` series and prints rows per processor second.
///
/// # Errors
/// An error of sled.
pub(crate) fn run(dir: &Path, rows: usize, series: usize) -> anyhow::Result<()> {
    let bodies = bodies()?;
    let tree = sled::open(dir)?;
    let before = cpu::seconds(process::id())?;
    for row in 0..rows {
        let (series, window) = (row % series.max(1), row / series.max(1));
        let key = [(series as u32).to_be_bytes(), (window as u32).to_be_bytes()].concat();
        let body = bodies.get(row * 31 % bodies.len().max(1)).context("bodies are made ahead")?;
        tree.insert(key, body.as_ref())?;
        if (row + 1) % FLUSH == 0 {
            tree.flush()?;
        }
    }
    tree.flush()?;
    let used = cpu::seconds(process::id())? - before;
    ensure!(used > 0.0, "{rows} rows took no measurable time");
    println!("{}", rows as f64 / used);
    Ok(())
}

/// Runs it as a child process; returns rows per processor second.
///
/// # Errors
/// An error of the child.
pub(crate) fn measure(dir: &Path, rows: usize, series: usize) -> anyhow::Result<f64> {
    let mut command = Command::new(programs::beside("catchment-bench")?);
    command.arg("sled-reference").arg("--dir").arg(dir);
    command.args(["--rows", &rows.to_string(), "--series", &series.to_string()]);
    Ok(programs::run(&mut command)?.trim().parse()?)
}
