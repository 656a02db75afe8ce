//! A shard: one worker's share of the devices, its journal and its outbox.
//!
//! The shell around [`State`]: it appends an entry to the journal, then applies it, and nothing of what follows
//! from an entry leaves before the journal is synced beyond it. Lives on one thread; whoever holds it borrows it
//! for the length of a synchronous call only.
//!
//! - `recover`: from the data folder to a shard whose state is the fold of its journal;
//! - `cell`, `poison_guard`: what a panic while the shard is changed does: the journal is poisoned;
//! - `close`: the clock's decisions: which windows are due, when the watermark moves;
//! - `expire`: devices come, and what was not used for long is forgotten;
//! - `seal`: at a start, windows of before are closed;
//! - `live`: the state of open windows, for those who watch;
//! - `checkpoint`: the state on disk, so that the journal's beginning can go;
//! - `replay`, `definitions`, `recovery_report`: what is kept and what is reported when the journal is damaged.

mod backpressure;
mod cell;
mod checkpoint;
mod close;
mod definitions;
mod expire;
mod live;
mod poison_guard;
mod position_history;
mod recover;
mod recovery_report;
mod replay;
mod seal;
mod series;
mod shard_facts;
#[cfg(test)]
mod tests;

use std::{cell::Cell, collections::VecDeque, sync::Arc, time::Duration};

use catchment_journal::{AppendError, Checkpoints, Disk, GroupLog, Position, RealDisk};
use tokio::sync::Notify;

use self::{
    close::ProgressTracker, definitions::DefinitionsLog, expire::Expiry, live::Live,
    poison_guard::PoisonGuard, position_history::PositionHistory,
};
use crate::{
    batch_encoder,
    budget::Budget,
    clock::Clock,
    clock_guard::ClockGuard,
    config::Config,
    fold::{ClientEntry, Emission, Entry, IntakeEntry, State},
    metrics::Metrics,
    worker::Progress,
};

pub use backpressure::Backpressure;
pub use cell::ShardCell;
pub use checkpoint::Capture;
pub(crate) use definitions::FOLDER as DEFINITIONS;
pub use expire::Hold;
pub(crate) use recover::{CHECKPOINTS, check_checkpoints};
pub use recover::{RecoveryError, Setup, examine};
pub use recovery_report::{LostBatches, RecoveryReport};
pub use series::SeriesFull;
pub use shard_facts::ShardFacts;

/// Most bytes of an entry. A reading takes at most 23, and an intake has at most 16,384 and those of one more
/// message, of which `readings_max` is at most 20,000.
const ENTRY_BYTES_MAX: u32 = 1 << 20;
/// Most bytes of an outbox record: twice what a batch is cut to. An aggregator takes batches up to 4 MiB.
const RECORD_BYTES_MAX: u32 = 2 << 20;
/// Space is released by segments of this size: small, so that a small disk has room again soon, and little of the
/// outbox is read again after a restart.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Windows that each of the series that a device may have can have open at once, whatever the bound of a device: one that
/// gathers, one in its grace, one ahead of the clock, one late.
const WINDOWS_PER_SERIES: usize = 4;

/// The log that a shard appends to.
pub type ShardLog<D = RealDisk> = GroupLog<D>;

/// What a shard needs of the configuration.
#[derive(Clone, Debug)]
pub struct ShardLimits {
    /// How long after its end a window waits.
    pub grace: Duration,
    /// How long a window is open at most by a clock that goes right: from the first reading that is taken for it to the
    /// end of its grace.
    pub open_max: Duration,
    /// Most open windows of this shard.
    pub open_windows_max: usize,
    /// Open windows of a device, from which on it waits.
    pub device_open_windows_max: usize,
    /// Most series of a device.
    pub series_max: usize,
    /// What was not used for so long is forgotten.
    pub device_expiry: Duration,
    /// Journal bytes after which a checkpoint is due at the latest; with a small state it is due before.
    pub checkpoint_bytes: u64,
    /// Bound of this shard's journal on disk.
    pub journal_bytes_max: u64,
    /// Bound of this shard's outbox on disk.
    pub outbox_bytes_max: u64,
    /// Size of the files of journal and outbox.
    pub segment_bytes: u64,
    /// Most bytes of a record of the journal.
    pub entry_bytes_max: u32,
    /// Most bytes of a record of the outbox.
    pub record_bytes_max: u32,
    /// Memory of the partials of a batch: see [`batch_encoder::BATCH_MEMORY`].
    pub batch_memory: usize,
}

