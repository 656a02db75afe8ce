//! A data folder with delivered windows.

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    benchmarks::Bench,
    cpu,
    load::{
        history::{Formula, deliver},
        operator::Operator,
    },
    process::Server,
    world,
};

/// Longest time that the store may take to arrange what was delivered.
const SETTLE: Duration = Duration::from_secs(60);

/// A data folder and what it holds.
pub(super) struct Stored {
    dir: PathBuf,
    pub(super) history: Formula,
}

/// An aggregator in a folder that exists.
pub(super) fn start(bench: &Bench, dir: &std::path::Path) -> anyhow::Result<Server> {
    world::aggregator_with(&bench.pki, dir, &["--query-points-max", "10000000"])
}

/// A connection of an operator.
pub(super) fn operator(bench: &Bench, server: &Server) -> anyhow::Result<Operator> {
    Operator::connect(server.addr, &bench.pki.operator("reader")?)
}

impl Stored {
    /// Delivers windows into a new folder; the server is still running.
    pub(super) fn deliver(bench: &Bench, name: &str, history: Formula) -> anyhow::Result<(Self, Server)> {
        let dir = bench.folder("query").join(name);
        fs::create_dir_all(&dir)?;
        let server = start(bench, &dir)?;
        for (site, identity) in (0..).zip(bench.pki.sites(history.sites)?) {
            deliver(server.addr, &identity, history.batches(site))?;
        }
        Ok((Self { dir, history }, server))
    }

    /// As [`Self::deliver`]; an ordered stop has flushed everything.
    pub(super) fn without_server(bench: &Bench, name: &str, history: Formula) -> anyhow::Result<Self> {
        Self::deliver(bench, name, history).map(|(stored, _server)| stored)
    }

    /// Starts an aggregator in the folder.
    pub(super) fn start(&self, bench: &Bench) -> anyhow::Result<Server> {
        start(bench, &self.dir)
    }

    /// Starts an aggregator in the folder, and waits until it has arranged and checked what is stored.
    pub(super) fn settled(&self, bench: &Bench) -> anyhow::Result<Server> {
        let server = self.start(bench)?;
        if !bench.quick {
            cpu::settle(server.pid(), SETTLE)?;
        }
        Ok(server)
    }
}
