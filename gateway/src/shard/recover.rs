//! From the data folder to a running shard: newest whole checkpoint, then the journal from there ([`super::replay`]).
//!
//! Batches that the replay emits again are equal to those that left before, by number and content; only those
//! beyond the highest number in the outbox are put there. Those that the outbox lost to damage go there under new
//! numbers: the aggregator may have taken later ones and would leave out lower ones. The names of their partials are
//! the same, so taking them twice is harmless.
//!
//! Invariant: no position of the journal and no batch number is used a second time, also when files are missing.

use std::{
    collections::{BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
};

use catchment_journal::{
    Checkpoints, Committer, Damage, DamageReason, Disk, GroupLog, Log, LogConfig, OpenError, Peek, Position,
    ReadError, RealDisk, Recovery, SyncError, WholeError, set_aside,
};
use catchment_partial::Width;
use catchment_proto::wire;

use super::{
    Limits, Pending, Shard, ShardLog, Wait,
    ages::Ages,
    close::{Census, LATE_GATHER_MIN},
    names::{self, Copies, Names},
    replay::{self, LostBatches, Recovered, Replay},
};
use crate::{
    clock::Clock,
    cut,
    fold::{CheckpointError, ConfigureEntry, Emission, Entry, NumbersEntry},
    metrics::Metrics,
    steady::Steady,
};

/// Positions and batch numbers that are left out when files are missing: more than the lost ones can have used.
const POSITIONS_LEFT_OUT: u64 = 1 << 40;
const NUMBERS_LEFT_OUT: u64 = 1 << 20;

/// Why a shard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoints' folder cannot be made or listed.
    #[error("{}: {error}", .folder.display())]
    Io {
        /// The shard's folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The checkpoints cannot be read.
    #[error(
        "{}: {error}; no other checkpoint is whole. Put the files back, or set them aside with `journal repair`: then what was \
         taken before the journal's start and not delivered is lost",
        .folder.display()
    )]
    Checkpoint {
        /// The shard's folder.
        folder: PathBuf,
        /// What is wrong.
        error: WholeError,
    },
    /// A checkpoint that this version cannot read.
    #[error("{}: {error}", .folder.display())]
    State {
        /// The shard's folder.
        folder: PathBuf,
        /// What is wrong.
        error: CheckpointError,
    },
    /// A log cannot go on behind what is missing.
    #[error("{}: {error}", .folder.display())]
    Advance {
        /// The log's folder.
        folder: PathBuf,
        /// What is wrong.
        error: SyncError,
    },
    /// The first entry cannot be written.
    #[error(transparent)]
    Wait(#[from] Wait),
}

fn journal_config(limits: &Limits) -> LogConfig {
    LogConfig {
        bytes_max: limits.journal_bytes_max,
        segment_bytes: limits.segment_bytes,
        record_bytes_max: limits.entry_bytes_max,
        ..LogConfig::default()
    }
}

fn outbox_config(limits: &Limits) -> LogConfig {
    LogConfig {
        bytes_max: limits.outbox_bytes_max,
        segment_bytes: limits.segment_bytes,
        record_bytes_max: limits.record_bytes_max,
        ..LogConfig::default()
    }
}

/// Whether a journal was never cut at its beginning.
fn is_complete(start: Position, end: Position) -> bool {
    start == Position::ZERO && end > Position::ZERO
}

/// Opens a log. One whose only header is destroyed cannot be read at all: its files are set aside, and it goes on behind.
fn open_log<D: Disk>(
    disk: &Arc<D>,
    folder: &Path,
    config: LogConfig,
    recovered: &mut Recovered,
) -> Result<(Log<D>, Recovery), OpenError> {
    match Log::open(Arc::clone(disk), folder, config.clone()) {
        Err(OpenError::Unreadable { path }) => {
            set_aside(&**disk, folder)?;
            let (log, recovery) = Log::open(Arc::clone(disk), folder, config)?;
            let (from, to, reason) = (Position::ZERO, log.start(), DamageReason::SegmentHeader);
            recovered.note_damage(Damage { from, to, segment: path, records_lost: None, reason });
            Ok((log, recovery))
        }
        other => other,
    }
}

