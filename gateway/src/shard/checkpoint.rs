//! Checkpoints: the state on disk, so that the beginning of the journal can be released and a restart replays little.
//!
//! A checkpoint may be written once the journal is durable up to its position and every batch numbered before its
//! `next_batch` is durable in the outbox. The journal is released up to the checkpoint *before* the newest, so
//! that one damaged checkpoint costs nothing.

use std::sync::Arc;

use catchment_journal::{Checkpoints, Disk, Position};
use prost::Message;

/// The state at a position, and what must be durable before it may be written.
#[derive(Debug)]
pub struct Capture {
    /// The journal's end at the capture.
    pub position: Position,
    /// The outbox's end at the capture: batches numbered `next_batch` and beyond stand after it.
    pub outbox_end: Position,
    /// The checkpoint's content, in pieces: a worker's thread puts them together nowhere.
    pub parts: Vec<Vec<u8>>,
}

/// A small state is checkpointed after this many bytes of the journal, so that little is replayed: a dense journal
/// holds a million readings in 20 MiB, which take a second.
const CHECKPOINT_BYTES_MIN: u64 = 8 << 20;
/// A larger state after this many times its own size, so that checkpoints stay a small part of what is written.
const STATE_SHARE: u64 = 4;

/// The parts of a checkpoint: before the state come journal position and outbox position, both little-endian.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub(super) position: Position,
    pub(super) outbox: Position,
    pub(super) state: &'a [u8],
}

/// The owner of a checkpoint, in the same message as the state: versions that do not know it skip it.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Owner {
    /// Epoch of the data folder's identity; 0 in checkpoints of versions that did not write it.
    #[prost(fixed64, tag = "14")]
    pub(super) epoch: u64,
    #[prost(uint32, tag = "15")]
    pub(super) shard: u32,
}

/// How far the outbox was delivered, in the same message too; 0: not known.
#[derive(Clone, Copy, PartialEq, Message)]
struct DeliveredTo {
    #[prost(uint64, tag = "16")]
    position: u64,
}

/// Whether a checkpoint belongs to another shard or data folder.
pub(super) fn is_foreign(bytes: &[u8], epoch: u64, shard: u32) -> bool {
    let owner = parse(bytes).and_then(|stored| Owner::decode(stored.state).ok()).unwrap_or_default();
    owner.epoch != 0 && epoch != 0 && owner != Owner { epoch, shard }
}

