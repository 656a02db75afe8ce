//! Batch numbers, and the times that batches cover, so that an aggregator that lost batches knows which times are
//! missing.

use std::sync::Arc;

use catchment_partial::Timestamp;
use catchment_proto::{History, Span};

use super::{entry::NumbersEntry, state::State};

impl State {
    /// Number of the next batch.
    pub fn next_batch(&self) -> u64 {
        self.next_batch
    }

    /// Which times the batches before the next one cover, as far as known.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Numbers this many batches from `first` on, which cover a span; returns the history before them. Skipped
    /// numbers may have been used by batches that the journal no longer has, and a damaged journal may have lost what
    /// batches held: then the history is unknown.
    pub(super) fn numbered(&mut self, first: u64, batches: u64, span: Option<Span>) -> Arc<History> {
        let history = Arc::make_mut(&mut self.history);
        if first != self.next_batch || self.damaged {
            history.forget();
        }
        let before = Arc::clone(&self.history);
        let next = first.saturating_add(batches);
        let history = Arc::make_mut(&mut self.history);
        match span {
            Some(span) if next > self.next_batch && !self.damaged => history.push(batches, span),
            _ => history.forget(),
        }
        self.next_batch = self.next_batch.max(next);
        before
    }

    pub(super) fn skip_to(&mut self, entry: &NumbersEntry) {
        if entry.next_batch <= self.next_batch {
            return;
        }
        let first = entry.next_batch.saturating_sub(entry.again);
        if let Some(to) = entry.left_out_to_ns
            && first > self.next_batch
        {
            let span = Span { from: Timestamp::MIN, to: Timestamp::from_nanos(to) };
            Arc::make_mut(&mut self.history).push(first - self.next_batch, span);
            self.next_batch = first;
        }
        let (from, to) = (Timestamp::from_nanos(entry.from_ns), Timestamp::from_nanos(entry.to_ns));
        let span = (entry.again > 0).then_some(Span { from, to });
        if entry.again > 0 || first > self.next_batch {
            self.numbered(first, entry.again, span);
        }
    }
}
