//! The journal, and the state that it folds to.
//!
//! Invariant: the state is the fold of the journal. Only an entry that was appended changes it.

use std::{sync::Arc, time::Duration};

use catchment_journal::{AppendError, Checkpoints, Commit, Disk, Position};
use tokio::sync::{Notify, watch};

use super::{
    Backpressure, Capture, ShardLog, checkpoint::Checkpointer, definitions::DefinitionsLog,
    poison_guard::PoisonGuard,
};
use crate::{
    fold::{Emission, Entry, IntakeEntry, State},
    kept::KeptRecords,
};

/// Open windows and series that are captured in one step, some 0.2 ms: devices are served between the steps.
const CAPTURE_SLICE: usize = 512;

/// Journal and state of a shard, with the definitions log and the checkpoints.
pub(super) struct JournaledState<D: Disk> {
    shard: u32,
    journal: ShardLog<D>,
    state: State,
    definitions_log: DefinitionsLog<D>,
    checkpointer: Checkpointer<D>,
    /// What stays of the journal for raw readings.
    kept: KeptRecords,
    /// The bytes of an entry.
    buffer: Vec<u8>,
    /// Memory for the next intake.
    spare: IntakeEntry,
    /// Signals the task that commits intakes; without it each append begins a commit.
    commit_requests: Option<Arc<Notify>>,
    /// Changes with each round of the journal's committer, which may make room in its buffer.
    rounds: watch::Receiver<Commit>,
    /// Readings of the smallest entry for which the buffer had no room in this round.
    refused: Option<u64>,
}

