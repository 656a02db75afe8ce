//! The tests of `clients/python`: pytest, against the programs just built.

use std::{
    io::{BufRead as _, BufReader, Write as _, stdout},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use crate::{
    command::{heading, programs, repository, shown},
    packages,
    test_counts::TestCounts,
};

/// Runs the tests; prints their output as it arrives.
pub(crate) fn run() -> anyhow::Result<TestCounts> {
    let python = packages::python_with_pytest()
        .context("no Python with pytest: run `apt-get install python3-pytest`")?;
    let mut command = Command::new(python);
    command.current_dir(repository()).args([
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "clients/python",
    ]);
    command.env("CATCHMENT_BIN", programs()?).env("PYTHONDONTWRITEBYTECODE", "1");
    let shown = shown(&command);
    heading(&shown);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {shown}"))?;
    let (mut counts, mut line) = (None, Vec::new());
    let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
    while output.read_until(b'\n', &mut line).with_context(|| format!("cannot read from {shown}"))? > 0 {
        stdout().write_all(&line)?;
        counts = TestCounts::of_pytest(&String::from_utf8_lossy(&line)).or(counts);
        line.clear();
    }
    let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    let counts = counts.unwrap_or_default();
    // It could not start, or ended without a result.
    Ok(if !status.success() && counts.failed == 0 { TestCounts { failed: 1, ..counts } } else { counts })
}
