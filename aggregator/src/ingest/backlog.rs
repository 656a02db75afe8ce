//! Whether a stream delivers a backlog, which waits when tables are behind.
//!
//! What was delivered and is not in tables yet is merged window by window by every query. So a gateway that delivers the
//! past as fast as it can is read no faster than tables are written. The windows of the last hours never wait: somebody
//! watches them.

use std::time::Duration;

use catchment_proto::Batch;

use super::bytes::StreamBytes;
use crate::store::IngestStore;

/// How long ago the windows of a batch ended that is part of a backlog. What a short outage left is delivered at once.
const AGE: Duration = Duration::from_secs(6 * 3_600);

/// What a stream delivered last.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    is_old: bool,
    waits: bool,
}

impl Backlog {
    /// Notes a batch that was read; the time is in Unix milliseconds.
    pub(super) fn note(&mut self, batch: &Batch, now_ms: i64) {
        let before = now_ms.saturating_sub(AGE.as_millis() as i64);
        // Two of them tell: a batch spans little time, or is of the past as a whole.
        let mut ends = batch.entries.first().into_iter().chain(batch.entries.last());
        self.is_old = !batch.live && ends.all(|entry| entry.window.end().as_millis() < before);
    }

    /// Whether the stream is not read now; counts when this begins.
    pub(super) fn waits(&mut self, store: &dyn IngestStore, bytes: &StreamBytes) -> bool {
        let waits = self.is_old && store.is_behind();
        if waits && !self.waits {
            bytes.note_tables_wait();
        }
        self.waits = waits;
        waits
    }
}