impl ShardLimits {
    /// A shard's share of the gateway's bounds.
    pub fn of(config: &Config, shards: u32) -> Self {
        let shards = u64::from(shards.max(1));
        Self {
            grace: config.grace,
            open_max: config.future_max
                + Duration::from_millis(config.window.as_millis().into())
                + config.grace,
            open_windows_max: (config.open_windows_max / shards as usize).max(1),
            device_open_windows_max: config
                .device_open_windows_max
                .max(WINDOWS_PER_SERIES * config.series_max),
            series_max: config.series_max,
            device_expiry: config.device_expiry,
            checkpoint_bytes: config.checkpoint_bytes,
            journal_bytes_max: (config.journal_bytes_max / shards).max(3 * u64::from(ENTRY_BYTES_MAX)),
            outbox_bytes_max: (config.outbox_bytes_max / shards).max(4 * u64::from(RECORD_BYTES_MAX)),
            segment_bytes: SEGMENT_BYTES,
            entry_bytes_max: ENTRY_BYTES_MAX,
            record_bytes_max: RECORD_BYTES_MAX,
            batch_memory: batch_encoder::BATCH_MEMORY,
        }
    }
}

/// A batch that goes to the outbox once the journal is synced beyond the entry that closed its windows.
#[derive(Debug)]
struct Pending {
    closed_at: Position,
    record: Vec<u8>,
}

/// One worker's share of the devices.
pub struct Shard<D: Disk = RealDisk> {
    index: u32,
    /// Epoch of the data folder's identity.
    folder_epoch: u64,
    /// See [`Shard::base`].
    base: u64,
    journal: ShardLog<D>,
    outbox: ShardLog<D>,
    checkpoints: Arc<Checkpoints<D>>,
    /// Position of the last close: the watermark is durable beyond it.
    closed_at: Position,
    state: State,
    buffer: Vec<u8>,
    /// Memory for the next intake.
    spare: IntakeEntry,
    /// Who commits messages that were taken; without it each begins a commit by itself.
    commit_requests: Option<Arc<Notify>>,
    pending: VecDeque<Pending>,
    definitions_log: DefinitionsLog<D>,
    clock_guard: ClockGuard,
    /// Which late windows have waited long enough.
    late_positions: PositionHistory,
    /// Which on-time windows have been open for too long.
    stale_positions: PositionHistory,
    progress_tracker: ProgressTracker,
    expiry: Expiry,
    /// A checkpoint is due although the journal has hardly grown: the next start shall not meet the same damage.
    checkpoint_soon: bool,
    /// Ends of journal and outbox at the capture that is under way.
    capturing: Option<(Position, Position)>,
    /// Size of the newest checkpoint.
    state_bytes: Cell<u64>,
    /// Position of the newest checkpoint, and of the one before it.
    checkpointed: (Position, Position),
    live: Live,
    room: Result<(), Backpressure>,
    limits: ShardLimits,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
}

impl<D: Disk> Shard<D> {
    /// Appends an entry and folds it in.
    fn record(&mut self, entry: Entry) -> Result<(Position, Option<Emission>), Backpressure> {
        self.record_kept(entry).map(|(position, emission, _)| (position, emission))
    }

    /// As [`Self::record`]; gives the entry back.
    fn record_kept(&mut self, entry: Entry) -> Result<(Position, Option<Emission>, Entry), Backpressure> {
        let entry = entry.encode_into(&mut self.buffer);
        let position = match (&entry, &self.commit_requests) {
            (Entry::Intake(_), Some(commit_requested)) => {
                let position = self.journal.append_deferred(&self.buffer)?;
                commit_requested.notify_one();
                position
            }
            _ => self.journal.append(&self.buffer)?,
        };
        let _poison_guard = PoisonGuard::over(&self.journal);
        self.definitions_log.record(position, &entry, &self.buffer);
        #[cfg(test)]
        tests::panics::on_demand();
        match self.state.apply(position.get(), &entry) {
            Ok(emission) => Ok((position, emission, entry)),
            Err(error) => {
                // Entries are made from this very state, so this is a defect; a replay skips the entry too.
                tracing::error!(shard = self.index, %position, %error, "an entry does not fit the state");
                Ok((position, None, entry))
            }
        }
    }

    /// From here on messages that are taken do not begin a commit: whoever waits for this does, by
    /// [`GroupLog::request_commit`], after all others that are ready. So one sync serves a turn of the worker.
    pub fn defer_commits(&mut self, commit_requested: Arc<Notify>) {
        self.commit_requests = Some(commit_requested);
    }

    /// An empty entry for messages of a device, with memory of an earlier one.
    pub fn spare(&mut self) -> IntakeEntry {
        std::mem::take(&mut self.spare)
    }

    /// Keeps the memory of an entry, up to a bound, for [`Self::spare`].
    pub fn reuse(&mut self, entry: IntakeEntry) {
        self.spare = entry.emptied();
    }