/// Goes on at a position if the log ends before it, and lets go of everything before: files are missing, and what stood
/// behind the end had positions that must not be used again.
fn go_on<D: Disk>(log: &mut Log<D>, folder: &Path, position: Position) -> Result<(), RecoverError> {
    let failed = |error| RecoverError::Advance { folder: folder.to_owned(), error };
    log.advance_to(position).map_err(failed)?;
    log.release(log.end()).map_err(failed)
}

/// What a shard is opened with.
#[derive(Clone)]
pub struct Setup<'a> {
    /// The shard's folder.
    pub folder: &'a Path,
    /// Number of the shard.
    pub index: u32,
    /// Width of new windows.
    pub window: Width,
    /// Its bounds.
    pub limits: Limits,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// What a start would find in a shard's folder that nobody has open. Changes nothing, and reads all of the outbox.
///
/// # Errors
/// See [`RecoverError`].
pub fn examine<D: Disk>(disk: &Arc<D>, folder: &Path) -> Result<Recovered, RecoverError> {
    let there = |dir: &Path| disk.list(dir).is_ok_and(|names| !names.is_empty());
    let mut recovered = Recovered::default();
    let dir = folder.join("checkpoint");
    let mut newest = Ok(None);
    let unusable = |error| RecoverError::Checkpoint { folder: folder.to_owned(), error };
    if there(&dir) {
        let io = |error| RecoverError::Io { folder: folder.to_owned(), error };
        let checkpoints = Checkpoints::open(Arc::clone(disk), &dir, "state").map_err(io)?;
        recovered.checkpoints_damaged = checkpoints.damaged().map_err(unusable)?;
        newest = checkpoints.newest();
    }
    let look = |name: &str| {
        let dir = folder.join(name);
        if there(&dir) { Peek::open(Arc::clone(disk), &dir) } else { Ok(None) }
    };
    let (journal, outbox) = (look("journal")?, look("outbox")?);
    let mut copies = Copies::peek(disk, &folder.join(names::FOLDER));
    let extent =
        journal.as_ref().map_or((Position::ZERO, Position::ZERO), |log| (log.start_position(), log.end));
    let stored = match newest {
        Err(WholeError::Damaged { .. }) if is_complete(extent.0, extent.1) => None,
        other => other.map_err(unusable)?.map(|(_, bytes)| bytes),
    };
    recovered.torn_bytes = journal.iter().chain(&outbox).map(|log| log.torn_tail_bytes).sum();
    let outbox_end = outbox.as_ref().map_or(Position::ZERO, |log| log.end);
    let base = replay::base(stored.as_deref(), extent, outbox_end, &mut copies, &mut recovered)
        .map_err(|error| RecoverError::State { folder: folder.to_owned(), error })?;
    let mut lost = match &outbox {
        Some(outbox) => {
            replay::scan_outbox(outbox.read(Position::ZERO), Position::ZERO, 0, &mut recovered)?.lost
        }
        None => Vec::new(),
    };
    if outbox_end < base.outbox_from {
        let last = base.state.next_batch() - 1;
        lost.push(LostBatches { first: 1, last, after_ms: None, before_ms: None });
    }
    if let Some(journal) = journal {
        let changed = BTreeSet::new();
        let mut replay =
            Replay { state: base.state, copies: &copies, recovered: &mut recovered, window: None, changed };
        let mut remade = Vec::new();
        let damage = replay.recovered.damage.len();
        replay.run(journal.read(base.from), |_, _, emission| {
            if replay::holds(&lost, emission.number) {
                remade.push(emission.number);
            }
        })?;
        if recovered.damage.len() == damage && recovered.unfit == 0 {
            remade.iter().for_each(|number| replay::remake(&mut lost, *number));
        }
    }
    recovered.batches_lost = lost;
    Ok(recovered)
}

