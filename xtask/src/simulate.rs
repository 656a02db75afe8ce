//! `cargo xtask simulate`: schedules of the simulation, many more than the tests run.

use crate::command::{cargo, run as run_command};

/// Runs so many schedules, from a seed on.
pub(crate) fn run(schedules: u64, seed: u64) -> anyhow::Result<()> {
    let (schedules, seed) = (schedules.to_string(), seed.to_string());
    let program = ["run", "--quiet", "-p", "catchment-simulation", "--bin", "simulate", "--"];
    run_command(cargo(&program).args(["--schedules", &schedules, "--seed", &seed]))
}