    /// Takes messages of a device. They are durable once the journal is synced up to [`Shard::end`].
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn take(&mut self, mut intake: IntakeEntry) -> Result<(), Backpressure> {
        self.room()?;
        intake.previous = self.state.reached(intake.device, &intake.epoch);
        let late_before = self.state.open_count().1;
        let (_, _, entry) = self.record_kept(Entry::Intake(intake))?;
        let late = self.state.open_count().1.saturating_sub(late_before);
        if late > 0 {
            self.metrics.late.inc_by(late as u64);
        }
        if let Entry::Intake(intake) = entry {
            self.progress_tracker.changed.note(intake.device, &intake.epoch);
            self.reuse(intake);
        }
        Ok(())
    }

    /// Begins or ends what is kept of a client's session.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn keep_client(&mut self, entry: ClientEntry) -> Result<(), Backpressure> {
        self.room()?;
        self.record(Entry::Client(entry)).map(drop)
    }

    /// Whether messages can be taken now: not while partials cannot be put into the outbox.
    ///
    /// # Errors
    /// See [`Backpressure`].
    pub fn room(&self) -> Result<(), Backpressure> {
        self.room.clone()
    }

    /// Whether journal or outbox come near their bound: devices are to be slowed before they have to wait.
    pub fn is_near_full(&self) -> bool {
        let near = |log: &ShardLog<D>, bound: u64| log.bytes() > bound / 10 * 9;
        near(&self.journal, self.limits.journal_bytes_max) || near(&self.outbox, self.limits.outbox_bytes_max)
    }

    /// Whether a device may open further windows now. One that sends its history faster than windows close waits: the oldest
    /// of its late windows have gathered long enough soon.
    ///
    /// # Errors
    /// [`Backpressure::Room`] for a device with as many as it may have.
    pub fn check_device_windows(&self, device: u32) -> Result<(), Backpressure> {
        let max = self.limits.device_open_windows_max;
        if self.state.open_of(device) < max {
            return Ok(());
        }
        Err(Backpressure::Room(format!(
            "the device has {max} open windows, the bound device_open_windows_max"
        )))
    }

    /// The clock that only goes forward: time since some moment of the process.
    pub fn mono(&self) -> Duration {
        self.clock.mono()
    }

    /// The state, to look things up.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where the journal ends: what was taken up to now is durable once the journal is synced up to here.
    pub fn end(&self) -> Position {
        self.journal.end()
    }

    /// Whether journal or outbox take nothing more: memory may no longer be what the journal says.
    pub fn is_poisoned(&self) -> bool {
        self.journal.poisoned().is_some() || self.outbox.poisoned().is_some()
    }

    /// Poisons the journal: see [`GroupLog::poison`].
    pub fn poison(&self, why: &str) {
        self.journal.poison(&format!("shard {}: {why}", self.index));
    }

    /// The journal: to wait for its syncs.
    pub fn journal(&self) -> &ShardLog<D> {
        &self.journal
    }

    /// The outbox: to deliver from it.
    pub fn outbox(&self) -> &ShardLog<D> {
        &self.outbox
    }

    /// Moves batches to the outbox whose closing is durable. Stops at the first for which there is no room;
    /// then no more messages are taken until there is.
    pub fn append_durable_batches(&mut self) {
        let durable = self.journal.durable();
        while let Some(pending) = self.pending.front() {
            if pending.closed_at >= durable {
                break;
            }
            match self.outbox.append(&pending.record) {
                Ok(_) => {
                    self.pending.pop_front();
                    self.metrics.batches.inc();
                    self.room = Ok(());
                }
                Err(AppendError::BufferFull) => break,
                Err(error) => {
                    if self.room.is_ok() {
                        tracing::warn!(
                            condition = "outbox_full", shard = self.index, %error,
                            "the outbox takes no more: devices wait"
                        );
                    }
                    self.room = Err(match Backpressure::from(error) {
                        Backpressure::Room(why) => Backpressure::Room(format!("outbox: {why}")),
                        other => other,
                    });
                    break;
                }
            }
        }
    }

    /// How far windows are closed, when that is durable and all batches are in the outbox.
    pub fn progress(&self) -> Option<Progress> {
        let complete = self.pending.is_empty() && self.closed_at < self.journal.durable();
        complete.then(|| Progress {
            watermark: self.state.watermark(),
            outbox_end: self.outbox.end(),
            number: self.state.next_batch().saturating_sub(1),
            history: Arc::clone(self.state.history()),
        })
    }

    /// Figures for the metrics.
    pub fn observe(&self) -> Observation {
        Observation {
            open_windows: self.state.open_count().0,
            journal_bytes: self.journal.bytes(),
            outbox_bytes: self.outbox.bytes(),
            watermark_ms: self.state.watermark().map(|watermark| watermark.as_millis()),
        }
    }
}

/// Figures of a shard for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observation {
    /// Open windows.
    pub open_windows: usize,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Bytes of the outbox on disk.
    pub outbox_bytes: u64,
    /// The watermark in Unix milliseconds.
    pub watermark_ms: Option<i64>,
}
