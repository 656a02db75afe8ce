//! The watch over the data folder while the gateway runs.
//!
//! A removed or replaced folder still takes writes and syncs through its open files. Each commit checks the segment
//! that it writes; this watch checks the rest, even while nothing is committed: the folder itself, its lock and
//! identity, and every segment. If one of them is gone, it poisons all logs, and so ends the gateway: nothing more is
//! acknowledged. A missing checkpoint alone is written again.

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

/// How often the folder is checked: the longest time for which readings are acknowledged into a moved folder.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The condition of a folder that is certainly removed or replaced.
const GONE: &str = "folder_gone";

/// The data folder and everything in it that must stay in place.
pub(crate) struct FolderWatch {
    data: DataDir,
    logs: Vec<ShardLog>,
    checkpoints: Vec<Arc<Checkpoints>>,
    lineage: Arc<Mutex<Lineage>>,
    metrics: Arc<Metrics>,
    /// Missing checkpoints were logged.
    warned: AtomicBool,
    /// A failed check was logged.
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

    /// Checks periodically, on its own thread.
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

    /// Checks now. Blocks on the disk.
    ///
    /// # Errors
    /// What is gone; the logs are poisoned then.
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
                    tracing::error!(reason = %why, "the data folder was removed or replaced: the gateway stops");
                }
                self.logs.iter().for_each(|log| log.poison(&why));
                return Err(why);
            }
            Err(error) => {
                if !self.unknown.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "cannot check the data folder");
                }
                return Ok(());
            }
        }
        self.check_checkpoints();
        self.check_history();
        Ok(())
    }

    /// Like [`FolderWatch::check`], on a thread that may wait for the disk.
    ///
    /// # Errors
    /// As [`FolderWatch::check`].
    pub(crate) async fn check_in_background(self: &Arc<Self>) -> Result<(), Arc<str>> {
        let folder = Arc::clone(self);
        let checked = tokio::task::spawn_blocking(move || folder.check()).await;
        checked.unwrap_or_else(|error| Err(error.to_string().into()))
    }

    /// Turns a failure into [`RunError::Gone`] if the folder is gone: a commit may notice that before the watch does,
    /// and fails like any other.
    pub(crate) async fn explain(self: &Arc<Self>, error: RunError) -> RunError {
        match (&error, self.check_in_background().await) {
            (RunError::Failed(_), Err(why)) => RunError::Gone(why),
            _ => error,
        }
    }

    /// Closes the logs and checks a last time: an ordered stop claims that everything is durable.
    ///
    /// # Errors
    /// What is gone, or the first log that failed. A log without space for its end is no error: it is as durable as
    /// before.
    pub(crate) async fn close(self: Arc<Self>, watch: Watchdog) -> Result<(), RunError> {
        let closing = tokio::task::spawn_blocking(move || {
            let mut closed = Ok(());
            for log in &self.logs {
                let Err(error) = log.close() else { continue };
                tracing::error!(%error, "cannot close a log in order");
                if let SyncError::Poisoned(why) = error {
                    closed = closed.and(Err(RunError::Failed(why)));
                }
            }
            drop(watch);
            self.check().map_err(RunError::Gone).and(closed)
        });
        closing.await.unwrap_or_else(|error| Err(RunError::Failed(error.to_string().into())))
    }

    /// Warns of missing checkpoints. That is no loss while the state is in memory: the shard writes one at its next
    /// turn.
    fn check_checkpoints(&self) {
        let missing = self.checkpoints.iter().filter_map(|checkpoints| checkpoints.check_in_place().err());
        let missing: Vec<PresenceError> = missing.filter(PresenceError::is_gone).collect();
        let any = !missing.is_empty();
        if any && !self.warned.load(Ordering::Relaxed) {
            for error in missing {
                tracing::warn!(%error, "a checkpoint is missing; it is written again");
            }
        }
        self.warned.store(any, Ordering::Relaxed);
    }

    /// Writes missing files of the history again: no loss while the history is in memory.
    fn check_history(&self) {
        let lineage = self.lineage.lock().unwrap_or_else(PoisonError::into_inner);
        match lineage.write_missing() {
            Ok(written) => {
                for file in written {
                    tracing::warn!(file, "a file of the data folder was missing; it is written again");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot rewrite a missing file of the data folder"),
        }
    }
}

#[cfg(test)]
mod tests;
