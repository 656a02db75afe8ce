//! The writing side of a shared log: each round commits and reserves space.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::inner::{Inner, State};
use crate::error::{FullReason, SyncError};
use crate::fs::{Disk, RealDisk};
use crate::log::RETRY;
use crate::pending::Block;
use crate::position::Position;
use crate::writer::{WriteError, Writer};

/// The writing side. Runs in its own thread (`GroupLog::start`) or is driven by the caller (`GroupLog::manual`).
pub struct Committer<D: Disk = RealDisk> {
    pub(super) inner: Arc<Inner<D>>,
    pub(super) writer: Writer<D>,
    /// A block that did not fit on the disk; it is written first.
    pub(super) held: Option<Block>,
    pub(super) spare: Vec<u8>,
    pub(super) full: Option<FullReason>,
    /// When to try again to reserve space.
    pub(super) retry: Option<Instant>,
}

/// Notifies appenders when a thread of the log ends, even by a panic.
pub(super) struct EndGuard<'a, D: Disk> {
    inner: &'a Inner<D>,
    /// What the thread does, as a verb.
    does: &'static str,
}

impl<'a, D: Disk> EndGuard<'a, D> {
    pub(super) const fn over(inner: &'a Inner<D>, does: &'static str) -> Self {
        Self { inner, does }
    }

    /// Runs the thread's body; a panic poisons the log, then propagates to the joining thread.
    pub(super) fn run<T>(self, body: impl FnOnce() -> T) -> T {
        // State left inconsistent by the panic is never used again: the log is poisoned.
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(ended) => ended,
            Err(panic) => {
                let why = format!("the thread that {} panicked: {}", self.does, text_of(&*panic));
                self.inner.poison(why.into());
                resume_unwind(panic)
            }
        }
    }
}

/// The message of a panic.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// The work of one round.
struct Round {
    block: Option<Block>,
    /// Why nothing may be written: the owner poisoned the log, or released segments could not be removed.
    failed: Option<Arc<str>>,
    wanted: u64,
    /// Start a new segment after the block; no record is accepted until then.
    roll: bool,
    stop: bool,
}

impl<D: Disk> Committer<D> {
    pub(super) fn run(&mut self) -> Result<Position, SyncError> {
        loop {
            let round = self.next_round();
            let stop = round.stop;
            match self.round(round) {
                Ok(()) if stop => return self.finish(),
                Ok(()) => {}
                Err(why) => return Err(self.poison(why)),
            }
        }
    }

    /// Runs one round: commits all appended records, removes released segments, reserves space. Never waits.
    ///
    /// # Errors
    /// The log is poisoned.
    pub fn step(&mut self) -> Result<(), Arc<str>> {
        if let Some(why) = self.inner.commits.borrow().poisoned.clone() {
            return Err(why);
        }
        let inner = Arc::clone(&self.inner);
        let mut round = || {
            inner.sweep()?;
            let round = self.take_round(&mut inner.state());
            self.round(round)?;
            inner.sweep()
        };
        round().inspect_err(|why| drop(self.poison(Arc::clone(why))))
    }

    fn poison(&self, why: Arc<str>) -> SyncError {
        SyncError::Poisoned(self.inner.poison(why))
    }

