//! `cargo xtask test`: runs all tests and ends with one line of totals.
//!
//! One build serves all runners: it makes the programs and the test programs with the same features, so that nothing
//! is compiled twice. (Benchmarks are left out: `lint` checks that they compile.) The system tests, the tests of
//! clients/, the README's commands and the checks of deploy/ start the programs from there.

use std::{
    io::{Write as _, stdout},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    command::{cargo, heading, programs, run as run_command, shown},
    deploy, packages, python, readme, silence,
    test_counts::TestCounts,
};

/// A test program that prints nothing for this long hangs: the slowest single test takes some minutes.
const SILENCE_MAX: Duration = Duration::from_secs(15 * 60);

/// Announces that the first build takes long.
pub(crate) fn announce_first_build(programs: &Path) {
    if !programs.join("catchment").exists() {
        eprintln!("The first build takes some minutes; later ones compile only changes.");
    }
}

/// Builds programs and tests.
pub(crate) fn build() -> anyhow::Result<()> {
    announce_first_build(&programs()?);
    run_command(&mut cargo(&["build", "--workspace", "--lib", "--bins", "--tests"]))
}

/// Tests of the crates and of the whole system; prints their output as it arrives.
fn crates() -> anyhow::Result<TestCounts> {
    // Most system tests wait for windows to end, so run more of them at once than there are processors.
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast", "--", "--test-threads", "4"]);
    let shown = shown(&command);
    heading(&shown);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {shown}"))?;
    let output = child.stdout.take().context("no standard output")?;
    let mut counts = TestCounts::default();
    let count = |line: &[u8]| {
        stdout().write_all(line)?;
        counts += TestCounts::of_line(&String::from_utf8_lossy(line)).unwrap_or_default();
        Ok(())
    };
    let silent = || {
        println!(
            "nothing printed for {} minutes: killed. Tests above that run \"for over 60 seconds\" without a result hang.",
            SILENCE_MAX.as_secs() / 60
        );
    };
    silence::watch(output, child.id(), SILENCE_MAX, count, silent)?;
    let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    if !status.success() && counts.failed == 0 {
        // It did not compile, or a test program ended without a result.
        println!("{shown}: {status}");
        counts += TestCounts::FAILURE;
    }
    Ok(counts)
}

/// `cargo xtask test`: all runners, even after a failure.
pub(crate) fn run() -> TestCounts {
    let mut counts = TestCounts::default();
    let ready = packages::ensure_installed().and_then(|()| build());
    let runners: &[fn() -> anyhow::Result<TestCounts>] = match &ready {
        Ok(()) => &[crates, python::run, readme::run, deploy::run],
        Err(error) => {
            println!("\n{error:#}");
            counts += TestCounts::FAILURE;
            &[]
        }
    };
    for runner in runners {
        counts += runner().unwrap_or_else(|error| {
            println!("{error:#}");
            TestCounts::FAILURE
        });
    }
    counts
}
