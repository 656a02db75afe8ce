//! `cargo xtask chaos`: builds everything and runs the fault-injection program `tests/src/bin/chaos/`.

use std::{process::Command, time::SystemTime};

use crate::{
    command::{programs, run as run_command},
    test,
};

/// Timeout in seconds of devices and queries: long, because a server that is killed repeatedly is slow.
const TIMEOUT: &str = "180";

/// Injects faults for a number of minutes.
pub(crate) fn run(minutes: f64, seed: Option<u64>) -> anyhow::Result<()> {
    anyhow::ensure!(minutes > 0.0 && minutes <= 24.0 * 60.0, "--minutes: more than 0 and at most 1440");
    test::build()?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = seed.unwrap_or(u64::from(since.subsec_nanos()));
    let mut chaos = Command::new(programs()?.join("chaos"));
    chaos.args([minutes.to_string(), seed.to_string()]).env("CATCHMENT_TEST_PATIENCE", TIMEOUT);
    run_command(&mut chaos)
}
