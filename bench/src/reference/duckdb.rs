//! DuckDB over the raw readings, each query in a process of its own that is asked several times, so that it is warm.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::process::run;

const SCRIPT: &str = include_str!("duckdb.py");
const REPEAT: &str = "5";

/// A database with the readings, in a folder with its own Python environment.
pub(crate) struct DuckDb {
    python: PathBuf,
    script: PathBuf,
    file: PathBuf,
}

/// The result of a query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Of the quickest of several times.
    pub(crate) seconds: f64,
    pub(crate) rows: f64,
    /// Sum of the last column.
    pub(crate) sum: f64,
}

impl DuckDb {
    /// Installs DuckDB from the Python registry into a folder, and fills a table `readings`.
    ///
    /// # Errors
    /// Python or its registry is missing.
    pub(crate) fn new(dir: &Path, history: &str) -> anyhow::Result<Self> {
        let environment = dir.join("duckdb");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let python = environment.join("bin").join("python");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb"]))?;
        let script = dir.join("query.py");
        fs::write(&script, SCRIPT)?;
        let database = Self { python, script, file: dir.join("readings.duckdb") };
        database.ask(history, "")?;
        Ok(database)
    }

    fn ask(&self, history: &str, query: &str) -> anyhow::Result<Answer> {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(&self.file).args([history, query, REPEAT]);
        let text = run(&mut command)?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next().context("three numbers")?.context("a number");
        Ok(Answer { seconds: next()?, rows: next()?, sum: next()? })
    }

    /// Answers a query over `readings(device, metric, time, value)`.
    ///
    /// # Errors
    /// DuckDB refuses it.
    pub(crate) fn query(&self, query: &str) -> anyhow::Result<Answer> {
        self.ask("", query)
    }
}
