//! From the data folder to a running shard, stage by stage:
//!
//! 1. the files are opened and mended ([`files`]);
//! 2. where the replay begins: the newest whole checkpoint ([`replay::base`]);
//! 3. what the outbox has ([`replay::scan_outbox`]);
//! 4. the replay of the journal from there ([`Replayed`]): the state, and the batches that must go out again;
//! 5. behind what files lost, the logs go on ([`Replayed::skip_lost_positions`]);
//! 6. the first entries: batch numbers, the window width ([`StartupEntries`]);
//! 7. the shard runs.
//!
//! Before stage 5 nothing is written but what mends (torn ends are cut, damaged checkpoints set aside), so a start that is
//! cut off is made again from the same files. A start that is cut off later leaves files from which the next comes to the
//! same, under new numbers where it gave any.
//!
//! Batches that the replay emits again are equal to those that left before, by number and content; only those
//! beyond the highest number in the outbox are put there. Those that the outbox lost to damage go there under new
//! numbers: the aggregator may have taken later ones and would leave out lower ones. The names of their partials are
//! the same, so taking them twice is harmless.
//!
//! Invariant: no position of the journal and no batch number is used a second time, also when files are missing.

use std::{cell::Cell, collections::VecDeque, path::Path, sync::Arc};

use catchment_journal::{AppendError, Committer, Disk, GroupLog, Log, Position, RealDisk, SyncError};
use catchment_partial::{Timestamp, Width};
use catchment_proto::{Span, wire};

use super::{
    Backpressure, Pending, Shard, ShardFacts, ShardLimits, ShardLog,
    close::{AdvancedEpochs, LATE_GATHER_MIN, ProgressTracker},
    definitions::{self, DefinitionsLog},
    expire::Expiry,
    live::Live,
    position_history::PositionHistory,
    recovery_report::RecoveryReport,
    replay::{self, FileExtents, OutboxScan, Replay, ReplayBase},
};
use crate::{
    batch_encoder::{BATCH_PARTIALS, batch_span, encode_batch, encode_record},
    budget::Budget,
    clock::{Clock, nanos},
    clock_guard::ClockGuard,
    fold::{ConfigureEntry, Emission, Entry, IntakeEntry, NumbersEntry, State},
    metrics::Metrics,
};

mod examine;
mod files;

pub(crate) use examine::check_checkpoints;
pub use examine::examine;
pub(crate) use files::CHECKPOINTS;
use files::Files;
pub use files::RecoveryError;

/// Positions and batch numbers that are left out when files are missing: more than the lost ones can have used.
const POSITIONS_LEFT_OUT: u64 = 1 << 40;
const NUMBERS_LEFT_OUT: u64 = 1 << 20;
/// Numbers of a shard that was given up begin at so many times this, by how often it was: more than a life can use.
const NUMBERS_PER_LIFE: u64 = 1 << 40;
/// Where a journal goes on of which nothing is known any more: at a random position from here up to twice this. No
/// journal reaches 64 PiB.
const POSITIONS_UNUSED: u64 = 1 << 56;

/// A log that is shared, and who commits it where that is not a thread.
type Shared<D> = (ShardLog<D>, Option<Committer<D>>);

/// What a shard is opened with.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The shard's folder.
    pub folder: &'a Path,
    /// Number of the shard.
    pub index: u32,
    /// What the data folder says of it.
    pub facts: ShardFacts,
    /// Width of new windows.
    pub window: Width,
    /// Its bounds.
    pub limits: ShardLimits,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// How many series the folder may hold.
    pub budget: Arc<Budget>,
}

impl Shard {
    /// Opens a shard's folder, made if there is none, and brings the state to where the journal ends.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub fn open(setup: &Setup<'_>) -> Result<(Self, RecoveryReport), RecoveryError> {
        let disk = Arc::new(RealDisk);
        Self::recover(&disk, setup, |log, name| {
            Ok((GroupLog::start(log, &format!("{name}-{}", setup.index))?, None))
        })
    }
}

