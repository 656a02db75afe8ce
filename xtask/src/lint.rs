//! `cargo xtask lint`: runs all of its parts even after a failure, so that one run shows every finding.

use anyhow::bail;

use crate::{
    command::{self, cargo},
    tidy,
};

/// Runs all parts.
fn run_all() -> Vec<anyhow::Error> {
    let parts = [
        command::run(&mut cargo(&["fmt", "--all", "--check"])),
        tidy::run(),
        command::run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        command::run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings")),
    ];
    parts.into_iter().filter_map(Result::err).collect()
}

/// `cargo xtask lint`.
pub(crate) fn run() -> anyhow::Result<()> {
    let failures = run_all();
    if failures.is_empty() {
        println!("\nlint: no findings");
        return Ok(());
    }
    println!();
    for failure in &failures {
        println!("lint: {failure:#}");
    }
    bail!("{} parts of lint failed", failures.len())
}
