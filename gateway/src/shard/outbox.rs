//! Moves closed batches into the outbox.
//!
//! Invariant: a batch goes to the outbox only once the journal is synced beyond the entry that closed its windows.

use std::collections::VecDeque;

use catchment_journal::{AppendError, Disk, Position};
use catchment_proto::wire;

use super::{Backpressure, ShardLog};
use crate::batch_encoder;

/// A batch that waits for the sync of the entry that closed its windows.
#[derive(Debug)]
pub(super) struct PendingBatch {
    closed_at: Position,
    record: Vec<u8>,
}

impl PendingBatch {
    pub(super) fn new(closed_at: Position, batch: &wire::Batch) -> Self {
        Self { closed_at, record: batch_encoder::encode_record(batch) }
    }
}

/// The outbox, the batches that wait for their turn, and whether there is room.
pub(super) struct OutboxWriter<D: Disk> {
    shard: u32,
    log: ShardLog<D>,
    pending: VecDeque<PendingBatch>,
    room: Result<(), Backpressure>,
}

impl<D: Disk> OutboxWriter<D> {
    pub(super) fn new(shard: u32, log: ShardLog<D>, pending: VecDeque<PendingBatch>) -> Self {
        Self { shard, log, pending, room: Ok(()) }
    }

    /// The outbox itself.
    pub(super) fn log(&self) -> &ShardLog<D> {
        &self.log
    }

    pub(super) fn durable(&self) -> Position {
        self.log.durable()
    }

    /// Takes a batch, which goes to the outbox with [`Self::append_durable`].
    pub(super) fn push(&mut self, batch: PendingBatch) {
        self.pending.push_back(batch);
    }

    /// Whether no batch waits.
    pub(super) fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the last batch found room.
    pub(super) fn room(&self) -> Result<(), Backpressure> {
        self.room.clone()
    }

    /// Moves batches to the outbox whose closing is before `durable`. Stops at the first for which there is no room.
    /// Returns the number of batches moved.
    pub(super) fn append_durable(&mut self, durable: Position) -> u64 {
        let mut appended = 0;
        while let Some(pending) = self.pending.front() {
            if pending.closed_at >= durable {
                break;
            }
            match self.log.append(&pending.record) {
                Ok(_) => {
                    self.pending.pop_front();
                    appended += 1;
                    self.room = Ok(());
                }
                Err(AppendError::BufferFull) => break,
                Err(error) => {
                    if self.room.is_ok() {
                        tracing::warn!(
                            condition = "outbox_full", shard = self.shard, %error,
                            "the outbox takes no more: devices wait"
                        );
                    }
                    self.room = Err(match Backpressure::from(error) {
                        Backpressure::Room(why) => Backpressure::Room(format!("outbox: {why}")),
                        other => other,
                    });
                    break;
                }
            }
        }
        appended
    }
}
