//! The shard as sessions, worker and simulation see it: its parts, composed.

use std::{sync::Arc, time::Duration};

use catchment_journal::{Checkpoints, Disk, Position, RealDisk};
use catchment_proto::wire;
use tokio::sync::Notify;

use super::{
    Backpressure, Capture, Observation, Progress, ShardLimits, ShardLog, closer::Closer,
    journaled_state::JournaledState, live::LiveRounds, outbox::OutboxWriter, refused::RefusedCounts,
};
use crate::{
    budget::Budget,
    fold::{ClientEntry, Entry, IntakeEntry, State},
    metrics::Metrics,
};

/// One worker's share of the devices.
pub struct Shard<D: Disk = RealDisk> {
    pub(super) index: u32,
    /// See [`Shard::base`].
    pub(super) base: u64,
    pub(super) journaled: JournaledState<D>,
    pub(super) closer: Closer,
    pub(super) outbox: OutboxWriter<D>,
    pub(super) live: LiveRounds,
    pub(super) refused: RefusedCounts,
    pub(super) limits: ShardLimits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
}

/// Messages.
impl<D: Disk> Shard<D> {
    /// From now on taken messages do not begin a commit. Instead they signal `commit_requested`; the task that waits
    /// for it calls [`catchment_journal::GroupLog::request_commit`] after all other ready tasks have run. So one sync
    /// serves a turn of the worker.
    pub fn defer_commits(&mut self, commit_requested: Arc<Notify>) {
        self.journaled.defer_commits(commit_requested);
    }

    /// An empty entry for messages of a device, with the memory of an earlier one.
    pub fn spare(&mut self) -> IntakeEntry {
        self.journaled.spare()
    }

    /// Keeps the memory of an entry, up to a bound, for [`Self::spare`].
    pub fn reuse(&mut self, entry: IntakeEntry) {
        self.journaled.reuse(entry);
    }

    /// Takes messages of a device. They are durable once the journal is synced up to [`Shard::end`].
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn take(&mut self, mut intake: IntakeEntry) -> Result<(), Backpressure> {
        self.room()?;
        intake.previous = self.state().reached(intake.device, &intake.epoch);
        let late_before = self.state().open_count().1;
        let (_, _, entry) = self.journaled.record_kept(Entry::Intake(intake))?;
        let late = self.state().open_count().1.saturating_sub(late_before);
        if late > 0 {
            self.metrics.late.inc_by(late as u64);
        }
        if let Entry::Intake(intake) = entry {
            self.closer.note_intake(intake.device, &intake.epoch);
            self.reuse(intake);
        }
        Ok(())
    }

    /// Counts readings that were refused, for the next batch.
    pub fn note_refused(&mut self, readings: u64) {
        let (wall, mono) = self.closer.now();
        self.refused.add(readings, wall, mono);
    }

    /// Begins or ends what is kept of a client's session.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn keep_client(&mut self, entry: ClientEntry) -> Result<(), Backpressure> {
        self.room()?;
        self.journaled.record(Entry::Client(entry)).map(drop)
    }

    /// Whether messages can be taken now: not while partials cannot be put into the outbox.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn room(&self) -> Result<(), Backpressure> {
        self.outbox.room()
    }

    /// Whether the journal's buffer may have room for this many readings now: to ask before an entry is made of them.
    ///
    /// # Errors
    /// [`Backpressure::Sync`] if it had no room for as few, and nothing has changed since.
    pub fn room_for(&self, readings: usize) -> Result<(), Backpressure> {
        self.journaled.room_for(readings as u64)
    }

    /// Whether journal or outbox are near their bound: devices are slowed before they have to wait.
    pub fn is_near_full(&self) -> bool {
        // Delivered batches give way to new ones.
        let near =
            |log: &ShardLog<D>, bound: u64| log.bytes().saturating_sub(log.spare_bytes()) > bound / 10 * 9;
        near(self.journal(), self.limits.journal_bytes_max)
            || near(self.outbox(), self.limits.outbox_bytes_max)
    }

    /// Whether a device's windows may change now. A device that sends its history faster than windows close waits:
    /// the oldest of its late windows will soon have gathered long enough. So does one with more windows than it needs on
    /// time while the shard has too many: those close early. One with very many windows also waits for the capture under
    /// way, for some milliseconds.
    ///
    /// # Errors
    /// [`Backpressure::Room`] for a device that has as many open windows as allowed; [`Backpressure::Sync`] for one that
    /// has to be captured first.
    pub fn check_device_windows(&mut self, device: u32) -> Result<(), Backpressure> {
        let (open, max) = (self.state().open_of(device), self.limits.device_open_windows_max);
        if open >= max {
            let why = format!("the device has {max} open windows, the bound device_open_windows_max");
            return Err(Backpressure::Room(why));
        }
        let all_max = self.limits.open_windows_max;
        if self.state().open_count().0 > all_max
            && open > self.limits.windows_on_time(self.state().series_of(device), self.state().width())
        {
            let why =
                format!("this shard has more than {all_max} open windows, its share of open_windows_max");
            return Err(Backpressure::Room(why));
        }
        self.journaled.check_capture(device)
    }
}

