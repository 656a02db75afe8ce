//! `cargo demo`: builds the operator's tool and runs its demo, which takes the place of this process.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;

use crate::{
    command::{programs, repository},
    test::announce_first_build,
};

/// Runs the demo from the folder in which the command was typed, so that relative paths mean what they say.
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
