//! `cargo xtask safeguards`: proof that the checks can fail.
//!
//! For each safeguard of the table, a copy of the repository is changed to remove it, and the safeguard's check must
//! fail: by a failed test, not because it no longer compiles or never ends. Before that, every check must pass on the
//! unchanged copy. The product itself holds no trace of this.
//!
//! The copy has its own target folder, seeded with the registry packages that the repository has already built.

mod seed;
mod table;
mod tree;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
    time::Instant,
};

use anyhow::{Context as _, ensure};

use crate::{
    command::{heading, programs},
    test_counts::TestCounts,
};
use table::{Check, DOOR, FAIRNESS, FOLDERS, SAFEGUARDS, Safeguard, TRUST, UPLINK};
use tree::Tree;

/// Time limit of a check in seconds: broken code may never end.
const SECONDS_MAX: u32 = 240;
/// Address space limit of a check's programs in KiB: broken code may take all memory.
const MEMORY_MAX_KIB: u32 = 8 << 20;

/// How a check ended.
#[derive(Debug)]
enum Outcome {
    /// This many tests passed, none failed.
    Passed(u64),
    /// These tests failed.
    Failed(Vec<String>),
    /// It does not compile, or it failed without a failed test.
    Other(String),
}

/// The last lines of a command's output.
fn end_of(output: &Output) -> String {
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n")
}

/// The outcome in the output of libtest.
fn judge(printed: &str, success: bool) -> Option<Outcome> {
    let mut counts = TestCounts::default();
    for line in printed.lines() {
        counts += TestCounts::of_line(line).unwrap_or_default();
    }
    if success {
        return (counts.failed == 0).then_some(Outcome::Passed(counts.passed));
    }
    let failed = printed.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let failed: BTreeSet<String> = failed.map(str::to_owned).collect();
    (!failed.is_empty()).then(|| Outcome::Failed(failed.into_iter().collect()))
}

/// Rows of the table whose `find` text no longer occurs exactly once in its file; `text` returns a file's content.
pub(crate) fn moved<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let check = |s: &Safeguard| tree::occurs_once(text(s.file).unwrap_or_default(), s.file, s.find).err();
    SAFEGUARDS
        .iter()
        .chain(FOLDERS)
        .chain(DOOR)
        .chain(FAIRNESS)
        .chain(TRUST)
        .chain(UPLINK)
        .filter_map(check)
        .map(|error| error.to_string())
        .collect()
}

/// A cargo command in the copy.
fn cargo(tree: &Tree, target: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(tree.root()).env("CARGO_TARGET_DIR", target).env("CARGO_TERM_COLOR", "never");
    command
}

/// Builds a check and runs it, bounded.
fn run_check(check: Check, tree: &Tree, target: &Path) -> anyhow::Result<Outcome> {
    let Check { package, target: kind, filter } = check;
    let build = cargo(tree, target, "cargo")
        .args(["test", "--quiet", "--no-run", "-p", package, kind])
        .output()
        .context("cannot start cargo")?;
    if !build.status.success() {
        return Ok(Outcome::Other(format!("it does not compile:\n{}", end_of(&build))));
    }
    let bounded = format!(
        "ulimit -v {MEMORY_MAX_KIB} && exec timeout --kill-after=5 {SECONDS_MAX} cargo test -p \"$0\" \"$1\" -- \"$2\""
    );
    let output = cargo(tree, target, "sh")
        .args(["-c", &bounded, package, kind, filter])
        .output()
        .context("cannot start sh")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let outcome = judge(&printed, output.status.success());
    Ok(outcome.unwrap_or_else(|| {
        let end = end_of(&output);
        Outcome::Other(format!("{} within {SECONDS_MAX} s, but no test failed:\n{end}", output.status))
    }))
}

/// Checks that every check passes on the unchanged copy; otherwise the table proves nothing.
fn unchanged_passes(safeguards: &[&Safeguard], tree: &Tree, target: &Path) -> anyhow::Result<()> {
    let mut done = Vec::new();
    for safeguard in safeguards {
        if done.contains(&safeguard.check) {
            continue;
        }
        done.push(safeguard.check);
        let Check { package, filter, .. } = safeguard.check;
        let begin = Instant::now();
        match run_check(safeguard.check, tree, target)? {
            Outcome::Passed(tests @ 1..) => {
                println!(
                    "unchanged, {package} {filter}: {tests} passed, {:.0} s",
                    begin.elapsed().as_secs_f64()
                );
            }
            other => anyhow::bail!("the unchanged repository fails {package} {filter}: {other:?}"),
        }
    }
    Ok(())
}

/// Removes each safeguard in turn; its check must fail.
pub(crate) fn run(quick: bool, only: Option<&str>) -> anyhow::Result<()> {
    heading("safeguards: each removal must fail a test");
    let programs = programs()?;
    let target = programs.parent().context("the programs' folder has no parent")?;
    let profile =
        programs.file_name().and_then(|name| name.to_str()).context("the programs' folder has no name")?;
    let folder = target.join("safeguards");
    let tree = Tree::update(&folder)?;
    let target = seed::seed(target, profile, &folder)?;
    let chosen = |s: &&Safeguard| (!quick || s.quick) && only.is_none_or(|only| s.name.contains(only));
    let safeguards: Vec<&Safeguard> = SAFEGUARDS
        .iter()
        .chain(FOLDERS)
        .chain(DOOR)
        .chain(FAIRNESS)
        .chain(TRUST)
        .chain(UPLINK)
        .filter(chosen)
        .collect();
    ensure!(!safeguards.is_empty(), "no safeguard's name contains that text");
    unchanged_passes(&safeguards, &tree, &target)?;
    let mut rows = Vec::new();
    let mut missed = 0;
    for safeguard in safeguards {
        let Safeguard { name, without, file, find, replace, check, .. } = *safeguard;
        let begin = Instant::now();
        let outcome = tree.with_change(file, find, replace, || run_check(check, &tree, &target))?;
        let seconds = begin.elapsed().as_secs_f64();
        let caught = match outcome {
            Outcome::Failed(tests) => {
                let more =
                    if tests.len() > 2 { format!(" and {} more", tests.len() - 2) } else { String::new() };
                tests.iter().take(2).map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ") + &more
            }
            Outcome::Passed(tests) => {
                missed += 1;
                format!("NOTHING: {tests} tests passed")
            }
            Outcome::Other(why) => {
                missed += 1;
                println!("{name}: {why}");
                "NO TEST, see above".to_owned()
            }
        };
        println!("{name}: {caught} ({seconds:.0} s)");
        rows.push(format!("| {name} | {without} | {caught} |"));
    }
    tree.done()?;
    println!("\n| safeguard | without it | caught by |\n| --- | --- | --- |\n{}", rows.join("\n"));
    ensure!(missed == 0, "{missed} of {} safeguards can be removed without a failing test", rows.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_test_is_a_catch() {
        let passed =
            "test a ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out\n";
        assert!(matches!(judge(passed, true), Some(Outcome::Passed(1))));
        let failed = "test a::b ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n";
        assert!(matches!(judge(failed, false), Some(Outcome::Failed(tests)) if tests == ["a::b"]));
        assert!(judge("test a ... ", false).is_none(), "it was killed");
        assert!(judge("error: could not compile", false).is_none());
    }
}
