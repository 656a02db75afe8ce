//! A page in headless Chromium, driven by `clients/browser.py`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::process::program;

const BROWSER: &str = "chromium-headless-shell";

/// A browser with one page; it ends with the test.
pub struct Browser {
    child: Child,
    steps: ChildStdin,
    results: BufReader<ChildStdout>,
}

/// Where `cargo xtask test` puts axe-core's script.
fn axe() -> Option<PathBuf> {
    let target = program("catchment").parent()?.parent()?.to_owned();
    Some(target.join("axe/axe.min.js")).filter(|path| path.is_file())
}

impl Browser {
    /// A browser; `None`, and a message: it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        if Command::new(BROWSER).arg("--version").output().is_err() {
            eprintln!("left out: install {BROWSER} to test the page in a browser");
            return None;
        }
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/browser.py")).arg(BROWSER);
        match axe() {
            Some(axe) => drop(command.arg(axe)),
            None => eprintln!("axe-core's rules are left out: `cargo xtask test` fetches them"),
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (steps, results) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, steps, results })
    }

    /// Does a step, as `browser.py` describes it, and returns its result. Blocks.
    ///
    /// # Panics
    /// When the browser has ended.
    pub fn step(&mut self, step: &Value) -> Value {
        writeln!(self.steps, "{step}").unwrap();
        let mut line = String::new();
        self.results.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{step}: {error}: {line}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
