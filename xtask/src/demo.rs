//! `cargo demo`: builds the operator tool and runs its demo, which replaces this process.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;

use crate::{
    command::{programs, repository},
    test::announce_first_build,
};

/// Runs the demo in the current folder of the caller, so that relative paths keep their meaning.
///
/// # Errors
/// Cargo cannot be started. Otherwise this does not return: the demo's exit status is that of the process.
pub(crate) fn run(options: &[OsString]) -> anyhow::Result<()> {
    announce_first_build(&programs()?);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--manifest-path"]).arg(repository().join("Cargo.toml"));
    command.args(["--package", "catchment-cli", "--bin", "catchment", "--", "demo"]).args(options);
    Err(command.exec()).context("cannot start cargo")
}
