//! The open windows as live batches, for live queries (`--live`).
//!
//! A round goes over all open windows, a bounded number at a time. Windows that change after the round has passed
//! them are part of the next round.

use catchment_journal::Position;
use catchment_proto::wire;

use crate::{
    batch_encoder,
    fold::{OpenWindowCursor, State},
};

/// Open windows of one step, some 0.2 ms when all have changed.
const SLICE: usize = 512;

/// How far the rounds have got.
#[derive(Debug, Default)]
pub(super) struct LiveRounds {
    /// Earlier entries were in the round before.
    from: u64,
    /// The round under way: the first entry of the next round, and the place reached.
    round: Option<(u64, OpenWindowCursor)>,
}

impl LiveRounds {
    /// Continues the round over the windows that changed since the previous round, or begins one. `end` is the
    /// journal's end. Returns batches, and whether the round is complete.
    pub(super) fn step(&mut self, shard: u32, state: &State, end: Position) -> (Vec<wire::Batch>, bool) {
        let (next_from, after) = match self.round.take() {
            Some((next_from, after)) => (next_from, Some(after)),
            None => (end.get(), None),
        };
        let (mut open, after) = state.open_since(self.from, after, SLICE);
        match after {
            Some(after) => self.round = Some((next_from, after)),
            None => self.from = next_from,
        }
        open.sort_by_key(|emitted| emitted.window.width());
        let same_width = open.chunk_by(|a, b| a.window.width() == b.window.width());
        let batches = same_width.map(|run| batch_encoder::encode_live_batch(shard, state, run)).collect();
        (batches, self.round.is_none())
    }
}
