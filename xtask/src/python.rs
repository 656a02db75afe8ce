//! The tests of `clients/python`: format, lint and types of its sources, then pytest against the programs just built.
//!
//! They run in a virtual environment of their own, `target/python`, with the packages of
//! `clients/python/tests/requirements.txt`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _, stdout},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use crate::{
    command::{self, heading, programs, repository, shown},
    packages,
    test_counts::TestCounts,
};

/// The sources.
const FOLDER: &str = "clients/python";
/// What the environment must hold, below [`FOLDER`].
const REQUIREMENTS: &str = "tests/requirements.txt";

/// Checks of the sources: what is said of each, and its module with arguments.
const CHECKS: [(&str, &[&str]); 3] = [
    ("clients/python is formatted (fix: ruff format)", &["ruff", "format", "--check", "--no-cache", "."]),
    ("clients/python has no findings of ruff", &["ruff", "check", "--no-cache", "."]),
    ("clients/python has no findings of mypy", &["mypy", "--cache-dir", "/dev/null"]),
];

/// The interpreter of the environment; made, or made again when the requirements have changed.
fn environment() -> anyhow::Result<PathBuf> {
    let folder = repository().join("target/python");
    let requirements = repository().join(FOLDER).join(REQUIREMENTS);
    let needed = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let (python, installed) = (folder.join("bin/python"), folder.join("requirements.txt"));
    if python.exists() && fs::read_to_string(&installed).is_ok_and(|installed| installed == needed) {
        return Ok(python);
    }
    let base = packages::python_with_venv()
        .context("no Python that makes virtual environments: run `apt-get install python3-venv`")?;
    command::run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder))?;
    command::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )
    .with_context(|| format!("cannot install the packages of {FOLDER}/{REQUIREMENTS}"))?;
    fs::write(&installed, needed).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

/// A command in `clients/python` that leaves no files there.
fn module(python: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.current_dir(repository().join(FOLDER)).arg("-m").args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs pytest; prints its output as it arrives.
fn tests(python: &Path) -> anyhow::Result<TestCounts> {
    let mut command = module(python, &["pytest", "-q"]);
    command.env("CATCHMENT_BIN", programs()?);
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

/// Runs the checks and the tests.
pub(crate) fn run() -> anyhow::Result<TestCounts> {
    let python = environment()?;
    let mut counts = TestCounts::default();
    for (what, arguments) in CHECKS {
        counts.check(what, command::run(&mut module(&python, arguments)));
    }
    counts += tests(&python)?;
    Ok(counts)
}
