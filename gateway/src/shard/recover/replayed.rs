//! The replay of a journal, and what must follow from it: batches, numbers, positions.

use std::collections::VecDeque;

use catchment_journal::{Disk, Position, SyncError};
use catchment_partial::Timestamp;
use catchment_proto::wire;

use super::{
    error::RecoveryError,
    files::Files,
    replay::{self, OutboxScan, Replay, ReplayBase},
    report::RecoveryReport,
    setup::Setup,
};
use crate::{
    batch_encoder::{BATCH_PARTIALS, encode_batch},
    clock::nanos,
    fold::{Emission, State},
    shard::{ShardLimits, outbox::PendingBatch, progress_tracker::AdvancedEpochs},
};

/// Positions and batch numbers that are skipped when files are missing: more than the lost ones can have used.
const POSITIONS_LEFT_OUT: u64 = 1 << 40;
const NUMBERS_LEFT_OUT: u64 = 1 << 20;
/// Each time that a shard is given up, its numbers begin at the next multiple of this: more than a run can use.
const NUMBERS_PER_LIFE: u64 = 1 << 40;

/// The result of the replay.
pub(super) struct Replayed {
    /// The fold of the checkpoint and of the journal after it.
    pub(super) state: State,
    /// Epochs that advanced since the last progress snapshot.
    pub(super) advanced: AdvancedEpochs,
    /// Batches beyond the highest number in the outbox.
    pub(super) pending: VecDeque<PendingBatch>,
    /// Batches that need new numbers, from `next_batch` on: those that the outbox lost, and the rest of a close that
    /// found more windows than a batch takes.
    pub(super) renumbered: Vec<wire::Batch>,
    /// Numbers from here on were never used.
    pub(super) next_batch: u64,
    /// Set when numbers before `next_batch` are skipped: no lost window ends later than this.
    pub(super) left_out_to: Option<Timestamp>,
    /// Set when the journal lost its end: the state knows nothing from this position on.
    pub(super) lost_end: Option<Position>,
    /// The state comes from the checkpoint or the definitions log alone: the journal does not continue it.
    pub(super) detached: bool,
}

impl Replayed {
    pub(super) fn of<D: Disk>(
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
            assumed: Some(setup.configuration()),
            advanced: AdvancedEpochs::default(),
        };
        replay.run(files.journal.read(from), |state, position, mut emission| {
            // If a closing entry is lost, the next one closes its windows too.
            let rest = emission.closed.split_off(emission.closed.len().min(BATCH_PARTIALS as usize));
            if emission.number > found.highest {
                let batch = encode_batch(setup.index, state, &emission);
                pending.push_back(PendingBatch::new(position, &batch));
                emission.refused.clear();
                for chunk in rest.chunks(BATCH_PARTIALS as usize) {
                    let chunk = Emission { closed: chunk.to_vec(), ..emission.clone() };
                    renumbered.push(encode_batch(setup.index, state, &chunk));
                }
            } else if replay::is_lost(&found.lost, emission.number) {
                // The aggregator may have counted them under the old number.
                emission.refused.clear();
                regenerated.push(encode_batch(setup.index, state, &emission));
            }
        })?;
        let (state, advanced) = (replay.state, replay.advanced);
        // The replay saw every entry up to the journal's current end.
        let whole = recovered.damage.len() == before && recovered.unfit == 0 && !prefix_lost && !detached;
        let end = files.journal.end();
        let lost_end = lost_end.or_else(|| replay::outbox_is_ahead(whole, found, &state, end, recovered));
        let mut lost = found.lost.clone();
        // After damage their partials could have other names, and count twice.
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
            // The lost entries were acknowledged and are in no batch: a skipped number shows this to the aggregator.
            next_batch = next_batch.saturating_add(1);
        }
        next_batch = next_batch.max(setup.facts.given_up.saturating_mul(NUMBERS_PER_LIFE));
        // No lost window ends later.
        let open_max = setup.limits.open_max.max(setup.facts.open_max);
        let to = setup.clock.wall().saturating_add_nanos(nanos(open_max));
        let left_out_to = (next_batch > used).then_some(to);
        Ok(Self { state, advanced, pending, renumbered, next_batch, left_out_to, lost_end, detached })
    }

    /// Advances the logs past what they lost, so that no position is reused, and brings the definitions log in line
    /// with the state.
    pub(super) fn skip_lost_positions<D: Disk>(
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
        // The batches before the gap remain in the outbox, to be delivered.
        files.outbox.advance_to(outbox_from)?;
        files.definitions.skip_used_indexes(&mut self.state, known);
        files.definitions_log.reconcile(&files.definitions, &self.state, (files.journal.start(), known));
        Ok(())
    }
}

/// Gives batches their new numbers; they go out once the entry at `closed_at`, which says so, is durable.
pub(super) fn numbered(
    batches: Vec<wire::Batch>,
    next: u64,
    closed_at: Position,
) -> impl Iterator<Item = PendingBatch> {
    batches.into_iter().zip(next..).map(move |(mut batch, number)| {
        // Its history of earlier batches refers to its old number.
        (batch.number, batch.history) = (number, None);
        PendingBatch::new(closed_at, &batch)
    })
}