/// Logs and state.
impl<D: Disk> Shard<D> {
    /// Number of the first batch that this run of the shard makes.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The monotonic clock: time since some moment of the process.
    pub fn mono(&self) -> Duration {
        self.closer.mono()
    }

    /// The state, to look things up.
    pub fn state(&self) -> &State {
        self.journaled.state()
    }

    /// Where the journal ends: everything taken so far is durable once the journal is synced up to here.
    pub fn end(&self) -> Position {
        self.journal().end()
    }

    /// Whether journal or outbox have failed: memory may no longer be what the journal says.
    pub fn is_poisoned(&self) -> bool {
        self.journal().poisoned().is_some() || self.outbox().poisoned().is_some()
    }

    /// Poisons the journal: see [`catchment_journal::GroupLog::poison`].
    pub fn poison(&self, why: &str) {
        self.journal().poison(&format!("shard {}: {why}", self.index));
    }

    /// The journal: to wait for its syncs.
    pub fn journal(&self) -> &ShardLog<D> {
        self.journaled.journal()
    }

    /// The outbox: to deliver from it.
    pub fn outbox(&self) -> &ShardLog<D> {
        self.outbox.log()
    }

    /// Moves batches to the outbox whose closing is durable. Stops at the first for which there is no room;
    /// then no more messages are taken until there is.
    pub fn append_durable_batches(&mut self) {
        let appended = self.outbox.append_durable(self.journaled.journal().durable());
        self.metrics.batches.inc_by(appended);
    }

    /// How far windows are closed, when that is durable and all their batches are in the outbox.
    pub fn progress(&self) -> Option<Progress> {
        let complete = self.outbox.is_complete() && self.closer.closed_at() < self.journal().durable();
        complete.then(|| Progress {
            watermark: self.closer.reported_watermark(self.state()),
            outbox_end: self.outbox().end(),
            number: self.state().next_batch().saturating_sub(1),
            history: Arc::clone(self.state().history()),
        })
    }

    /// Values for the metrics.
    pub fn observe(&self) -> Observation {
        Observation {
            open_windows: self.state().open_count().0,
            journal_bytes: self.journal().bytes(),
            raw_kept_bytes: self.journal().spare_bytes(),
            outbox_bytes: self.outbox().bytes().saturating_sub(self.outbox().spare_bytes()),
            outbox_kept_bytes: self.outbox().spare_bytes(),
            watermark_ms: self.state().watermark().map(|watermark| watermark.as_millis()),
        }
    }
}

/// Open windows, for live queries (`--live`).
impl<D: Disk> Shard<D> {
    /// Makes the next round hold all open windows, for a receiver that does not have the earlier rounds.
    pub fn restart_live(&mut self) {
        self.live = LiveRounds::default();
    }

    /// Continues the round over the windows that changed since the previous round, or begins one. The batches may
    /// leave once the journal is synced up to the position returned with them. The last value says whether the round
    /// is complete.
    pub fn live(&mut self) -> (Position, Vec<wire::Batch>, bool) {
        let end = self.end();
        let (batches, complete) = self.live.step(self.index, self.journaled.state(), end);
        (end, batches, complete)
    }
}

/// Checkpoints.
impl<D: Disk> Shard<D> {
    /// Whether the journal has grown enough since the last checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        self.journaled.checkpoint_due(self.limits.checkpoint_bytes)
    }

    /// Whether there are entries since the last checkpoint, or it has vanished.
    pub fn changed_since_checkpoint(&self) -> bool {
        self.journaled.changed_since_checkpoint()
    }

    /// Begins to capture the state as it is now. Returns false, and begins nothing, while a batch waits for the outbox.
    pub fn begin_capture(&mut self) -> bool {
        let complete = self.outbox.is_complete();
        if complete {
            let outbox = self.outbox.log();
            self.journaled.begin_capture(outbox.end(), outbox.spare());
        }
        complete
    }

    /// Captures a slice of the state, bounded work; returns the capture once it is complete. Messages may be taken
    /// between the steps.
    pub fn step_capture(&mut self) -> Option<Capture> {
        self.journaled.step_capture()
    }

    /// The state as it is now, in one go; `None` while a batch waits for the outbox. For tests and simulations.
    pub fn capture(&mut self) -> Option<Capture> {
        if !self.begin_capture() {
            return None;
        }
        loop {
            if let Some(capture) = self.step_capture() {
                return Some(capture);
            }
        }
    }

    /// Whether a capture may be written: everything that it builds on is durable, and memory was right.
    pub fn may_write(&self, capture: &Capture) -> bool {
        !self.is_poisoned()
            && self.journal().durable() >= capture.position
            && self.outbox.durable() >= capture.outbox_end
    }

    /// Where checkpoints are written.
    pub fn checkpoints(&self) -> Arc<Checkpoints<D>> {
        self.journaled.checkpoints()
    }

    /// Removes raw readings that have become too old. Cheap.
    pub fn expire_raw(&mut self) {
        self.journaled.expire_raw(self.closer.mono());
    }

    /// A checkpoint at a position was written: the journal is spare up to the checkpoint before it.
    pub fn checkpointed(&mut self, position: Position) {
        self.journaled.checkpointed(position, self.closer.mono());
    }
}
