//! A store in memory, for tests of its callers. It keeps the promises of the traits (`store::conformance`).

mod ingest;
mod maintenance;
mod query;
mod state;

use std::sync::{Mutex, atomic::AtomicBool};

use self::state::State;

/// What the next put does in addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Fails: the store is full.
    Full,
    /// Fails because of its new series.
    TooManySeries,
    /// Fails, as do all later puts.
    Fails,
}

/// A store in memory, for tests of its callers. Whatever it reports as durable counts as durable.
#[derive(Default)]
pub(crate) struct MemoryStore {
    state: Mutex<State>,
    /// Puts wait here while it is locked for writing.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// While it is set, a list of series never ends.
    pub(crate) endless: AtomicBool,
    /// While it is true, backlogs wait.
    pub(crate) behind: tokio::sync::watch::Sender<bool>,
}

impl MemoryStore {
    /// Reports that the folder is gone.
    pub(crate) fn lose_folder(&self, why: &str) {
        let mut state = self.state.lock().unwrap();
        (state.gone, state.failed) = (Some(why.into()), Some(why.into()));
    }

    /// Makes the next put fail.
    pub(crate) fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().fault = Some(fault);
    }

    /// Sets the budget of gateways from now on.
    pub(crate) fn set_budget(&self, series_max: u64) {
        self.state.lock().unwrap().budget = Some(series_max);
    }

    /// Whether it was closed cleanly.
    pub(crate) fn closed(&self) -> bool {
        self.state.lock().unwrap().closed
    }

    /// Number of puts that passed the gate.
    pub(crate) fn puts(&self) -> u64 {
        self.state.lock().unwrap().puts
    }

    /// Number of rows of closed windows.
    pub(crate) fn rows(&self) -> u64 {
        self.state.lock().unwrap().rows.len() as u64
    }

    /// Number of rows of open windows.
    pub(crate) fn live_rows(&self) -> usize {
        self.state.lock().unwrap().live.len()
    }

    /// A store with what survives a restart of this one.
    pub(crate) fn restarted(&self) -> Self {
        let mut state = std::mem::take(&mut *self.state.lock().unwrap());
        (state.live, state.runs, state.closed) = Default::default();
        Self { state: Mutex::new(state), ..Self::default() }
    }
}
