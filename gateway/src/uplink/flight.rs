//! What of a shard's outbox is on its way on one stream. Pure: the feed and the simulation drive it.
//!
//! Invariant: what may be released was acknowledged, or known to the aggregator when the stream began.

use std::collections::VecDeque;

use catchment_journal::Position;

/// Batches on their way, in the order of the outbox.
#[derive(Debug)]
pub struct Flight {
    sent: u64,
    waiting: VecDeque<(u64, Position)>,
}

impl Flight {
    /// A stream begins; the aggregator has every batch up to the number `delivered`.
    pub fn new(delivered: u64) -> Self {
        Self { sent: delivered, waiting: VecDeque::new() }
    }

    /// Whether the aggregator has a batch, or it has left on this stream.
    pub fn is_known(&self, number: u64) -> bool {
        number <= self.sent
    }

    /// A batch leaves.
    pub fn leave(&mut self, number: u64, position: Position) {
        self.sent = number;
        self.waiting.push_back((number, position));
    }

    /// Everything up to a number is acknowledged: how many batches that was news of, and the position of the last
    /// of them in the outbox.
    pub fn settle(&mut self, ack: u64) -> (u64, Option<Position>) {
        let (mut batches, mut covered) = (0, None);
        while let Some((_, position)) = self.waiting.front().copied().filter(|(number, _)| *number <= ack) {
            self.waiting.pop_front();
            batches += 1;
            covered = Some(position);
        }
        (batches, covered)
    }

    /// Batches that have left and are not acknowledged.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