impl<D: Disk> JournaledState<D> {
    /// `state` is the fold of `journal`.
    pub(super) fn new(
        shard: u32,
        journal: ShardLog<D>,
        state: State,
        definitions_log: DefinitionsLog<D>,
        checkpointer: Checkpointer<D>,
        kept: KeptRecords,
    ) -> Self {
        let rounds = journal.subscribe();
        Self {
            shard,
            journal,
            state,
            definitions_log,
            checkpointer,
            kept,
            buffer: Vec::new(),
            spare: IntakeEntry::default(),
            commit_requests: None,
            rounds,
            refused: None,
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn journal(&self) -> &ShardLog<D> {
        &self.journal
    }

    /// Appends an entry and folds it in.
    pub(super) fn record(&mut self, entry: Entry) -> Result<(Position, Option<Emission>), Backpressure> {
        self.record_kept(entry).map(|(position, emission, _)| (position, emission))
    }

    /// As [`Self::record`]; returns the entry too.
    pub(super) fn record_kept(
        &mut self,
        entry: Entry,
    ) -> Result<(Position, Option<Emission>, Entry), Backpressure> {
        if self.state.holds_back(&entry) {
            return Err(self.held_back());
        }
        let entry = entry.encode_into(&mut self.buffer);
        let position = match self.append(&entry) {
            Ok(position) => position,
            Err(error) => {
                if let Entry::Intake(intake) = entry {
                    self.reuse(intake);
                }
                return Err(error.into());
            }
        };
        let _poison_guard = PoisonGuard::over(&self.journal);
        self.definitions_log.record(position, &entry, &self.buffer);
        #[cfg(test)]
        super::tests::panics::on_demand();
        match self.state.apply(position.get(), &entry) {
            Ok(emission) => Ok((position, emission, entry)),
            Err(error) => {
                // Entries are made from this very state, so this is a defect; a replay skips the entry too.
                tracing::error!(shard = self.shard, %position, %error, "an entry does not fit the state");
                Ok((position, None, entry))
            }
        }
    }

    /// Whether the journal's buffer may have room for this many readings. It has none until its committer's next round if
    /// it had none for as few, so nothing is prepared for it; smaller entries may still find room.
    ///
    /// # Errors
    /// [`Backpressure::Sync`].
    pub(super) fn room_for(&self, readings: u64) -> Result<(), Backpressure> {
        // A journal that has ended says so itself.
        let same_round = || !self.rounds.has_changed().unwrap_or(true);
        match self.refused {
            Some(least) if readings >= least && same_round() => Err(Backpressure::Sync),
            _ => Ok(()),
        }
    }

    /// Appends the bytes of an entry.
    fn append(&mut self, entry: &Entry) -> Result<Position, AppendError> {
        let first = self.try_append(entry);
        if !matches!(first, Err(AppendError::BufferFull)) {
            return first;
        }
        // Tried again after the round is noted: a round that ends in between is not missed.
        if self.rounds.has_changed().unwrap_or(true) {
            self.refused = None;
        }
        self.rounds.mark_unchanged();
        let second = self.try_append(entry);
        if matches!(second, Err(AppendError::BufferFull)) {
            let readings = if let Entry::Intake(intake) = entry { intake.readings() } else { 0 };
            self.refused = Some(self.refused.map_or(readings, |least| least.min(readings)));
        }
        second
    }

    fn try_append(&self, entry: &Entry) -> Result<Position, AppendError> {
        match (entry, &self.commit_requests) {
            (Entry::Intake(_), Some(commit_requested)) => {
                let position = self.journal.append_deferred(&self.buffer)?;
                commit_requested.notify_one();
                Ok(position)
            }
            _ => self.journal.append(&self.buffer),
        }
    }

    /// Whether entries that change a device can be recorded now: not while the capture under way has to encode very much
    /// of it first, which it does next.
    pub(super) fn check_capture(&mut self, device: u32) -> Result<(), Backpressure> {
        if self.state.holds_back_device(device) {
            return Err(self.held_back());
        }
        Ok(())
    }

    /// An entry waits for the capture under way. That is continued unless the journal has failed.
    fn held_back(&self) -> Backpressure {
        self.journal.poisoned().map_or(Backpressure::Sync, Backpressure::Failed)
    }

    /// From now on an intake only signals that a commit is wanted; see [`super::Shard::defer_commits`].
    pub(super) fn defer_commits(&mut self, commit_requested: Arc<Notify>) {
        self.commit_requests = Some(commit_requested);
    }

    /// An empty intake, with the memory of an earlier one.
    pub(super) fn spare(&mut self) -> IntakeEntry {
        std::mem::take(&mut self.spare)
    }

    /// Keeps the memory of an intake, up to a bound, for [`Self::spare`].
    pub(super) fn reuse(&mut self, entry: IntakeEntry) {
        self.spare = entry.emptied();
    }

    /// Writes the definitions that have become durable in the journal.
    pub(super) fn commit_definitions(&mut self) {
        self.definitions_log.commit(self.journal.durable());
    }

    /// Whether the journal has no space for what was refused last.
    fn is_full(&self) -> bool {
        self.journal.subscribe().borrow().full
    }

    /// Whether the journal has grown enough since the last checkpoint; `bytes_max` is enough in any case.
    pub(super) fn checkpoint_due(&self, bytes_max: u64) -> bool {
        self.checkpointer.is_due(self.journal.end(), self.is_full(), bytes_max)
    }

    /// Whether there are entries since the last checkpoint, or it has vanished.
    pub(super) fn changed_since_checkpoint(&self) -> bool {
        self.checkpointer.is_outdated(self.journal.end())
    }

    /// Begins to capture the state as it is now.
    pub(super) fn begin_capture(&mut self, outbox_end: Position, delivered: Position) {
        self.checkpointer.begin_capture(self.journal.end(), outbox_end, delivered);
        self.state.begin_snapshot();
    }

    /// Captures a slice of the state; the capture once it is complete.
    pub(super) fn step_capture(&mut self) -> Option<Capture> {
        if !self.checkpointer.is_capturing() {
            return None;
        }
        let state = self.state.step_snapshot(CAPTURE_SLICE)?;
        self.checkpointer.complete(state)
    }

    /// Where checkpoints are written.
    pub(super) fn checkpoints(&self) -> Arc<Checkpoints<D>> {
        self.checkpointer.checkpoints()
    }

    /// A checkpoint at a position was written: the journal is spare up to the checkpoint before it, and released unless
    /// raw readings stay. `now` is the monotonic clock.
    pub(super) fn checkpointed(&mut self, position: Position, now: Duration) {
        let previous = self.checkpointer.written(position);
        // A full disk needs the space more than a second line of defence.
        let before = if self.is_full() { position } else { previous };
        self.kept.delivered(&self.journal, before, now);
    }

    /// Removes raw readings that have become too old.
    pub(super) fn expire_raw(&mut self, now: Duration) {
        self.kept.expire(&self.journal, now);
    }

    #[cfg(test)]
    pub(super) fn encoded(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    #[cfg(test)]
    pub(super) fn checkpointer(&mut self) -> &mut Checkpointer<D> {
        &mut self.checkpointer
    }
}
