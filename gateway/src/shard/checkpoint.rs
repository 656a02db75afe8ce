//! Checkpoints: the state on disk, so that the journal's beginning can go and a restart replays little.
//!
//! A checkpoint may be written once the journal is durable up to its position and every batch numbered before its
//! `next_batch` is durable in the outbox. The journal is released up to the checkpoint *before* the newest, so
//! that one damaged checkpoint costs nothing.

use std::sync::Arc;

use catchment_journal::{Checkpoints, Disk, Position};
use prost::Message;

use super::Shard;

/// The state at a position, and what must be durable before it may be written.
#[derive(Debug)]
pub struct Capture {
    /// The journal's end at the capture.
    pub position: Position,
    /// The outbox's end at the capture: batches numbered `next_batch` and beyond stand behind it.
    pub outbox_end: Position,
    /// What the checkpoint holds.
    pub bytes: Vec<u8>,
}

/// A state that is small is written down after so many bytes of the journal, so that little of it is replayed: a dense
/// journal holds a million readings in 20 MiB, which take a second.
const CHECKPOINT_BYTES_MIN: u64 = 8 << 20;
/// A larger one after so many times its own size, so that checkpoints stay a small part of what is written.
const STATE_SHARE: u64 = 4;

/// Open windows and series that are captured at once, some 0.2 ms: devices are served in between.
const CAPTURE_SLICE: usize = 512;

/// Bytes before the state: journal position and outbox position, both little-endian.
const HEADER: usize = 16;

/// What a checkpoint holds.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub(super) position: Position,
    pub(super) outbox: Position,
    pub(super) state: &'a [u8],
}

/// Whose a checkpoint is, in the same message as the state: whatever does not know of it passes over it.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Owner {
    /// Epoch of the data folder's identity; 0 from a version that did not say it.
    #[prost(fixed64, tag = "14")]
    pub(super) epoch: u64,
    #[prost(uint32, tag = "15")]
    pub(super) shard: u32,
}

/// Whether a checkpoint is another shard's or another folder's.
pub(super) fn is_foreign(bytes: &[u8], epoch: u64, shard: u32) -> bool {
    let owner = parse(bytes).and_then(|stored| Owner::decode(stored.state).ok()).unwrap_or_default();
    owner.epoch != 0 && epoch != 0 && owner != Owner { epoch, shard }
}

pub(super) fn parse(bytes: &[u8]) -> Option<Stored<'_>> {
    let (position, rest) = bytes.split_first_chunk::<8>()?;
    let (outbox, state) = rest.split_first_chunk::<8>()?;
    Some(Stored {
        position: Position::new(u64::from_le_bytes(*position)),
        outbox: Position::new(u64::from_le_bytes(*outbox)),
        state,
    })
}

impl<D: Disk> Shard<D> {
    /// Whether the journal has grown enough since the last checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        let grown = self.journal.end().get().saturating_sub(self.checkpointed.0.get());
        let enough = (STATE_SHARE * self.state_bytes.get()).max(CHECKPOINT_BYTES_MIN);
        grown >= enough.min(self.limits.checkpoint_bytes)
            || (grown > 0 && self.is_full())
            || self.checkpoint_soon
            || self.checkpoints.is_missing()
    }

    /// Whether the journal has no space for what was refused last.
    fn is_full(&self) -> bool {
        self.journal.subscribe().borrow().full
    }

    /// Whether there is anything since the last checkpoint, or that one is gone.
    pub fn changed_since_checkpoint(&self) -> bool {
        self.journal.end() > self.checkpointed.0 || self.checkpoints.is_missing()
    }

    /// Begins to capture the state as it is now; not while a batch waits to be put into the outbox.
    pub fn begin_capture(&mut self) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        self.capturing = Some((self.journal.end(), self.outbox.end()));
        self.state.begin_snapshot();
        true
    }

    /// Captures some more of the state, a slice of bounded work; the capture once it is whole. Messages may be taken in
    /// between.
    pub fn step_capture(&mut self) -> Option<Capture> {
        let (position, outbox_end) = self.capturing?;
        let state = self.state.step_snapshot(CAPTURE_SLICE)?;
        self.capturing = None;
        let mut bytes = Vec::with_capacity(HEADER + state.len());
        bytes.extend_from_slice(&position.get().to_le_bytes());
        bytes.extend_from_slice(&outbox_end.get().to_le_bytes());
        bytes.extend_from_slice(&state);
        Owner { epoch: self.folder_epoch, shard: self.index }.encode_raw(&mut bytes);
        self.state_bytes.set(bytes.len() as u64);
        Some(Capture { position, outbox_end, bytes })
    }

    /// The state as it is now, in one go; `None` while a batch waits to be put into the outbox. For tests and simulations.
    pub fn capture(&mut self) -> Option<Capture> {
        if !self.begin_capture() {
            return None;
        }
        loop {
            if let Some(capture) = self.step_capture() {
                return Some(capture);
            }
        }
    }

    /// Whether everything is durable that a capture builds on, and memory was right: only then may it be written.
    pub fn may_write(&self, capture: &Capture) -> bool {
        !self.is_poisoned()
            && self.journal.durable() >= capture.position
            && self.outbox.durable() >= capture.outbox_end
    }

    /// Where checkpoints are written.
    pub fn checkpoints(&self) -> Arc<Checkpoints<D>> {
        Arc::clone(&self.checkpoints)
    }

    /// A checkpoint at a position was written: the journal before the checkpoint before it is released.
    pub fn checkpointed(&mut self, position: Position) {
        self.checkpoint_soon = false;
        // A full disk needs the space more than a second line of defence.
        let before = if self.is_full() { position } else { self.checkpointed.0 };
        self.checkpointed = (position, before);
        self.journal.release(before);
    }
}