impl<D: Disk> Shard<D> {
    /// As [`Shard::open`] on any disk, with logs that are committed by their [`Committer`]s alone: the journal's,
    /// then the outbox's. For simulations.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub fn manual(
        disk: &Arc<D>,
        setup: &Setup<'_>,
    ) -> Result<(Self, [Committer<D>; 2], RecoveryReport), RecoveryError> {
        let mut committers = Vec::new();
        let (shard, recovered) = Self::recover(disk, setup, |log, name| {
            let (log, committer) = GroupLog::manual(log);
            if name == definitions::FOLDER {
                return Ok((log, Some(committer)));
            }
            committers.push(committer);
            Ok((log, None))
        })?;
        let committers = committers.try_into().ok().expect("journal and outbox are shared in this order");
        Ok((shard, committers, recovered))
    }

    fn recover(
        disk: &Arc<D>,
        setup: &Setup<'_>,
        share: impl FnMut(Log<D>, &str) -> std::io::Result<Shared<D>>,
    ) -> Result<(Self, RecoveryReport), RecoveryError> {
        let folder = setup.folder;
        let mut recovered = RecoveryReport::default();
        let mut files = Files::open(disk, setup, &mut recovered)?;
        let state_bytes = files.stored.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let extent = (files.journal.start(), files.journal.end());
        let begin = FileExtents {
            journal: extent,
            outbox_end: files.outbox.end(),
            given_up: setup.facts.given_up > 0,
            unused: Position::new(POSITIONS_UNUSED | (disk.random_u64() % POSITIONS_UNUSED) & !15),
        };
        let base = replay::base(files.stored.take().as_deref(), &begin, &files.definitions, &mut recovered)
            .map_err(|error| RecoveryError::State { folder: folder.to_owned(), error })?;
        let (from, outbox_from) = (base.from, base.outbox_from);
        let read = |from| files.outbox.read(from);
        let found = replay::scan_outbox(read, files.outbox.end(), &base, false, &mut recovered)?;
        let mut replayed = Replayed::of(&files, setup, base, &found, &mut recovered)?;
        replayed
            .skip_lost_positions(&mut files, outbox_from, &setup.limits)
            .map_err(|error| write_error(folder, error))?;
        let Replayed { mut state, changed, mut pending, renumbered, next_batch, left_out_to, .. } = replayed;
        recovered.batches = (pending.len() + renumbered.len()) as u64;
        let mut first = StartupEntries {
            folder,
            journal: &mut files.journal,
            definitions_log: &mut files.definitions_log,
            state: &mut state,
        };
        let at = first.number(next_batch, left_out_to, &renumbered)?;
        pending.extend(numbered(renumbered, next_batch, at));
        first.configure(setup.window)?;
        let mut shard = Self::run(setup, files, share, state, pending, from)
            .map_err(|error| RecoveryError::Io { folder: folder.to_owned(), error })?;
        shard.base = next_batch;
        shard.progress_tracker.changed = changed;
        shard.state_bytes.set(state_bytes);
        shard.checkpoint_soon = !recovered.is_clean();
        Ok((shard, recovered))
    }

    /// The last stage: the logs are shared from here on.
    fn run(
        setup: &Setup<'_>,
        mut files: Files<D>,
        mut share: impl FnMut(Log<D>, &str) -> std::io::Result<Shared<D>>,
        state: State,
        pending: VecDeque<Pending>,
        from: Position,
    ) -> std::io::Result<Self> {
        let limits = &setup.limits;
        let (at, since) = (files.journal.end(), setup.clock.mono());
        let progress_tracker = ProgressTracker { at, since, ..ProgressTracker::default() };
        let expiry = Expiry::new(setup.clock.mono(), state.running());
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        files.definitions_log.share(|log| share(log, definitions::FOLDER))?;
        setup.metrics.devices.inc_by(gauge(state.device_count()));
        setup.metrics.series.inc_by(gauge(state.series_count()));
        setup.budget.set_used(state.series_slots(), state.device_count() as u64);
        Ok(Self {
            index: setup.index,
            folder_epoch: setup.facts.epoch,
            base: 0,
            journal: share(files.journal, "journal")?.0,
            outbox: share(files.outbox, "outbox")?.0,
            checkpoints: Arc::new(files.checkpoints),
            closed_at: Position::ZERO,
            state,
            buffer: Vec::new(),
            spare: IntakeEntry::default(),
            commit_requests: None,
            pending,
            definitions_log: files.definitions_log,
            clock_guard: ClockGuard::default(),
            late_positions: PositionHistory::new(limits.grace.max(LATE_GATHER_MIN)),
            stale_positions: PositionHistory::new(limits.open_max),
            progress_tracker,
            expiry,
            checkpoint_soon: false,
            capturing: None,
            state_bytes: Cell::new(0),
            checkpointed: (from, from),
            live: Live::default(),
            room: Ok(()),
            limits: limits.clone(),
            clock: Arc::clone(&setup.clock),
            metrics: Arc::clone(&setup.metrics),
            budget: Arc::clone(&setup.budget),
        })
    }
}

