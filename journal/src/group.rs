//! A log with many appenders: one thread commits for all of them.
//!
//! Appenders fill the pending block under a short mutex and never touch the disk. The thread takes the block,
//! writes and syncs it outside of the mutex, and publishes; what arrives meanwhile is the next block. So one
//! sync serves all that waited, and there is no delay beyond the sync before, but for an appender that gathers
//! ([`GroupLog::append_deferred`]).
//!
//! The thread also reserves space. A segment is changed while no record is accepted: at the moment a block is
//! taken the pending one is empty, and its limit is pulled to its base until the new segment is there;
//! appends get `BufferFull` for that time.
//!
//! Another thread removes what is released (`sweeper`).

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::config::PAGE;
use crate::error::{AppendError, FullReason, SyncError};
use crate::format::{ALIGN, BLOCK_HEADER, RECORD_HEADER};
use crate::fs::{Disk, RealDisk};
use crate::log::Log;
use crate::pending::Refusal;
use crate::position::Position;
use crate::presence::PresenceError;
use crate::reader::Reader;

mod committer;
mod inner;
mod sweeper;

pub use committer::Committer;
use committer::EndGuard;
pub use inner::Commit;
use inner::{Inner, State, Threads};

/// A shared log; clones are handles of the same one. When the last handle is dropped the thread commits the
/// rest and ends by itself; [`GroupLog::close`] waits for that and tells whether it succeeded.
pub struct GroupLog<D: Disk = RealDisk> {
    inner: Arc<Inner<D>>,
    _stop: Arc<StopOnDrop<D>>,
}

impl<D: Disk> Clone for GroupLog<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), _stop: Arc::clone(&self._stop) }
    }
}

impl<D: Disk> std::fmt::Debug for GroupLog<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupLog").field("commit", &*self.inner.commits.borrow()).finish_non_exhaustive()
    }
}

struct StopOnDrop<D: Disk>(Arc<Inner<D>>);

