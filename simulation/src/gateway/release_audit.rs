//! Checks each release of an outbox against a simple account of its own: no batch may be released that the aggregator
//! has not acknowledged. Whole segments are removed, so that most releases that go too far would cost nothing.

use std::collections::BTreeMap;

use catchment_gateway::uplink::outbox_chunk::OutboxChunk;
use catchment_journal::Position;

use crate::end::End;

/// The account of one stream.
#[derive(Debug, Default)]
pub(super) struct ReleaseAudit {
    /// Own numbers of the batches that were read and are not released, by position.
    held: BTreeMap<Position, u64>,
    /// Everything below was read.
    read_to: Position,
}

impl ReleaseAudit {
    /// Reading begins at a position.
    pub(super) fn beginning(position: Position) -> Self {
        Self { read_to: position, ..Self::default() }
    }

    /// A chunk was read while the outbox was durable up to `durable`.
    pub(super) fn read(&mut self, chunk: &OutboxChunk, durable: Position) {
        self.held.extend(chunk.batches.iter().map(|stored| (stored.position, stored.number)));
        let last = chunk.batches.last().map(|stored| stored.position);
        self.read_to = if chunk.at_end { durable } else { last.unwrap_or(self.read_to) };
    }

    /// Reading continues at a position.
    pub(super) fn reopened(&mut self, position: Position) {
        self.read_to = position;
    }

    /// The outbox is released below a position, and the aggregator has every batch up to the own number `delivered`.
    pub(super) fn release(&mut self, position: Position, delivered: u64) -> Result<(), End> {
        if position > self.read_to {
            let why = format!("the outbox is released below {position}, and was read up to {}", self.read_to);
            return Err(End::Defect(why));
        }
        let kept = self.held.split_off(&position);
        let released = std::mem::replace(&mut self.held, kept);
        match released.values().find(|number| **number > delivered) {
            None => Ok(()),
            Some(number) => Err(End::Defect(format!(
                "batch {number} is released, and the aggregator has those up to {delivered}"
            ))),
        }
    }
}
