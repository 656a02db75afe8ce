//! Debian packages that the tests need besides Rust and a C compiler; missing ones are installed.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::{
    axe,
    command::{output, run},
};

/// A package, and commands of which at least one succeeds if it is installed.
pub(crate) type Package = (&'static str, &'static [&'static [&'static str]]);

/// Packages that the tests need.
const NEEDED: [Package; 7] = [
    ("python3", &[&["python3", "-c", "import ssl, json"]]),
    ("openssl", &[&["openssl", "version"]]),
    ("mosquitto-clients", &[&["sh", "-c", "command -v mosquitto_pub"]]),
    (
        "python3-paho-mqtt",
        &[&["python3", "-c", "import paho.mqtt"], &["/usr/bin/python3", "-c", "import paho.mqtt"]],
    ),
    ("prometheus", &[&["promtool", "--version"]]),
    ("victoria-metrics", &[&["vmalert", "-version"]]),
    ("python3-venv", &[&["python3", "-c", VENV], &["/usr/bin/python3", "-c", VENV]]),
];

/// A package without which a test is left out, and says so.
const BROWSER: Package = ("chromium-headless-shell", &[&["chromium-headless-shell", "--version"]]);
/// As the browser.
const TMUX: Package = ("tmux", &[&["tmux", "-V"]]);

/// Python code that fails where virtual environments cannot be made.
const VENV: &str = "import ensurepip, venv";

/// A Python that can make virtual environments: the one in the search path, or Debian's.
pub(crate) fn python_with_venv() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| succeeds(&[*python, "-c", VENV]))
}

fn succeeds(command: &[&str]) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn missing(needed: &[Package]) -> Vec<&'static str> {
    let there = |commands: &[&[&str]]| commands.iter().any(|command| succeeds(command));
    needed.iter().filter(|(_, commands)| !there(commands)).map(|(package, _)| *package).collect()
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    // In run level 1, the services of packages do not start: only their programs are needed.
    let environment = [("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")];
    run(Command::new("apt-get").args(arguments).envs(environment))
}

/// Checks the packages that the tests need; installs missing ones if possible.
pub(crate) fn ensure_installed() -> anyhow::Result<()> {
    ensure(&NEEDED, "the tests")?;
    if let Err(error) = ensure(&[BROWSER], "the tests of the dashboard in a browser") {
        eprintln!("these tests are left out: {error:#}");
    }
    if let Err(error) = ensure(&[TMUX], "the test of `catchment top` in tmux") {
        eprintln!("this test is left out: {error:#}");
    }
    if let Err(error) = axe::ensure_fetched() {
        eprintln!("the dashboard's accessibility is not checked, axe-core cannot be fetched: {error:#}");
    }
    Ok(())
}

/// Checks packages that `what` needs; installs missing ones if possible.
pub(crate) fn ensure(needed: &[Package], what: &str) -> anyhow::Result<()> {
    let packages = missing(needed);
    if packages.is_empty() {
        return Ok(());
    }
    let advice = format!("{what} need {0}: install with `apt-get install {0}`", packages.join(" "));
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    ensure!(root && succeeds(&["apt-get", "--version"]), "{advice}");
    let install: Vec<_> = ["install", "-y", "--no-install-recommends"].into_iter().chain(packages).collect();
    // The package lists may be missing or old, as in a fresh container.
    if apt_get(&install).is_err() {
        apt_get(&["update"]).and_then(|()| apt_get(&install)).with_context(|| advice.clone())?;
    }
    ensure!(missing(needed).is_empty(), "{advice}");
    Ok(())
}
