//! `cargo xtask fuzz TARGET`: the program of the crate `fuzz`, built like the tests, with overflow checks.

use crate::command::{cargo, run as run_command};

/// Runs a target, or all targets in sequence, each for `seconds`.
pub(crate) fn run(target: &str, seconds: u64, seed: Option<u64>) -> anyhow::Result<()> {
    let seconds = seconds.to_string();
    let mut command = cargo(&["run", "--quiet", "-p", "catchment-fuzz", "--", target, "--seconds", &seconds]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    run_command(&mut command)
}
