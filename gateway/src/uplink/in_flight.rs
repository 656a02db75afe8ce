//! The in-flight window of one shard's outbox on one stream. Pure.
//!
//! Invariant: only batches that were acknowledged, or that the aggregator had when the stream began, may be released.

use std::collections::VecDeque;

use catchment_journal::Position;
use catchment_partial::{Timestamp, Width};
use catchment_proto::wire;

use crate::{batch_encoder::watermark_ms, lineage::Numbering, worker::Progress};

/// Batches in flight, in the order of the outbox. Numbers are the folder's own; only messages carry those of its
/// epoch.
#[derive(Debug)]
pub struct InFlight {
    numbering: Numbering,
    sent: u64,
    waiting: VecDeque<(u64, Position)>,
    /// A batch was refused and has not left again: it and the batches after it wait in the outbox.
    refused: bool,
    /// The next batch cannot be expressed to this aggregator: it and the batches after it wait in the outbox.
    held: bool,
}

impl InFlight {
    /// A stream begins; the aggregator has every batch up to the number `delivered` of the present epoch.
    pub fn new(numbering: Numbering, delivered: u64) -> Self {
        Self {
            sent: numbering.own(delivered),
            numbering,
            waiting: VecDeque::new(),
            refused: false,
            held: false,
        }
    }

    /// Completes a batch that is about to leave: its number on the wire, the times that earlier batches cover, and
    /// the epoch of its names.
    pub fn stamp(&self, batch: &mut wire::Batch, number: u64) {
        batch.number = self.numbering.wire(number);
        batch.history = self.numbering.history(number.saturating_sub(1), batch.history.take());
        batch.names_epoch = self.numbering.names_epoch(number);
    }

    /// The number on the wire of a batch; 0: it is from before the present epoch.
    pub fn wire_number(&self, number: u64) -> u64 {
        self.numbering.wire(number)
    }

    /// The times that batches up to a report cover, for an aggregator that may lack some of them.
    pub fn history_for(&self, progress: &Progress) -> Option<wire::BatchHistory> {
        let number = progress.number;
        let all_known = self.is_known(number) && !self.numbering.is_unreported(self.sent);
        if all_known { None } else { self.numbering.history(number, progress.history.wire(Width::MIN)) }
    }

    /// The first message of a stream if the aggregator may not know yet that batches are missing which only another
    /// line of the folder holds. It leaves before the batches, which may have to wait.
    pub fn unreported(&self, shard: u32) -> Option<wire::Progress> {
        let before = self.numbering.own(0);
        self.numbering.is_unreported(self.sent).then(|| wire::Progress {
            shard,
            // It closes no window.
            watermark_ms: watermark_ms(Timestamp::MIN),
            number: self.numbering.wire(before),
            history: self.numbering.history(before, None),
        })
    }

    /// Whether the aggregator has a batch, or it was sent on this stream.
    pub fn is_known(&self, number: u64) -> bool {
        number <= self.sent
    }

    /// A batch is sent.
    pub fn record_sent(&mut self, number: u64, position: Position) {
        self.sent = number;
        self.waiting.push_back((number, position));
    }

    /// Everything up to a number of the present epoch is acknowledged. Returns how many batches this newly
    /// acknowledges, and the position of the last of them in the outbox.
    pub fn acknowledge(&mut self, ack: u64) -> (u64, Option<Position>) {
        let (mut batches, mut covered) = (0, None);
        // An ack of 0 covers nothing of a first epoch; a later epoch's own numbers begin after its offset.
        let ack = self.numbering.own(ack);
        while let Some((_, position)) = self.waiting.front().copied().filter(|(number, _)| *number <= ack) {
            self.waiting.pop_front();
            batches += 1;
            covered = Some(position);
        }
        (batches, covered)
    }

    /// The aggregator has no room for a batch and drops those after it: none of them counts as sent. Returns its
    /// position in the outbox, where reading continues; `None`: it is not in flight.
    pub fn refuse(&mut self, number: u64) -> Option<Position> {
        let number = self.numbering.own(number);
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == number)?;
        let position = self.waiting.get(at).map(|(_, position)| *position)?;
        self.waiting.truncate(at);
        self.sent = number.saturating_sub(1);
        self.refused = true;
        // Reading meets the held batch again.
        self.held = false;
        Some(position)
    }

    /// The refused batch may leave again.
    pub fn resume(&mut self) {
        self.refused = false;
    }

    /// From the next batch on, nothing leaves on this stream.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Whether batches wait for another stream.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Batches that were sent and are not acknowledged.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is in flight now.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nothing is in flight, no refused batch waits to leave again, and none is held: only then is everything
    /// that was read of the outbox delivered.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.refused && !self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches may have to wait at the aggregator, so the report on the other line's batches leaves before them.
    #[test]
    fn what_another_line_holds_is_reported_until_something_is_delivered() {
        use crate::lineage::{Epoch, Epochs, ShardEpoch};
        assert_eq!(InFlight::new(Numbering::default(), 0).unreported(0), None);
        let mut epochs = Epochs::first(7, 0);
        let shards = vec![ShardEpoch { offset: 20, names: Vec::new() }];
        let left_out_to = Some(Timestamp::from_nanos(90));
        epochs.begin(Epoch { id: 9, created_ms: 1, shards, left_out_to });
        let reported = InFlight::new(epochs.numbering(0), 0).unreported(3).unwrap();
        assert_eq!((reported.shard, reported.number), (3, 1));
        assert!(reported.history.is_some() && reported.watermark_ms < 0, "{reported:?}");
        assert_eq!(InFlight::new(epochs.numbering(0), 2).unreported(0), None, "its first batch reported it");
    }

    #[test]
    fn from_a_refused_batch_on_nothing_has_left() {
        let mut in_flight = InFlight::new(Numbering::default(), 4);
        for number in 5..=8 {
            in_flight.record_sent(number, Position::new(number * 10));
        }
        assert_eq!(in_flight.acknowledge(5), (1, Some(Position::new(50))));
        assert_eq!(in_flight.refuse(9), None);
        assert_eq!(in_flight.refuse(7), Some(Position::new(70)));
        assert!(in_flight.is_known(6) && !in_flight.is_known(7));
        assert_eq!(
            in_flight.acknowledge(6),
            (1, Some(Position::new(60))),
            "what was before it is acknowledged"
        );
        assert!(!in_flight.is_empty(), "the refused one is still to be delivered");
        assert!(in_flight.is_idle());
        in_flight.resume();
        in_flight.record_sent(7, Position::new(70));
        assert_eq!(in_flight.acknowledge(7), (1, Some(Position::new(70))));
        assert!(in_flight.is_empty());
    }
}