impl Shard {
    /// Opens a shard's folder, made if there is none, and brings the state to where the journal ends.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn open(setup: &Setup<'_>) -> Result<(Self, Recovered), RecoverError> {
        let disk = Arc::new(RealDisk);
        Self::recover(&disk, setup, |log, name| GroupLog::start(log, &format!("{name}-{}", setup.index)))
    }
}

impl<D: Disk> Shard<D> {
    /// As [`Shard::open`] on any disk, with logs that are committed by their [`Committer`]s alone: the journal's,
    /// then the outbox's. For simulations.
    ///
    /// # Errors
    /// See [`RecoverError`].
    pub fn manual(
        disk: &Arc<D>,
        setup: &Setup<'_>,
    ) -> Result<(Self, [Committer<D>; 2], Recovered), RecoverError> {
        let mut committers = Vec::new();
        let (shard, recovered) = Self::recover(disk, setup, |log, _| {
            let (log, committer) = GroupLog::manual(log);
            committers.push(committer);
            Ok(log)
        })?;
        let committers = committers.try_into().ok().expect("a shard has two logs");
        Ok((shard, committers, recovered))
    }

    fn recover(
        disk: &Arc<D>,
        setup: &Setup<'_>,
        mut share: impl FnMut(Log<D>, &str) -> std::io::Result<ShardLog<D>>,
    ) -> Result<(Self, Recovered), RecoverError> {
        let Setup { folder, limits, .. } = setup;
        let folder = *folder;
        let mut recovered = Recovered::default();
        let io = |error| RecoverError::Io { folder: folder.to_owned(), error };
        let checkpoints =
            Checkpoints::open(Arc::clone(disk), &folder.join("checkpoint"), "state").map_err(io)?;
        let unusable = |error| RecoverError::Checkpoint { folder: folder.to_owned(), error };
        let newest = checkpoints.newest();
        let (journal_folder, outbox_folder) = (folder.join("journal"), folder.join("outbox"));
        let (mut journal, journal_recovery) =
            open_log(disk, &journal_folder, journal_config(limits), &mut recovered)?;
        let (mut outbox, outbox_recovery) =
            open_log(disk, &outbox_folder, outbox_config(limits), &mut recovered)?;
        let stored = match newest {
            // The journal from its beginning says all that a checkpoint does.
            Err(WholeError::Damaged { .. }) if is_complete(journal.start(), journal.end()) => None,
            other => other.map_err(unusable)?.map(|(_, bytes)| bytes),
        };
        // So that they are told once.
        recovered.checkpoints_damaged = checkpoints.set_aside().map_err(unusable)?;
        recovered.torn_bytes = journal_recovery.torn_tail_bytes + outbox_recovery.torn_tail_bytes;
        let (mut names, mut copies) = Names::open(disk, &folder.join(names::FOLDER));
        let extent = (journal.start(), journal.end());
        let base = replay::base(stored.as_deref(), extent, outbox.end(), &mut copies, &mut recovered)
            .map_err(|error| RecoverError::State { folder: folder.to_owned(), error })?;
        let empty = recovered.without_checkpoint && journal.end() == Position::ZERO;
        let journal_cut = empty || journal.end() < base.from;
        if journal_cut {
            let beyond = base.from.get().saturating_add(limits.journal_bytes_max.max(POSITIONS_LEFT_OUT));
            go_on(&mut journal, &journal_folder, Position::new(beyond))?;
        }
        let outbox_cut = outbox.end() < base.outbox_from;
        if outbox_cut {
            let unknown =
                LostBatches { first: 1, last: base.state.next_batch() - 1, after_ms: None, before_ms: None };
            recovered.batches_lost.push(unknown);
            go_on(&mut outbox, &outbox_folder, base.outbox_from)?;
        }
        let (from, next) = (base.from, base.state.next_batch());
        let found =
            replay::scan_outbox(outbox.read(base.outbox_from), base.outbox_from, next, &mut recovered)?;
        let mut lost = found.lost;
        let written = !recovered.without_checkpoint || found.highest > 0;
        let outbox_whole = found.whole && written && !outbox_cut && outbox_recovery.is_clean();
        let journal_damage = recovered.damage.len();
        let (mut pending, mut again) = (VecDeque::new(), Vec::new());
        let (state, changed) = (base.state, BTreeSet::new());
        let window = Some(setup.window);
        let mut replay = Replay { state, copies: &copies, recovered: &mut recovered, window, changed };
        let mut remade = Vec::new();
        replay.run(journal.read(from), |state, position, mut emission| {
            let number = emission.number;
            // Where a closing entry is lost, the next one has its windows too.
            let rest = emission.closed.split_off(emission.closed.len().min(cut::BATCH_PARTIALS as usize));
            if number > found.highest {
                let batch = cut::batch(setup.index, state, &emission);
                pending.push_back(Pending { closed_at: position, record: cut::record(&batch) });
                for chunk in rest.chunks(cut::BATCH_PARTIALS as usize) {
                    let chunk = Emission { closed: chunk.to_vec(), ..emission.clone() };
                    again.push(cut::batch(setup.index, state, &chunk));
                }
            } else if replay::holds(&lost, number) {
                remade.push(cut::batch(setup.index, state, &emission));
            }
        })?;
        let (state, changed) = (replay.state, replay.changed);
        let journal_whole = recovered.damage.len() == journal_damage
            && recovered.unfit == 0
            && !journal_cut
            && !recovered.without_checkpoint;
        // With a damaged journal their windows may have other names than those that were perhaps delivered.
        if journal_whole {
            remade.iter().for_each(|batch| replay::remake(&mut lost, batch.number));
            again.append(&mut remade);
        }
        recovered.batches = (pending.len() + again.len()) as u64;
        recovered.batches_lost.extend(lost);
        names.agree(&copies, &state, journal.end());
        let mut next_batch = found.highest.saturating_add(1).max(state.next_batch());
        if !journal_whole && !outbox_whole {
            next_batch = next_batch.saturating_add(NUMBERS_LEFT_OUT);
        }
        let end = journal.end();
        let mut shard = Self {
            index: setup.index,
            journal: share(journal, "journal").map_err(io)?,
            outbox: share(outbox, "outbox").map_err(io)?,
            checkpoints: Arc::new(checkpoints),
            closed_at: Position::ZERO,
            state,
            buffer: Vec::new(),
            pending,
            names,
            steady: Steady::default(),
            gathered: Ages::new(limits.grace.max(LATE_GATHER_MIN)),
            stale: Ages::new(limits.open_max),
            census: Census { changed, at: end, since: setup.clock.mono() },
            checkpoint_soon: !recovered.is_clean(),
            checkpointed: (from, from),
            live_from: 0,
            room: Ok(()),
            limits: limits.clone(),
            clock: Arc::clone(&setup.clock),
            metrics: Arc::clone(&setup.metrics),
        };
        shard.number(next_batch, again)?;
        shard.configure(setup.window)?;
        Ok((shard, recovered))
    }

    /// Lets batch numbers go on at `next`, when that is beyond what the journal says, and gives numbers to batches that
    /// go to the outbox again.
    fn number(&mut self, next: u64, again: Vec<wire::Batch>) -> Result<(), Wait> {
        if next <= self.state.next_batch() && again.is_empty() {
            return Ok(());
        }
        let next_batch = next.saturating_add(again.len() as u64);
        let (closed_at, _) = self.record(Entry::Numbers(NumbersEntry { next_batch }))?;
        for (mut batch, number) in again.into_iter().zip(next..) {
            batch.number = number;
            self.pending.push_back(Pending { closed_at, record: cut::record(&batch) });
        }
        Ok(())
    }

    /// Writes the window width down when it is new or has changed.
    fn configure(&mut self, window: Width) -> Result<(), Wait> {
        if self.state.width() != Some(window) {
            let width_ms = window.as_millis();
            self.record(Entry::Configure(ConfigureEntry { width_ms }))?;
        }
        let (devices, series) = (self.state.device_count(), self.state.series_count());
        self.metrics.devices.inc_by(i64::try_from(devices).unwrap_or(i64::MAX));
        self.metrics.series.inc_by(i64::try_from(series).unwrap_or(i64::MAX));
        Ok(())
    }
}
