//! What open windows hold so far, for those who do not want to wait for their close.

use catchment_journal::{Disk, Position};
use catchment_proto::wire;

use super::Shard;
use crate::cut;

impl<D: Disk> Shard<D> {
    /// The next live batches hold all open windows: whoever had the others has lost them.
    pub fn live_anew(&mut self) {
        self.live_from = 0;
    }

    /// State of the windows that changed since the last call, as live batches; they may leave once the journal
    /// is synced up to the position beside them.
    pub fn live(&mut self) -> (Position, Vec<wire::Batch>) {
        let end = self.journal.end();
        let mut open = self.state.open_since(self.live_from);
        self.live_from = end.get();
        open.sort_by_key(|emitted| emitted.window.width());
        let same_width = open.chunk_by(|a, b| a.window.width() == b.window.width());
        let batches = same_width
            .flat_map(|run| run.chunks(cut::BATCH_PARTIALS as usize / 8))
            .map(|chunk| cut::live_batch(self.index, &self.state, chunk))
            .collect();
        (end, batches)
    }
}
