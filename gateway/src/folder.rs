//! The watch over the data folder while the gateway runs.
//!
//! A removed or replaced folder still takes writes and syncs through its open files. Each commit looks at the segment that
//! it writes; this finds the rest, also while nothing is committed: the folder itself, its lock and identity, every
//! segment. What is gone ends all logs, and with them the gateway: nothing more is acknowledged. A missing checkpoint
//! alone is written again.

pub(crate) mod shards;

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use catchment_journal::{Checkpoints, DataDir, PresenceError, SyncError, Watchdog, check_exists};
use catchment_settings::supervise::catch_thread;

use crate::{lineage::Lineage, metrics::Metrics, run::RunError, shard::ShardLog};

/// How often the folder is looked at: so long at most something is acknowledged into a folder that was moved.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The condition of a folder that is certainly not what it was.
const GONE: &str = "folder_gone";

/// What the gateway stands on.
pub(crate) struct FolderWatch {
    data: DataDir,
    logs: Vec<ShardLog>,
    checkpoints: Vec<Arc<Checkpoints>>,
    lineage: Arc<Mutex<Lineage>>,
    metrics: Arc<Metrics>,
    /// Missing checkpoints were reported.
    warned: AtomicBool,
    /// The folder could not be looked at, and that was reported.
    unknown: AtomicBool,
}

impl FolderWatch {
    /// The folder, with the logs and checkpoints of its shards and its history.
    pub(crate) fn new(
        data: DataDir,
        logs: Vec<ShardLog>,
        checkpoints: Vec<Arc<Checkpoints>>,
        lineage: Arc<Mutex<Lineage>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (warned, unknown) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { data, logs, checkpoints, lineage, metrics, warned, unknown }
    }

    /// Looks from time to time, on a thread of its own.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn watch(self: &Arc<Self>) -> io::Result<Watchdog> {
        let folder = Arc::clone(self);
        Watchdog::start("folder", CHECK_EVERY, move || match catch_thread(|| folder.check()) {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(panic) => {
                let why = format!("the thread that watches the folder panicked: {panic}");
                folder.logs.iter().for_each(|log| log.poison(&why));
                ControlFlow::Break(())
            }
        })
    }

    /// Looks now. Blocks on the disk.
    ///
    /// # Errors
    /// What is gone; the logs have ended then.
    pub(crate) fn check(&self) -> Result<(), Arc<str>> {
        let checked = self.data.check_in_place().and_then(|()| {
            self.logs.iter().try_for_each(ShardLog::check_in_place)?;
            self.checkpoints.iter().try_for_each(|checkpoints| check_exists(checkpoints.dir()))
        });
        let conditions = &self.metrics.conditions;
        match checked {
            Ok(()) => self.unknown.store(false, Ordering::Relaxed),
            Err(error) if error.is_gone() => {
                let why: Arc<str> = error.to_string().into();
                if conditions.set(GONE, Some(why.to_string())) {
                    tracing::error!(reason = %why, "the data folder is not what it was: the gateway ends");
                }
                self.logs.iter().for_each(|log| log.poison(&why));
                return Err(why);
            }
            Err(error) => {
                if !self.unknown.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the data folder cannot be looked at");
                }
                return Ok(());
            }
        }
        self.check_checkpoints();
        self.check_history();
        Ok(())
    }

    /// As [`FolderWatch::check`], on a thread that may wait for the disk.
    ///
    /// # Errors
    /// As [`FolderWatch::check`].
    pub(crate) async fn check_in_background(self: &Arc<Self>) -> Result<(), Arc<str>> {
        let folder = Arc::clone(self);
        let checked = tokio::task::spawn_blocking(move || folder.check()).await;
        checked.unwrap_or_else(|error| Err(error.to_string().into()))
    }

    /// Says of a failure whether it is that the folder is gone: a commit notices that before the watch does, and fails like any
    /// other.
    pub(crate) async fn explain(self: &Arc<Self>, error: RunError) -> RunError {
        match (&error, self.check_in_background().await) {
            (RunError::Failed(_), Err(why)) => RunError::Gone(why),
            _ => error,
        }
    }

    /// Closes the logs and looks a last time: an end in order claims that everything is durable.
    ///
    /// # Errors
    /// What is gone, or the first log that failed; one that found no space for its end is as durable as it was.
    pub(crate) async fn close(self: Arc<Self>, watch: Watchdog) -> Result<(), RunError> {
        let closing = tokio::task::spawn_blocking(move || {
            let mut closed = Ok(());
            for log in &self.logs {
                let Err(error) = log.close() else { continue };
                tracing::error!(%error, "a log did not close in order");
                if let SyncError::Poisoned(why) = error {
                    closed = closed.and(Err(RunError::Failed(why)));
                }
            }
            drop(watch);
            self.check().map_err(RunError::Gone).and(closed)
        });
        closing.await.unwrap_or_else(|error| Err(RunError::Failed(error.to_string().into())))
    }

    /// A missing checkpoint is no loss while the state is in memory: its shard writes one at its next turn.
    fn check_checkpoints(&self) {
        let missing = self.checkpoints.iter().filter_map(|checkpoints| checkpoints.check_in_place().err());
        let missing: Vec<PresenceError> = missing.filter(PresenceError::is_gone).collect();
        let any = !missing.is_empty();
        if any && !self.warned.load(Ordering::Relaxed) {
            for error in missing {
                tracing::warn!(%error, "a checkpoint is missing and is written again");
            }
        }
        self.warned.store(any, Ordering::Relaxed);
    }

    /// Missing files of the history are no loss while it is in memory.
    fn check_history(&self) {
        let lineage = self.lineage.lock().unwrap_or_else(PoisonError::into_inner);
        match lineage.write_missing() {
            Ok(written) => {
                for file in written {
                    tracing::warn!(file, "a file of the data folder was missing and is written again");
                }
            }
            Err(error) => tracing::warn!(%error, "a missing file of the data folder cannot be written again"),
        }
    }
}

#[cfg(test)]
mod tests;