impl<D: Disk> Drop for StopOnDrop<D> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl<D: Disk> GroupLog<D> {
    /// Shares an opened log; starts the threads `journal-NAME` and `sweep-NAME`.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(log: Log<D>, name: &str) -> std::io::Result<Self> {
        let (shared, mut committer) = Self::manual(log);
        let thread = |role: &str| std::thread::Builder::new().name(format!("{role}-{name}"));
        let inner = Arc::clone(&shared.inner);
        let sweeper = thread("sweep")
            .spawn(move || EndGuard::over(&inner, "removes segments").run(|| inner.run_sweeper()))?;
        let committer = thread("journal").spawn(move || {
            let inner = Arc::clone(&committer.inner);
            EndGuard::over(&inner, "commits").run(|| committer.run())
        })?;
        let threads = Threads { committer, sweeper };
        *shared.inner.threads.lock().unwrap_or_else(PoisonError::into_inner) = Some(threads);
        Ok(shared)
    }

    /// Shares an opened log without a thread: nothing is committed but by [`Committer::step`]. For simulations,
    /// in which it is the schedule that decides when a sync happens.
    pub fn manual(log: Log<D>) -> (Self, Committer<D>) {
        let (writer, mut pending, held, poisoned) = log.into_parts();
        if let Some(why) = &poisoned {
            pending.poison(Arc::clone(why));
        }
        let failure = watch::Sender::new(poisoned.clone());
        let first = Commit { durable: writer.segments.durable(), poisoned, full: false };
        let inner = Arc::new(Inner {
            disk: Arc::clone(writer.disk()),
            disk_free_min: writer.config.disk_free_min,
            segments: Arc::clone(&writer.segments),
            state: Mutex::new(State::new(pending)),
            wake: Condvar::new(),
            swept: Condvar::new(),
            commits: watch::Sender::new(first),
            failure,
            threads: Mutex::new(None),
        });
        // A block that is already waiting for space is tried at once.
        let retry = held.as_ref().map(|_| Instant::now());
        let inner_too = Arc::clone(&inner);
        let committer = Committer { inner: inner_too, writer, held, spare: Vec::new(), full: None, retry };
        let stop = Arc::new(StopOnDrop(Arc::clone(&inner)));
        (Self { inner, _stop: stop }, committer)
    }

    /// Takes a record into the next commit; returns its position. Does not block on the disk.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing has changed then. After `BufferFull` and `Full` try again when
    /// [`GroupLog::subscribe`] tells of a change; a receiver that was marked unchanged before the append
    /// misses none.
    pub fn append(&self, record: &[u8]) -> Result<Position, AppendError> {
        let mut state = self.inner.state();
        let result = self.put(&mut state, record);
        let begins = result.is_ok() && !std::mem::replace(&mut state.due, true);
        // Without the lock, which the thread needs first.
        drop(state);
        if begins {
            self.inner.wake.notify_one();
        }
        result
    }

    /// As [`GroupLog::append`], but no commit is begun for it before [`GroupLog::request_commit`] or another append, so that
    /// the appender can gather what goes into one sync. It must call [`GroupLog::request_commit`] for it.
    ///
    /// # Errors
    /// As [`GroupLog::append`].
    pub fn append_deferred(&self, record: &[u8]) -> Result<Position, AppendError> {
        self.put(&mut self.inner.state(), record)
    }

    /// Begins a commit of what was appended, at the latest when the one under way has ended.
    pub fn request_commit(&self) {
        let mut state = self.inner.state();
        state.due = !state.pending.is_empty();
        drop(state);
        self.inner.wake.notify_one();
    }

    fn put(&self, state: &mut State, record: &[u8]) -> Result<Position, AppendError> {
        match state.pending.append(record) {
            Ok(at) => Ok(at),
            Err(Refusal::Final(error)) => Err(error),
            Err(Refusal::NoRoom(_)) => {
                let need = BLOCK_HEADER + RECORD_HEADER + record.len() as u64 + ALIGN;
                if need > state.wanted {
                    state.wanted = need;
                    self.inner.wake.notify_one();
                }
                Err(state
                    .pending
                    .full()
                    .map_or(AppendError::BufferFull, |why| AppendError::Full(why.clone())))
            }
        }
    }

    /// Oldest position kept.
    pub fn start_position(&self) -> Position {
        self.inner.segments.start()
    }

    /// Every record appended so far lies below, every later one at or above.
    pub fn end(&self) -> Position {
        self.inner.state().pending.end()
    }

    /// Every record below is durable.
    pub fn durable(&self) -> Position {
        self.inner.segments.durable()
    }

    /// Bytes on disk, reserved space included.
    pub fn bytes(&self) -> u64 {
        self.inner.segments.bytes()
    }

    /// What the log has no room for now: why the last record was refused, or, also when nothing is appended, that the
    /// file system has less left than the log keeps free. `None` when it can grow. Asks the file system: not on a thread
    /// that must not wait for it.
    pub fn shortage(&self) -> Option<FullReason> {
        if let Some(full) = self.inner.state().pending.full() {
            return Some(full.clone());
        }
        match self.inner.disk.free_bytes(self.inner.segments.dir()) {
            Ok(free) if free >= self.inner.disk_free_min.saturating_add(PAGE) => None,
            Ok(free) => Some(FullReason::DiskFree { free }),
            Err(error) => Some(FullReason::Disk(format!("ask for free space: {error}").into())),
        }
    }

    /// Follows the commits.
    pub fn subscribe(&self) -> watch::Receiver<Commit> {
        self.inner.commits.subscribe()
    }

    /// Why nothing more is accepted and acknowledged, if that is so.
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.inner.failure.borrow().clone()
    }

    /// Completes with the reason when the log accepts and acknowledges nothing more.
    pub async fn failure(&self) -> Arc<str> {
        let mut failure = self.inner.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_else(|| "the log has failed".into()),
            Err(_) => "the log was closed".into(),
        }
    }

    /// Ends the log for a reason that its owner knows: nothing more is accepted, written or acknowledged, and a commit
    /// under way is not reported as one. The first reason counts.
    pub fn poison(&self, why: &str) {
        self.inner.poison(why.into());
    }

    /// Whether the log's files are where they were. A commit looks at the file that it writes; this also finds, without
    /// a commit, files that were moved or replaced and older segments that are missing. Asks the file system: not for a
    /// thread that serves.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub fn check_in_place(&self) -> Result<(), PresenceError> {
        self.inner.segments.check_in_place(&*self.inner.disk, || self.inner.state().released)
    }

    /// Has the segments removed that lie below `before` as a whole; does not wait for it.
    pub fn release(&self, before: Position) {
        let mut state = self.inner.state();
        state.released = state.released.max(before);
        drop(state);
        self.inner.ask_to_sweep();
    }

    /// Streams the records from `from` (or the start) on, up to what is durable now. Reads the disk in the
    /// caller's thread.
    pub fn read(&self, from: Position) -> Reader<D> {
        Reader::new(Arc::clone(&self.inner.disk), Arc::clone(&self.inner.segments), from)
    }

    /// Refuses further appends by any handle, commits the rest, closes the log in order and waits for that:
    /// blocks the calling thread for a commit. Later calls return the durable end.
    ///
    /// # Errors
    /// What the last commit met.
    pub fn close(&self) -> Result<Position, SyncError> {
        self.inner.stop();
        let threads = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { committer, sweeper }) = threads else { return Ok(self.durable()) };
        let panicked = |_| SyncError::Poisoned("a thread of the log panicked".into());
        let committed = committer.join().map_err(panicked);
        sweeper.join().map_err(panicked)?;
        committed?
    }
}

impl<D: Disk> GroupLog<D> {
    /// Opens a log and shares it at once, for owners that read it later.
    ///
    /// # Errors
    /// As [`Log::open`]; the thread cannot be started.
    pub fn open(
        disk: Arc<D>,
        dir: &Path,
        config: crate::LogConfig,
        name: &str,
    ) -> Result<(Self, crate::Recovery), crate::OpenError> {
        let (log, recovery) = Log::open(disk, dir, config)?;
        let shared = Self::start(log, name).map_err(crate::OpenError::io(dir))?;
        Ok((shared, recovery))
    }
}
