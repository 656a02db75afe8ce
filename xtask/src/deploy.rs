//! Checks the configuration files of deploy/: they hold every key of their program, each default matches the program's,
//! and the program accepts them, unchanged and with every key enabled.
//!
//! In these files a disabled key follows its `#` directly; prose has a space after its `#`. The key `key` of the table
//! `[some]` is the flag `--some-key`. Quoted keys (topics) and keys of tables that exist only in the file are not flags:
//! the program must accept them, but they are not compared.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, bail, ensure};

use crate::{
    command::{heading, output, programs, repository},
    temporary::Temporary,
    test_counts::TestCounts,
};

/// Flags that are not settings.
const APART: [&str; 4] = ["config", "check-config", "help", "version"];

/// A program, its file, and an identity for the check.
struct Server {
    program: &'static str,
    file: &'static str,
    identity: &'static str,
    issue: &'static [&'static str],
    /// Keys that exclude another one, or that this version refuses.
    unused: &'static [&'static str],
}

const SERVERS: [Server; 2] = [
    Server {
        program: "catchment-gateway",
        file: "deploy/gateway.toml",
        identity: "site/berlin/gateway/gw-1",
        issue: &["gateway", "--site", "berlin", "--name", "gw-1", "--host", "localhost"],
        unused: &[],
    },
    Server {
        program: "catchment-aggregator",
        file: "deploy/aggregator.toml",
        identity: "aggregator/centre",
        issue: &["aggregator", "--name", "centre", "--host", "localhost"],
        unused: &["store"],
    },
];

/// The keys of a program's help, each with its default if the help names one.
fn keys_of_help(help: &str) -> BTreeMap<String, Option<String>> {
    let mut keys = BTreeMap::new();
    let mut last = None;
    for line in help.lines().map(str::trim) {
        let option = line.split_once("--").filter(|(before, _)| before.is_empty() || before.starts_with('-'));
        if let Some((_, rest)) = option {
            let flag = rest.split([' ', '=', '[']).next().unwrap_or_default();
            last = (!APART.contains(&flag)).then(|| flag.replace('-', "_"));
            if let Some(key) = &last {
                keys.insert(key.clone(), None);
            }
        }
        if let (Some(key), Some((_, rest))) = (&last, line.split_once("[default: "))
            && let Some((default, _)) = rest.split_once(']')
        {
            keys.insert(key.clone(), Some(default.to_owned()));
        }
    }
    keys
}

/// Parses a line that sets a key, enabled or not: the key, and the value without quotes.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix('#').unwrap_or(line).split_once(" = ")?;
    let is_key =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    is_key.then(|| (key, value.trim().trim_matches('"')))
}

/// Tables whose keys exist only in the file: those of `[json]` apply to topics too, `[[metric]]` and `[[retention]]` may
/// be repeated.
const FILE_ONLY: [&str; 3] = ["json_", "metric_", "retention_"];

/// The flag prefix of a table's keys, if the line begins a table. One of several tables of a name may be disabled.
fn table(line: &str) -> Option<String> {
    let repeated = line.strip_prefix('#').unwrap_or(line).strip_prefix("[[");
    let name = match repeated {
        Some(rest) => rest.strip_suffix("]]")?,
        None => line.strip_prefix('[')?.strip_suffix(']')?,
    };
    Some(format!("{}_", name.replace('.', "_")))
}

/// Checks that file and help have the same keys, and the same defaults for disabled keys.
fn compare(file: &str, help: &str) -> anyhow::Result<()> {
    let keys = keys_of_help(help);
    ensure!(keys.len() > 10, "the program's help shows only {} keys", keys.len());
    let mut missing: Vec<_> = keys.keys().map(String::as_str).collect();
    let mut prefix = String::new();
    for line in file.lines() {
        if let Some(table) = table(line) {
            prefix = table;
        }
        if FILE_ONLY.contains(&&*prefix) {
            continue;
        }
        let Some((key, value)) = setting(line) else { continue };
        let key = &*format!("{prefix}{key}");
        let Some(default) = keys.get(key) else { bail!("the program has no key {key}") };
        missing.retain(|name| *name != key);
        // A default with spaces is a sentence: the program computes the value.
        let fixed = default.as_deref().filter(|default| !default.contains(' '));
        if let Some(default) = fixed.filter(|_| line.starts_with('#')) {
            ensure!(
                value == default,
                "the file says that {key} defaults to {value}; the program's default is {default}"
            );
        }
    }
    ensure!(missing.is_empty(), "the file lacks: {}", missing.join(", "));
    Ok(())
}

