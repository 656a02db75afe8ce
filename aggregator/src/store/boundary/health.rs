//! How a store is.

use std::sync::Arc;

/// How a store is; the default is one that works and has room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why it acknowledges nothing more; `None`: it works.
    pub failure: Option<StoreFailure>,
    /// What it lacks room in, each at most once. Until there is room it refuses batches or lets them wait.
    pub shortages: Vec<Shortage>,
}

/// Why a store has failed for good: it acknowledges nothing more until the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFailure {
    /// What happened first.
    pub reason: Arc<str>,
    /// What is gone of its data (a folder, a file, a table), once noticed; may be noticed after the failure.
    pub data_gone: Option<Arc<str>>,
}

/// Where a store lacks room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// What its data lies on is full: why.
    Space(String),
    /// Accepted batches that are not yet where they stay have reached their bound: which one.
    Backlog(String),
    /// Memory for such batches is used up; new ones wait.
    Memory,
}
