//! Group commit: a log shared by many appenders, with one thread that commits for all of them.
//!
//! Appenders fill the pending block under a short mutex and never touch the disk. The committer thread takes the block,
//! writes and syncs it outside of the mutex, and publishes the result; records that arrive meanwhile form the next
//! block. So one sync serves all waiting appenders, and an append is delayed by no more than the sync under way, except
//! with [`GroupLog::append_deferred`], which gathers records.
//!
//! The committer also reserves space and starts new segments. It does so while no record is accepted: when it takes a
//! block, the pending one is empty; it sets that block's limit to its base until the new segment exists. Appends get
//! `BufferFull` meanwhile.
//!
//! A second thread removes released segments (`sweeper`).

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
use crate::segments::Segment;

mod committer;
mod inner;
mod sweeper;

pub use committer::Committer;
use committer::EndGuard;
pub use inner::Commit;
use inner::{Inner, State, Threads};

/// A shared log; clones are handles to the same log. When the last handle is dropped, the committer commits the
/// rest and ends; [`GroupLog::close`] waits for that and returns the result.
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
    /// Shares an open log; starts the threads `journal-NAME` and `sweep-NAME`.
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

    /// Shares an open log without threads: only [`Committer::step`] commits. For simulations, in which the schedule
    /// decides when a sync happens.
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
        // Retry a block that already waits for space at once.
        let retry = held.as_ref().map(|_| Instant::now());
        let inner_too = Arc::clone(&inner);
        let committer = Committer { inner: inner_too, writer, held, spare: Vec::new(), full: None, retry };
        let stop = Arc::new(StopOnDrop(Arc::clone(&inner)));
        (Self { inner, _stop: stop }, committer)
    }

    /// Adds a record to the next commit; returns its position. Does not block on the disk.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing changed then. After `BufferFull` or `Full`, try again when [`GroupLog::subscribe`]
    /// reports a change; a receiver that was marked unchanged before the append misses none.
    pub fn append(&self, record: &[u8]) -> Result<Position, AppendError> {
        let mut state = self.inner.state();
        let result = self.put(&mut state, record);
        let begins = result.is_ok() && !std::mem::replace(&mut state.due, true);
        // Unlock first: the woken thread needs the lock.
        drop(state);
        if begins {
            self.inner.wake.notify_one();
        }
        result
    }

    /// Like [`GroupLog::append`], but starts no commit until [`GroupLog::request_commit`] or another append, so that
    /// the appender can gather several records for one sync. The appender must call [`GroupLog::request_commit`].
    ///
    /// # Errors
    /// As [`GroupLog::append`].
    pub fn append_deferred(&self, record: &[u8]) -> Result<Position, AppendError> {
        self.put(&mut self.inner.state(), record)
    }

    /// Requests a commit of all appended records; it starts at the latest when the current commit ends.
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

    /// End of the log: all records appended so far lie below, all later ones at or above.
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

    /// All segments, oldest first; the last is being written.
    pub fn segments(&self) -> Vec<Segment> {
        self.inner.segments.all()
    }

    /// Everything before this position is spare: kept while there is space, and removed, oldest segments first, as
    /// soon as an append would be refused as full otherwise. It never goes back. Unlike a release it removes nothing
    /// by itself.
    pub fn set_spare(&self, before: Position) {
        self.inner.segments.raise_spare(before);
    }

    /// See [`GroupLog::set_spare`].
    pub fn spare(&self) -> Position {
        self.inner.segments.spare()
    }

    /// Bytes of the segments that hold nothing but spare records.
    pub fn spare_bytes(&self) -> u64 {
        self.inner.segments.spare_bytes()
    }

    /// Free bytes on the log's file system. Queries it: do not call this on a thread that must not block.
    ///
    /// # Errors
    /// The system cannot say.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        self.inner.disk.free_bytes(self.inner.segments.dir())
    }

    /// Why the log cannot grow; `None` if it can. Either the last record was refused, or the file system has less free
    /// space than the log must leave (reported even if nothing is appended). Queries the file system: do not call it on
    /// a thread that must not block.
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

    /// Subscribes to the commits.
    pub fn subscribe(&self) -> watch::Receiver<Commit> {
        self.inner.commits.subscribe()
    }

    /// Why the log has failed, if it has.
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.inner.failure.borrow().clone()
    }

    /// Waits until the log fails; returns the reason.
    pub async fn failure(&self) -> Arc<str> {
        let mut failure = self.inner.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_else(|| "the log has failed".into()),
            Err(_) => "the log was closed".into(),
        }
    }

    /// Ends the log for a reason given by its owner: it accepts, writes and acknowledges nothing more, and a commit in
    /// progress is not reported as durable. The first reason is kept.
    pub fn poison(&self, why: &str) {
        self.inner.poison(why.into());
    }

    /// Checks that the log's files are still in place. A commit checks only the file that it writes; this also finds,
    /// without a commit, moved or replaced files and missing older segments. Queries the file system: do not call it on
    /// a thread that serves requests.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub fn check_in_place(&self) -> Result<(), PresenceError> {
        self.inner.segments.check_in_place(&*self.inner.disk, || self.inner.state().released)
    }

    /// Requests removal of the segments that lie entirely below `before`; does not wait for it.
    pub fn release(&self, before: Position) {
        let mut state = self.inner.state();
        state.released = state.released.max(before);
        drop(state);
        self.inner.ask_to_sweep();
    }

    /// Streams the records from `from` (or the start, if that is later) up to the current durable position. Reads the
    /// disk in the caller's thread.
    pub fn read(&self, from: Position) -> Reader<D> {
        Reader::new(Arc::clone(&self.inner.disk), Arc::clone(&self.inner.segments), from)
    }

    /// Refuses further appends by any handle, commits the rest and closes the log in order. Blocks the calling thread
    /// until that is done. Later calls return the durable end.
    ///
    /// # Errors
    /// The error of the last commit.
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
    /// As [`Log::open`], or a thread cannot be started.
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