/// What the replay came to.
struct Replayed {
    /// The fold of the checkpoint and of the journal behind it.
    state: State,
    /// Devices that sent something since the last progress snapshot.
    changed: AdvancedEpochs,
    /// Batches beyond the highest number in the outbox, with the closes that their going out waits for.
    pending: VecDeque<Pending>,
    /// Batches that need new numbers, from `next_batch` on: those that the outbox lost, and those into which a close
    /// falls apart that found more windows than a batch takes.
    renumbered: Vec<wire::Batch>,
    /// No number from here on was ever used.
    next_batch: u64,
    /// Numbers before are left out; no window that was lost with them ends later than this.
    left_out_to: Option<Timestamp>,
    /// The position from which on the state knows nothing, where the journal lost its end.
    lost_end: Option<Position>,
    /// The state rests on the checkpoint or the definitions log alone: the journal has nothing that belongs to it.
    detached: bool,
}

impl Replayed {
    fn of<D: Disk>(
        files: &Files<D>,
        setup: &Setup<'_>,
        base: ReplayBase,
        found: &OutboxScan,
        recovered: &mut RecoveryReport,
    ) -> Result<Self, RecoveryError> {
        let (mut pending, mut renumbered, mut regenerated) = (VecDeque::new(), Vec::new(), Vec::new());
        let ReplayBase { state, from, prefix_lost, lost_end, detached, .. } = base;
        let before = recovered.damage.len();
        let mut replay = Replay {
            state,
            definitions: &files.definitions,
            recovered,
            window: Some(setup.window),
            changed: AdvancedEpochs::default(),
        };
        replay.run(files.journal.read(from), |state, position, mut emission| {
            // Where a closing entry is lost, the next one has its windows too.
            let rest = emission.closed.split_off(emission.closed.len().min(BATCH_PARTIALS as usize));
            if emission.number > found.highest {
                let batch = encode_batch(setup.index, state, &emission);
                pending.push_back(Pending { closed_at: position, record: encode_record(&batch) });
                for chunk in rest.chunks(BATCH_PARTIALS as usize) {
                    let chunk = Emission { closed: chunk.to_vec(), ..emission.clone() };
                    renumbered.push(encode_batch(setup.index, state, &chunk));
                }
            } else if replay::is_lost(&found.lost, emission.number) {
                regenerated.push(encode_batch(setup.index, state, &emission));
            }
        })?;
        let (state, changed) = (replay.state, replay.changed);
        // All that is replayed is as it was, up to where the journal ends now.
        let whole = recovered.damage.len() == before && recovered.unfit == 0 && !prefix_lost && !detached;
        let end = files.journal.end();
        let lost_end = lost_end.or_else(|| replay::outbox_is_ahead(whole, found, &state, end, recovered));
        let mut lost = found.lost.clone();
        // With other names of their partials they could count twice.
        if whole {
            regenerated.iter().for_each(|batch| replay::remove_lost(&mut lost, batch.number));
            renumbered.append(&mut regenerated);
        }
        recovered.batches_lost.extend(lost);
        let mut next_batch = found.highest.saturating_add(1).max(state.next_batch());
        let outbox_whole =
            found.whole && files.outbox_clean && (!recovered.without_checkpoint || found.highest > 0);
        let journal_whole = whole && lost_end.is_none();
        let used = next_batch;
        if !outbox_whole && !journal_whole {
            next_batch = next_batch.saturating_add(NUMBERS_LEFT_OUT);
        } else if !journal_whole {
            // What the journal lost was acknowledged and is in no batch: a number that is left out says so to the aggregator.
            next_batch = next_batch.saturating_add(1);
        }
        next_batch = next_batch.max(setup.facts.given_up.saturating_mul(NUMBERS_PER_LIFE));
        // No window that what is lost may belong to ends later.
        let open_max = setup.limits.open_max.max(setup.facts.open_max);
        let to = setup.clock.wall().saturating_add_nanos(nanos(open_max));
        let left_out_to = (next_batch > used).then_some(to);
        Ok(Self { state, changed, pending, renumbered, next_batch, left_out_to, lost_end, detached })
    }

