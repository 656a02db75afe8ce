//! Closing every open window at a start, so that none mixes readings from before it and after it.
//!
//! If the folder turns out to have gone back to an older state, what was folded before the start has names that the aggregator
//! may know, and what comes after must have others ([`crate::lineage`]). Costs a partial for each open window of a start.

use std::time::Duration;

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use super::{Backpressure, Shard};
use crate::{batch_encoder, fold::CloseEntry};

impl<D: Disk> Shard<D> {
    /// Number of the first batch that this life of the shard makes.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Closes all open windows; the watermark stays. Batches before the number that it answers hold nothing that was taken
    /// after the start. They wait in memory while the outbox has no room, as those of a replay do.
    ///
    /// # Errors
    /// See [`Backpressure`]; what was closed until then stays closed, and another call goes on.
    pub fn seal(&mut self) -> Result<u64, Backpressure> {
        while self.state.open_count().0 > 0 {
            self.append_durable_batches();
            let watermark = self.state.watermark().unwrap_or(Timestamp::from_nanos(i64::MIN));
            let mut entry = CloseEntry { all: true, ..self.entry(watermark, self.end().get()) };
            self.state.limit(&mut entry, self.limits.batch_memory, batch_encoder::BATCH_PARTIALS);
            self.close(entry)?;
        }
        Ok(self.state.next_batch())
    }
}

impl Shard {
    /// As [`Shard::seal`], and waits for the disk meanwhile: before the shard is used. Without room in the journal the windows
    /// stay open, because a full gateway must start too: should the folder have gone back, their readings may count twice.
    pub fn seal_waiting(&mut self) -> u64 {
        loop {
            match self.seal() {
                Ok(sealed) => return sealed,
                Err(Backpressure::Sync) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => {
                    tracing::warn!(shard = self.index, %error, "the windows of the last run stay open");
                    return self.base;
                }
            }
        }
    }
}
