//! What all figures share: identities, folders, times, and measuring in turn.

use std::{cell::OnceCell, fs, iter, path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{
    load::{Ending, Shape, manual::Kind},
    process::{Server, beside},
    reference::duckdb::{DuckDb, Installation},
    report::{Reference, quantile},
    world::Pki,
};

/// State shared by all figures.
pub(crate) struct Bench {
    pub(crate) pki: Pki,
    /// A temporary folder.
    pub(crate) dir: PathBuf,
    /// Length of one measurement.
    pub(crate) duration: Duration,
    pub(crate) repeat: usize,
    /// Multiple of the stored windows of the query figures.
    pub(crate) scale: usize,
    /// Small counts, for a smoke run.
    pub(crate) quick: bool,
    /// DuckDB, or why there is none: installed at first use.
    pub(crate) duckdb: OnceCell<Result<Installation, String>>,
}

impl Bench {
    /// The full or the quick count.
    pub(crate) fn sized(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// A folder for a figure; it does not exist yet.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A database of DuckDB with the readings that a query selects, or why there is none.
    pub(crate) fn readings(&self, name: &str, query: &str) -> Result<DuckDb<'_>, String> {
        let dir = self.folder("duckdb");
        let installed = || {
            fs::create_dir_all(&dir)?;
            Installation::new(&dir)
        };
        let duckdb = self.duckdb.get_or_init(|| installed().map_err(|error| format!("{error:#}")));
        duckdb.as_ref().map_err(Clone::clone)?.database(name, query).map_err(|error| format!("{error:#}"))
    }

    /// The shape of a load at full speed.
    pub(crate) fn shape(&self, kind: Kind, ending: Ending) -> Shape {
        let (connections, in_flight) = kind.defaults();
        let each_alone = kind.writes_each();
        Shape { connections, in_flight, duration: self.duration, each_alone, ending, rate: None }
    }

    /// A bare server.
    pub(crate) fn sink(&self, mode: &str) -> anyhow::Result<Server> {
        let mut command = std::process::Command::new(beside("catchment-bench")?);
        command.args(["sink", "--mode", mode, "--identity"]).arg(self.pki.gateway()?);
        Server::start(command, &self.folder("sink.log"))
    }

    /// The median of the repetitions.
    pub(crate) fn median(&self, once: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
        let values = iter::repeat_with(once).take(self.repeat).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(quantile(&values, 0.5))
    }

    /// Measures ours and the reference in turn; returns the medians.
    pub(crate) fn in_turn(
        &self,
        ours: &mut dyn FnMut() -> anyhow::Result<f64>,
        reference: &mut dyn FnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<(f64, f64)> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..self.repeat {
            first.push(ours().context("ours")?);
            second.push(reference().context("the reference")?);
        }
        Ok((quantile(&first, 0.5), quantile(&second, 0.5)))
    }

    /// As [`Self::in_turn`], with a reference that may be missing.
    pub(crate) fn in_turn_if(
        &self,
        ours: &mut dyn FnMut() -> anyhow::Result<f64>,
        name: String,
        reference: Result<&mut dyn FnMut() -> anyhow::Result<f64>, String>,
    ) -> anyhow::Result<(f64, Reference)> {
        match reference {
            Ok(reference) => {
                let (ours, value) = self.in_turn(ours, reference)?;
                Ok((ours, Reference { name, value: Ok(value) }))
            }
            Err(reason) => Ok((self.median(ours)?, Reference { name, value: Err(reason) })),
        }
    }
}
