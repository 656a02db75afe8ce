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
        deny(),
    ];
    parts.into_iter().filter_map(Result::err).collect()
}

/// Licences, bans and sources of the dependencies by `deny.toml`. cargo-deny takes longer to build than all of CI's other
/// checks, so it is used where it is installed.
fn deny() -> anyhow::Result<()> {
    if !cargo(&["deny", "--version"]).output()?.status.success() {
        println!(
            "\ncargo-deny is not installed: deny.toml is not checked (cargo install --locked cargo-deny)"
        );
        return Ok(());
    }
    command::run(&mut cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"]))
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
