//! What the handles of a shared log and its threads share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::error::SyncError;
use crate::fs::Disk;
use crate::pending::Pending;
use crate::position::Position;
use crate::segments::Segments;

/// State that the committer publishes after each round. Every publication wakes the subscribers, including those that
/// wait to repeat an append refused with `BufferFull` or `Full`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Every record below is durable.
    pub durable: Position,
    /// Why the log no longer accepts or acknowledges records.
    pub poisoned: Option<Arc<str>>,
    /// True while there is no space for a refused record. The committer retries ten times a second.
    pub full: bool,
}

/// What the handles of a log and its threads share.
pub(super) struct Inner<D: Disk> {
    pub(super) disk: Arc<D>,
    /// `LogConfig::disk_free_min`.
    pub(super) disk_free_min: u64,
    pub(super) segments: Arc<Segments>,
    pub(super) state: Mutex<State>,
    /// Wakes the committer.
    pub(super) wake: Condvar,
    /// Wakes the sweeper.
    pub(super) swept: Condvar,
    pub(super) commits: watch::Sender<Commit>,
    /// Why the log failed. Separate from `commits`, so that waiting for a failure does not wake at every commit.
    pub(super) failure: watch::Sender<Option<Arc<str>>>,
    pub(super) threads: Mutex<Option<Threads>>,
}

/// The threads of a log that were started.
pub(super) struct Threads {
    pub(super) committer: JoinHandle<Result<Position, SyncError>>,
    pub(super) sweeper: JoinHandle<()>,
}

/// What they change under the lock.
pub(super) struct State {
    pub(super) pending: Pending,
    /// A commit of the pending block is requested and the committer was woken; false when nothing is pending.
    pub(super) due: bool,
    /// Room that the largest refused record needs; 0 if none waits.
    pub(super) wanted: u64,
    /// Segments that lie entirely below may be removed.
    pub(super) released: Position,
    /// There may be segments to remove.
    pub(super) sweep: bool,
    /// A sweep finished since the last round.
    pub(super) freed: bool,
    /// Why a sweep failed.
    pub(super) unremovable: Option<Arc<str>>,
    /// Why the log writes nothing more.
    pub(super) poisoned: Option<Arc<str>>,
    pub(super) stop: bool,
    /// The log writes nothing more.
    pub(super) ended: bool,
}

impl State {
    pub(super) const fn new(pending: Pending) -> Self {
        Self {
            pending,
            due: false,
            wanted: 0,
            released: Position::ZERO,
            sweep: false,
            freed: false,
            unremovable: None,
            poisoned: None,
            stop: false,
            ended: false,
        }
    }
}

impl<D: Disk> Inner<D> {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the state inconsistent, so a poisoned mutex is safe to use.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the log: it accepts, writes and acknowledges nothing more. Notifies all waiters; keeps and returns the
    /// first reason.
    pub(super) fn poison(&self, why: Arc<str>) -> Arc<str> {
        let mut state = self.state();
        let why = Arc::clone(state.poisoned.get_or_insert(why));
        state.pending.poison(Arc::clone(&why));
        state.ended = true;
        drop(state);
        self.wake.notify_one();
        self.swept.notify_one();
        self.commits.send_modify(|commit| commit.poisoned = Some(Arc::clone(&why)));
        self.failure.send_replace(Some(Arc::clone(&why)));
        why
    }

    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stop = true;
        state.pending.close();
        self.wake.notify_one();
        self.swept.notify_one();
    }
}
