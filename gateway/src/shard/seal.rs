//! Sealing: a start closes every open window, so that none mixes readings from before and after it.
//!
//! If the folder turns out to have gone back to an older state, the aggregator may know the names of what was folded
//! before the start; what comes after must have other names ([`crate::lineage`]). Costs a partial for each open
//! window of a start.

use std::time::Duration;

use catchment_journal::Disk;

use super::{Backpressure, Shard};

impl<D: Disk> Shard<D> {
    /// Closes all open windows; the watermark stays. Batches before the number returned hold nothing that was taken
    /// after the start. They wait in memory while the outbox has no room, as those of a replay do.
    ///
    /// # Errors
    /// See [`Backpressure`]; what was closed until then stays closed, and another call continues.
    pub fn seal(&mut self) -> Result<u64, Backpressure> {
        while self.state().open_count().0 > 0 {
            self.append_durable_batches();
            let entry = self.closer.close_any(self.journaled.state(), self.end().get(), u32::MAX);
            self.close(entry)?;
        }
        Ok(self.state().next_batch())
    }
}

impl Shard {
    /// As [`Shard::seal`], and waits for the disk meanwhile: before the shard is used. Without room in the journal
    /// the windows stay open, because a full gateway must start too; then their readings may count twice if the
    /// folder has gone back.
    pub fn seal_waiting(&mut self) -> u64 {
        loop {
            match self.seal() {
                Ok(sealed) => return sealed,
                Err(Backpressure::Sync) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => {
                    tracing::warn!(shard = self.index, %error, "the windows of the last run stay open");
                    return self.base();
                }
            }
        }
    }
}