/// The file with every key enabled except `unused`.
fn all_in_use(file: &str, unused: &[&str]) -> String {
    let line = |line: &str| match setting(line) {
        Some((key, _)) if !unused.contains(&key) => format!("{}\n", line.trim_start_matches('#')),
        None if line.starts_with("#\"") || line.starts_with("#[[") => {
            format!("{}\n", line.trim_start_matches('#'))
        }
        _ => format!("{line}\n"),
    };
    file.lines().map(line).collect()
}

fn try_out(server: &Server, file: &str, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join("tried.toml");
    fs::write(&path, file)?;
    let mut command = Command::new(programs()?.join(server.program));
    command.arg("--config").arg(&path).arg("--identity").arg(folder.join("pki").join(server.identity));
    // The file's own data folder may need other permissions.
    command.arg("--data").arg(folder.join("data"));
    output(command.arg("--check-config")).map(drop)
}

/// Makes a trust root and the servers' identities.
fn identities(folder: &Path) -> anyhow::Result<()> {
    let certs = |arguments: &[&str]| {
        let mut command = Command::new(programs()?.join("catchment-certs"));
        output(command.args(arguments).args(["--dir", "pki"]).current_dir(folder)).map(drop)
    };
    certs(&["init"])?;
    for server in &SERVERS {
        certs(&[&["issue"], server.issue].concat())?;
    }
    Ok(())
}

/// Runs the checks.
pub(crate) fn run() -> anyhow::Result<TestCounts> {
    heading("deploy/: configuration files");
    let folder = Temporary::new("deploy")?;
    identities(folder.path()).context("cannot make identities")?;
    let mut counts = TestCounts::default();
    for server in &SERVERS {
        let name = server.file;
        let file =
            fs::read_to_string(repository().join(name)).with_context(|| format!("cannot read {name}"))?;
        let help = output(Command::new(programs()?.join(server.program)).arg("--help"))?;
        counts.check(&format!("{name} holds every key with its default"), compare(&file, &help));
        counts.check(&format!("{name} is accepted unchanged"), try_out(server, &file, folder.path()));
        let all = all_in_use(&file, server.unused);
        counts.check(&format!("{name} is accepted with every key"), try_out(server, &all, folder.path()));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Options:\n      --config <FILE>\n          TOML file\n      --listen <ADDR>\n          Address\n\
        \n      --max-size <SIZE>\n          Most bytes [default: 1MiB]\n          [env: X=]\n\
        \n  -h, --help\n          Print help\n";

    #[test]
    fn keys_and_defaults_are_parsed_from_the_help() {
        let keys = keys_of_help(HELP);
        assert_eq!(keys.get("max_size"), Some(&Some("1MiB".to_owned())));
        assert_eq!(keys.get("listen"), Some(&None));
        assert_eq!(keys.len(), 2);
    }

    #[test]
    fn a_missing_unknown_or_wrong_key_is_reported() {
        let flags: String = (0..20).map(|n| format!("  --key-{n} <N>\n    It [default: {n}]\n")).collect();
        let file: String = (0..20).map(|n| format!("# Prose = here.\n#key_{n} = {n}\n")).collect();
        assert!(compare(&file, &flags).is_ok());
        let message = |file: String| compare(&file, &flags).unwrap_err().to_string();
        assert!(message(file.replace("#key_7 = 7\n", "")).contains("lacks: key_7"));
        assert!(message(file.replace("#key_7 = 7", "#key_7 = 8")).contains("key_7 defaults to 8"));
        assert!(message(format!("{file}other = 1\n")).contains("no key other"));
        assert!(compare(&file.replace("#key_7 = 7", "key_7 = 8"), &flags).is_ok());
        let table = format!("{}[key]\n#7 = 7\n#\"a/+\" = \"json\"\n", file.replace("#key_7 = 7\n", ""));
        assert!(compare(&table, &flags).is_ok());
        assert!(compare(&table.replace("#7 = 7", "#7 = 8"), &flags).is_err());
        assert!(all_in_use(&table, &[]).contains("\n\"a/+\" = \"json\"\n"));
        let repeated = format!("{file}#[[metric]]\n#name = \"a\"\n");
        assert!(compare(&repeated, &flags).is_ok());
        assert!(all_in_use(&repeated, &[]).ends_with("\n[[metric]]\nname = \"a\"\n"));
        assert!(all_in_use(&file, &["key_3"]).contains("\nkey_7 = 7\n"));
        assert!(all_in_use(&file, &["key_3"]).contains("\n#key_3 = 3\n"));
    }
}
