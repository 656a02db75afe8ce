//! Runs the stages of a recovery, and composes the shard.

use std::{collections::VecDeque, sync::Arc};

use catchment_journal::{Committer, Disk, GroupLog, Log, Position, RealDisk};

use super::{
    error::RecoveryError,
    files::Files,
    replay::{self, FileExtents},
    replayed::{Replayed, numbered},
    report::RecoveryReport,
    setup::Setup,
    startup_entries::StartupEntries,
};
use crate::{
    fold::State,
    kept::KeptRecords,
    shard::{
        Shard, ShardLog,
        checkpoint::{Checkpointer, Owner, delivered},
        closer::Closer,
        definitions,
        journaled_state::JournaledState,
        live::LiveRounds,
        outbox::{OutboxWriter, PendingBatch},
        progress_tracker::AdvancedEpochs,
        refused::RefusedCounts,
    },
};

/// A journal of which nothing is known any more continues at a random position from here up to twice this. No journal
/// reaches 64 PiB.
const POSITIONS_UNUSED: u64 = 1 << 56;

/// A shared log, and its committer where no thread commits it.
type Shared<D> = (ShardLog<D>, Option<Committer<D>>);

impl Shard {
    /// Opens a shard's folder, creates it if necessary, and brings the state to the journal's end.
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
    /// As [`Shard::open`] on any disk, with logs that only the returned [`Committer`]s commit: the journal's, then the
    /// outbox's. For simulations.
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
        let delivered = files.stored.as_deref().map_or(Position::ZERO, delivered);
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
            .map_err(|error| RecoveryError::write(folder, error))?;
        let Replayed { mut state, advanced, mut pending, renumbered, next_batch, left_out_to, .. } = replayed;
        recovered.batches = (pending.len() + renumbered.len()) as u64;
        let mut first =
            StartupEntries::new(folder, &mut files.journal, &mut files.definitions_log, &mut state);
        let at = first.number(next_batch, left_out_to, &renumbered)?;
        pending.extend(numbered(renumbered, next_batch, at));
        first.configure(setup.configuration())?;
        let (checkpoint, checkpoint_soon) = ((from, state_bytes), !recovered.is_clean());
        let begin =
            Recovered { state, pending, advanced, base: next_batch, checkpoint, checkpoint_soon, delivered };
        let shard = Self::run(setup, files, share, begin)
            .map_err(|error| RecoveryError::Io { folder: folder.to_owned(), error })?;
        Ok((shard, recovered))
    }

    /// The last stage: the logs are shared from here on.
    fn run(
        setup: &Setup<'_>,
        mut files: Files<D>,
        mut share: impl FnMut(Log<D>, &str) -> std::io::Result<Shared<D>>,
        recovered: Recovered,
    ) -> std::io::Result<Self> {
        let Recovered { state, pending, advanced, base, checkpoint, checkpoint_soon, delivered } = recovered;
        let (index, limits) = (setup.index, &setup.limits);
        let closer = Closer::new(limits, Arc::clone(&setup.clock), &state, files.journal.end(), advanced);
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        files.definitions_log.share(|log| share(log, definitions::FOLDER))?;
        setup.metrics.devices.inc_by(gauge(state.device_count()));
        setup.metrics.series.inc_by(gauge(state.series_count()));
        setup.budget.set_used(state.series_slots(), state.device_count() as u64);
        let owner = Owner { epoch: setup.facts.epoch, shard: index };
        let covered = checkpoint.0;
        let checkpointer = Checkpointer::new(owner, files.checkpoints, checkpoint, checkpoint_soon);
        let journal = share(files.journal, "journal")?.0;
        let outbox = share(files.outbox, "outbox")?.0;
        outbox.set_spare(delivered.min(outbox.durable()));
        if !limits.raw_keep.time.is_zero() {
            journal.set_spare(covered);
        }
        Ok(Self {
            index,
            base,
            journaled: JournaledState::new(
                index,
                journal,
                state,
                files.definitions_log,
                checkpointer,
                KeptRecords::new(limits.raw_keep),
            ),
            closer,
            outbox: OutboxWriter::new(index, outbox, pending),
            live: LiveRounds::default(),
            refused: RefusedCounts::default(),
            limits: limits.clone(),
            metrics: Arc::clone(&setup.metrics),
            budget: Arc::clone(&setup.budget),
        })
    }
}

/// What a shard starts from.
struct Recovered {
    state: State,
    /// Batches that go to the outbox.
    pending: VecDeque<PendingBatch>,
    /// Epochs that advanced since the last progress snapshot.
    advanced: AdvancedEpochs,
    /// See [`Shard::base`].
    base: u64,
    /// Position and size of the newest checkpoint.
    checkpoint: (Position, u64),
    /// Damage was met: see [`Checkpointer`].
    checkpoint_soon: bool,
    /// Everything in the outbox before this was delivered.
    delivered: Position,
}