/// Everything in the outbox before this was delivered when the checkpoint was taken.
pub(super) fn delivered(bytes: &[u8]) -> Position {
    let delivered =
        parse(bytes).and_then(|stored| DeliveredTo::decode(stored.state).ok()).unwrap_or_default();
    Position::new(delivered.position)
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

/// When a checkpoint is due, and which were written.
pub(super) struct Checkpointer<D: Disk> {
    owner: Owner,
    checkpoints: Arc<Checkpoints<D>>,
    /// A checkpoint is due although the journal has hardly grown, so that the next start does not meet the same damage.
    soon: bool,
    /// When the capture under way began: the ends of journal and outbox, and how far the latter was delivered.
    capturing: Option<(Position, Position, Position)>,
    /// Size of the newest checkpoint.
    state_bytes: u64,
    /// Position of the newest checkpoint.
    newest: Position,
}

impl<D: Disk> Checkpointer<D> {
    /// `newest`: position and size of the newest checkpoint.
    pub(super) fn new(
        owner: Owner,
        checkpoints: Checkpoints<D>,
        (newest, state_bytes): (Position, u64),
        soon: bool,
    ) -> Self {
        Self { owner, checkpoints: Arc::new(checkpoints), soon, capturing: None, state_bytes, newest }
    }

    /// Where checkpoints are written.
    pub(super) fn checkpoints(&self) -> Arc<Checkpoints<D>> {
        Arc::clone(&self.checkpoints)
    }

    /// Whether a checkpoint is due: after `bytes_max` journal bytes at the latest. `full`: the journal has no space.
    pub(super) fn is_due(&self, end: Position, full: bool, bytes_max: u64) -> bool {
        let grown = end.get().saturating_sub(self.newest.get());
        let enough = (STATE_SHARE * self.state_bytes).max(CHECKPOINT_BYTES_MIN);
        grown >= enough.min(bytes_max) || (grown > 0 && full) || self.soon || self.checkpoints.is_missing()
    }

    /// Whether the newest checkpoint is older than the journal's end, or has vanished.
    pub(super) fn is_outdated(&self, end: Position) -> bool {
        end > self.newest || self.checkpoints.is_missing()
    }

    pub(super) fn begin_capture(&mut self, end: Position, outbox_end: Position, delivered: Position) {
        self.capturing = Some((end, outbox_end, delivered));
    }

    pub(super) fn is_capturing(&self) -> bool {
        self.capturing.is_some()
    }

    /// The encoded state completes the capture under way. Copies at most its first piece.
    pub(super) fn complete(&mut self, mut parts: Vec<Vec<u8>>) -> Option<Capture> {
        let (position, outbox_end, delivered) = self.capturing.take()?;
        let header = [position.get().to_le_bytes(), outbox_end.get().to_le_bytes()].concat();
        match parts.first_mut() {
            Some(first) => drop(first.splice(..0, header)),
            None => parts.push(header),
        }
        let mut end = Vec::new();
        self.owner.encode_raw(&mut end);
        DeliveredTo { position: delivered.get() }.encode_raw(&mut end);
        if let Some(last) = parts.last_mut() {
            last.append(&mut end);
        }
        self.state_bytes = parts.iter().map(Vec::len).sum::<usize>() as u64;
        Some(Capture { position, outbox_end, parts })
    }

    /// A checkpoint at a position was written. Returns the position of the one before.
    pub(super) fn written(&mut self, position: Position) -> Position {
        self.soon = false;
        std::mem::replace(&mut self.newest, position)
    }
}

#[cfg(test)]
impl<D: Disk> Checkpointer<D> {
    pub(super) fn set_state_bytes(&mut self, bytes: u64) {
        self.state_bytes = bytes;
    }

    pub(super) fn clear_soon(&mut self) {
        self.soon = false;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use catchment_journal::sim::SimDisk;

    use super::*;

    #[test]
    fn a_capture_is_completed_without_a_copy_of_the_state() {
        let checkpoints = Checkpoints::open(Arc::new(SimDisk::new(1)), Path::new("/data"), "state").unwrap();
        let owner = Owner { epoch: 7, shard: 1 };
        let mut checkpointer = Checkpointer::new(owner, checkpoints, (Position::ZERO, 0), false);
        assert!(checkpointer.complete(Vec::new()).is_none(), "none is under way");
        checkpointer.begin_capture(Position::new(64), Position::new(128), Position::new(96));
        let state = vec![vec![1; 10], vec![2; 1_000], Vec::with_capacity(100)];
        let before = state[1].as_ptr();
        let Capture { parts, .. } = checkpointer.complete(state).unwrap();
        assert_eq!((parts.len(), parts[1].as_ptr()), (3, before));
        let whole = parts.concat();
        let found = parse(&whole).unwrap();
        assert_eq!((found.position.get(), found.outbox.get()), (64, 128));
        assert_eq!(found.state[..1_010], [vec![1; 10], vec![2; 1_000]].concat());
        assert_eq!(found.state[1_010..], [owner.encode_to_vec(), vec![0x80, 0x01, 96]].concat());
        assert_eq!(checkpointer.state_bytes, whole.len() as u64);
        let checkpoints = checkpointer.checkpoints();
        checkpoints.write_parts(&parts).unwrap();
        assert_eq!(checkpoints.newest().unwrap().unwrap().1, whole);
    }
}