    /// Waits for something to do.
    fn next_round(&mut self) -> Round {
        let inner = Arc::clone(&self.inner);
        let mut state = inner.state();
        loop {
            let data = self.held.is_none() && state.due && !state.pending.is_empty();
            let room = state.freed && (self.full.is_some() || state.wanted > 0);
            let wanted = self.retry.is_none() && state.wanted > 0;
            let failed = state.poisoned.is_some() || state.unremovable.is_some();
            if state.stop || failed || data || room || wanted {
                break;
            }
            let Some(retry) = self.retry else {
                state = self.inner.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = retry.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            state = self.inner.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.take_round(&mut state)
    }

    fn take_round(&mut self, state: &mut State) -> Round {
        let mut roll = false;
        let block = self.held.take().or_else(|| {
            let spare = std::mem::take(&mut self.spare);
            let block = state.pending.take(spare);
            state.due = false;
            let base = state.pending.base();
            roll = self.writer.should_roll(base, state.wanted)
                || (self.full.is_some() && self.writer.should_roll_full(base));
            if roll {
                state.pending.set_limit(base);
            }
            block
        });
        state.freed = false;
        let failed = state.poisoned.clone().or_else(|| state.unremovable.take());
        Round { block, failed, wanted: state.wanted, roll, stop: state.stop }
    }

    fn round(&mut self, round: Round) -> Result<(), Arc<str>> {
        if let Some(why) = round.failed {
            return Err(why);
        }
        let mut committed = None;
        if let Some(block) = round.block {
            match self.writer.commit(&block) {
                Ok(()) => {
                    committed = Some(block.bytes.len());
                    self.spare = block.bytes;
                }
                Err(WriteError::NoSpace(why)) => {
                    self.held = Some(block);
                    self.full = Some(FullReason::Disk(why));
                    self.publish(0);
                    return Ok(());
                }
                Err(WriteError::Failed(why)) => return Err(why),
            }
        }
        self.full = None;
        if round.roll {
            self.roll()?;
        }
        if self.full.is_none() {
            let end = self.inner.state().pending.end();
            self.full = self.writer.reserve(end, round.wanted)?;
            while self.full.is_some() && self.writer.remove_spare()? {
                self.full = self.writer.reserve(end, round.wanted)?;
            }
        }
        self.publish(round.wanted);
        if let Some(bytes) = committed {
            self.writer.write_ahead(bytes);
        }
        Ok(())
    }

    /// Starts a new segment. Spare segments give way to it.
    fn roll(&mut self) -> Result<(), Arc<str>> {
        loop {
            match self.writer.roll(self.writer.tail()) {
                Ok(()) => {
                    // Now the previous segment can be removed.
                    self.inner.ask_to_sweep();
                    return Ok(());
                }
                Err(WriteError::NoSpace(_)) if self.writer.remove_spare()? => {}
                Err(WriteError::NoSpace(why)) => {
                    self.full = Some(FullReason::Disk(why));
                    return Ok(());
                }
                Err(WriteError::Failed(why)) => return Err(why),
            }
        }
    }

    /// Publishes the state to all subscribers; `satisfied` is the room requested in this round.
    fn publish(&mut self, satisfied: u64) {
        let mut state = self.inner.state();
        if self.held.is_none() {
            state.pending.set_limit(self.writer.reserved());
        }
        state.pending.set_full(self.full.clone());
        if self.full.is_none() && state.wanted <= satisfied {
            state.wanted = 0;
        }
        drop(state);
        self.retry = self.full.as_ref().map(|_| Instant::now() + RETRY);
        let (durable, full) = (self.writer.tail(), self.full.is_some());
        self.inner.commits.send_modify(|commit| {
            // If poisoned meanwhile, do not report the written block as durable.
            if commit.poisoned.is_none() {
                commit.durable = durable;
            }
            commit.full = full;
        });
    }

    /// Runs after the last round, when no more records are accepted.
    fn finish(&mut self) -> Result<Position, SyncError> {
        if let Some(FullReason::Disk(why)) = self.full.take().filter(|_| self.held.is_some()) {
            return Err(SyncError::Full(why));
        }
        // After a held block, more records may have been accepted into reserved space.
        while let Some(block) = self.inner.state().pending.take(Vec::new()) {
            self.writer.commit(&block).map_err(|error| self.end_error(error))?;
        }
        self.writer.seal().map_err(|error| self.end_error(error))?;
        self.publish(0);
        Ok(self.writer.tail())
    }

    fn end_error(&self, error: WriteError) -> SyncError {
        match error {
            WriteError::NoSpace(why) => SyncError::Full(why),
            WriteError::Failed(why) => self.poison(why),
        }
    }
}