    /// Lets the logs go on behind what they lost, so that its positions are not used again, and brings the
    /// definitions log to what the state says.
    fn skip_lost_positions<D: Disk>(
        &mut self,
        files: &mut Files<D>,
        outbox_from: Position,
        limits: &ShardLimits,
    ) -> Result<(), SyncError> {
        let known = self.lost_end.unwrap_or_else(|| files.journal.end());
        if self.lost_end.is_some() {
            let newest = files.definitions.newest().unwrap_or(0);
            let last = known.max(files.journal.end()).get().max(newest);
            let beyond = last.saturating_add(limits.journal_bytes_max.max(POSITIONS_LEFT_OUT));
            files.journal.advance_to(Position::new(beyond))?;
            if self.detached {
                files.journal.release(files.journal.end())?;
            }
        }
        // What the outbox still has before the gap is to be delivered.
        files.outbox.advance_to(outbox_from)?;
        files.definitions.skip_used_indexes(&mut self.state, known);
        files.definitions_log.reconcile(&files.definitions, &self.state, (files.journal.start(), known));
        Ok(())
    }
}

/// Batches with their new numbers; they go out once the entry that says so is durable.
fn numbered(batches: Vec<wire::Batch>, next: u64, closed_at: Position) -> impl Iterator<Item = Pending> {
    batches.into_iter().zip(next..).map(move |(mut batch, number)| {
        // What it says of earlier batches counts from the number that it had.
        (batch.number, batch.history) = (number, None);
        Pending { closed_at, record: encode_record(&batch) }
    })
}

fn write_error(folder: &Path, error: SyncError) -> RecoveryError {
    RecoveryError::Write { folder: folder.to_owned(), error }
}

/// The first entries of a life, while nobody shares the journal.
struct StartupEntries<'a, D: Disk> {
    folder: &'a Path,
    journal: &'a mut Log<D>,
    definitions_log: &'a mut DefinitionsLog<D>,
    state: &'a mut State,
}

impl<D: Disk> StartupEntries<'_, D> {
    /// Lets batch numbers go on behind `next` and those of the batches that are made again, when that is beyond what the journal
    /// says; the position from which on that is known.
    fn number(
        &mut self,
        next: u64,
        left_out_to: Option<Timestamp>,
        renumbered: &[wire::Batch],
    ) -> Result<Position, RecoveryError> {
        if next <= self.state.next_batch() && renumbered.is_empty() {
            return Ok(Position::ZERO);
        }
        let count = renumbered.len() as u64;
        let mut entry = NumbersEntry { next_batch: next.saturating_add(count), ..NumbersEntry::default() };
        entry.left_out_to_ns = left_out_to.map(Timestamp::as_nanos);
        if let Some(span) = renumbered.iter().filter_map(batch_span).reduce(Span::join) {
            (entry.again, entry.from_ns, entry.to_ns) = (count, span.from.as_nanos(), span.to.as_nanos());
        }
        self.record(Entry::Numbers(entry))
    }

    /// Writes the window width down when it is new or has changed.
    fn configure(&mut self, window: Width) -> Result<(), RecoveryError> {
        if self.state.width() == Some(window) {
            return Ok(());
        }
        self.record(Entry::Configure(ConfigureEntry { width_ms: window.as_millis() })).map(drop)
    }

    /// Appends an entry and folds it in. A crash may have left a segment without room for it, so the entry before it may
    /// have to be committed first.
    fn record(&mut self, entry: Entry) -> Result<Position, RecoveryError> {
        let mut bytes = Vec::new();
        let entry = entry.encode_into(&mut bytes);
        let position = match self.journal.append(&bytes) {
            Err(AppendError::BufferFull) => {
                self.journal.commit().map_err(|error| write_error(self.folder, error))?;
                self.journal.append(&bytes)
            }
            other => other,
        };
        let position = position.map_err(Backpressure::from)?;
        self.definitions_log.record(position, &entry, &bytes);
        if let Err(error) = self.state.apply(position.get(), &entry) {
            tracing::error!(%position, %error, "an entry does not fit the state");
        }
        Ok(position)
    }
}
