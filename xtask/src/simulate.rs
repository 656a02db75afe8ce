//! `cargo xtask simulate`: runs many more schedules of the simulation than the tests do.

use crate::command::{cargo, run as run_command};

/// Runs schedules with consecutive seeds, from `seed` on.
pub(crate) fn run(schedules: u64, seed: u64) -> anyhow::Result<()> {
    let (schedules, seed) = (schedules.to_string(), seed.to_string());
    let program = ["run", "--quiet", "-p", "catchment-simulation", "--bin", "simulate", "--"];
    run_command(cargo(&program).args(["--schedules", &schedules, "--seed", &seed]))
}
