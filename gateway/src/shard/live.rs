//! The state of open windows as live batches, for those who watch them (`--live`).
//!
//! A round goes over all open windows, a bounded number at a time. What changes behind it while it is under way is part of
//! the next round.

use catchment_journal::{Disk, Position};
use catchment_proto::wire;

use super::Shard;
use crate::{batch_encoder, fold::OpenWindowCursor};

/// Open windows that are looked at in one go, some 0.2 ms when all have changed.
const SLICE: usize = 512;

/// How far rounds have got.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Entries before this were in the round before.
    from: u64,
    /// The round that is under way: its first entry that belongs to the next, and how far it is.
    round: Option<(u64, OpenWindowCursor)>,
}

impl<D: Disk> Shard<D> {
    /// The next round holds all open windows: whoever had the others has lost them.
    pub fn restart_live(&mut self) {
        self.live = Live::default();
    }

    /// Goes on with a round over the windows that changed since the round before, or begins one. Batches may leave once the
    /// journal is synced up to the position beside them. Returns whether the round is over.
    pub fn live(&mut self) -> (Position, Vec<wire::Batch>, bool) {
        let end = self.journal.end();
        let (next_from, behind) = match self.live.round.take() {
            Some((next_from, behind)) => (next_from, Some(behind)),
            None => (end.get(), None),
        };
        let (mut open, behind) = self.state.open_since(self.live.from, behind, SLICE);
        match behind {
            Some(behind) => self.live.round = Some((next_from, behind)),
            None => self.live.from = next_from,
        }
        open.sort_by_key(|emitted| emitted.window.width());
        let same_width = open.chunk_by(|a, b| a.window.width() == b.window.width());
        let batches =
            same_width.map(|run| batch_encoder::encode_live_batch(self.index, &self.state, run)).collect();
        (end, batches, self.live.round.is_none())
    }
}
