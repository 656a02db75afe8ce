//! Runs the commands of the README's "Deploy it for real", so that they stay true.
//!
//! Every `sh` block of that section runs unchanged, all in one `bash -euo pipefail` in a folder of its own. A `text`
//! block is the output of its step: each of its lines must be printed; `…` matches anything. One command is stubbed:
//! `cargo build --release` takes minutes, so the test build's programs are used instead. Servers that the steps start
//! in the background are children of that bash and are ended by their ids.

mod section;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _, stdout},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, anyhow, ensure};

use crate::{
    command::{heading, programs, repository},
    readme::section::{Step, matches, steps},
    temporary::Temporary,
    test_counts::TestCounts,
};

/// The heading of the section whose commands are run.
const SECTION: &str = "Deploy it for real";
/// Time limit of all steps together, for `timeout`.
const TIMEOUT: &str = "180s";
/// Ports on which the README's servers listen.
const PORTS: [u16; 2] = [7600, 7700];
/// Prefix of a line that marks the start of a step.
const MARK: &str = "@@ step ";

/// Script that precedes the README's own commands.
const PRELUDE: &str = r#"
set -euo pipefail
exec 2>&1
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
# The programs are built: see the head of this check.
cargo() { [ "$*" = "build --release" ] || { echo "unexpected: cargo $*"; return 1; }; }
"#;

fn script(steps: &[Step]) -> String {
    let mut script = PRELUDE.to_owned();
    for (index, step) in steps.iter().enumerate() {
        script += &format!("echo '{MARK}{index}'\n{}\n", step.commands);
    }
    script + &format!("echo '{MARK}{}'\n", steps.len())
}

/// Runs a script, prints its output, and returns the output by step: one entry for each step that started.
fn execute(script: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let folder = Temporary::new("readme")?;
    let file = folder.path().join(".steps");
    fs::write(&file, script).context("cannot write the script")?;
    let path: Vec<PathBuf> = std::iter::once(programs()?)
        .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default()))
        .collect();
    let mut child = Command::new("timeout")
        .args(["--kill-after=10s", TIMEOUT, "bash"])
        .arg(&file)
        .current_dir(folder.path())
        .env("PATH", env::join_paths(path)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start bash")?;
    let output = BufReader::new(child.stdout.take().context("no standard output")?);
    let mut seen: Vec<Vec<String>> = Vec::new();
    for line in output.lines() {
        let line = line.context("cannot read the output of the steps")?;
        if line.starts_with(MARK) {
            seen.push(Vec::new());
            continue;
        }
        writeln!(stdout(), "    {line}")?;
        if let Some(step) = seen.last_mut() {
            step.push(line);
        }
    }
    child.wait().context("cannot wait for bash")?;
    Ok(seen)
}

/// Checks that a step ran and printed what the README shows.
fn judge(step: &Step, printed: Option<&Vec<String>>, went_on: bool) -> anyhow::Result<()> {
    let printed = printed.ok_or_else(|| anyhow!("not reached"))?;
    ensure!(went_on, "a command failed, or all steps together took longer than {TIMEOUT}");
    for shown in &step.shown {
        ensure!(printed.iter().any(|line| matches(shown, line)), "did not print {shown:?}");
    }
    Ok(())
}

/// Runs the steps; each is a check.
pub(crate) fn run() -> anyhow::Result<TestCounts> {
    heading(&format!("README: {SECTION}"));
    let text = fs::read_to_string(repository().join("README.md")).context("cannot read README.md")?;
    let steps = steps(&text, SECTION);
    ensure!(
        steps.iter().any(|step| step.commands.contains("catchment query") && !step.shown.is_empty()),
        "README.md, {SECTION:?}: no step has a query and its output"
    );
    for port in PORTS {
        TcpListener::bind(("127.0.0.1", port))
            .with_context(|| format!("the README's servers need port {port}, which is in use"))?;
    }
    let printed = execute(&script(&steps))?;
    let mut counts = TestCounts::default();
    for (index, step) in steps.iter().enumerate() {
        let went_on = printed.len() > index + 1;
        counts.check(&format!("README, {}", step.title), judge(step, printed.get(index), went_on));
    }
    Ok(counts)
}
