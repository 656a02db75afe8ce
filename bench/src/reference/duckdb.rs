//! DuckDB over the raw readings, each query in a process of its own that is asked several times, so that it is warm.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::process::run;

const SCRIPT: &str = include_str!("duckdb.py");
/// How often a query is asked in turn; the quickest counts.
pub(crate) const REPEAT: usize = 5;

/// DuckDB in a Python environment of its own.
pub(crate) struct Installation {
    dir: PathBuf,
    python: PathBuf,
    script: PathBuf,
}

/// A database with a table `readings`.
pub(crate) struct DuckDb<'a> {
    installation: &'a Installation,
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

impl Installation {
    /// Installs DuckDB from the Python registry into a folder that exists.
    ///
    /// # Errors
    /// Python or its registry is missing.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let environment = dir.join("duckdb");
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let python = environment.join("bin").join("python");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb"]))?;
        let script = dir.join("query.py");
        fs::write(&script, SCRIPT)?;
        Ok(Self { dir: dir.to_owned(), python, script })
    }

    /// Makes a database and fills its table `readings`, in order of device, metric and time.
    ///
    /// # Errors
    /// DuckDB refuses the query.
    pub(crate) fn database(&self, name: &str, readings: &str) -> anyhow::Result<DuckDb<'_>> {
        let database = DuckDb { installation: self, file: self.dir.join(name).with_extension("duckdb") };
        database.ask(readings, "")?;
        Ok(database)
    }
}

impl DuckDb<'_> {
    fn ask(&self, readings: &str, query: &str) -> anyhow::Result<Answer> {
        let mut command = Command::new(&self.installation.python);
        command.arg(&self.installation.script).arg(&self.file).args([readings, query, &REPEAT.to_string()]);
        let text = run(&mut command)?;
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next().context("three numbers")?.context("a number");
        Ok(Answer { seconds: next()?, rows: next()?, sum: next()? })
    }

    /// Answers a query over `readings`.
    ///
    /// # Errors
    /// DuckDB refuses it.
    pub(crate) fn query(&self, query: &str) -> anyhow::Result<Answer> {
        self.ask("", query)
    }
}
