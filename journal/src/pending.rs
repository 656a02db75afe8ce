//! The block being filled: records that are appended and not yet written. Pure: no I/O.
//!
//! Invariant: a record is accepted only if its block, padding included, ends at or below `limit`. Disk space in the
//! block's segment is reserved up to that limit, so accepted records can be written.

use std::sync::Arc;

use crate::error::{AppendError, FullReason};
use crate::format::{
    BLOCK_HEADER, BlockHeader, RECORD_HEADER, align_up, encode_block_header, encode_record_header,
};
use crate::position::Position;

pub(crate) struct Pending {
    salt: u64,
    record_max: u32,
    buffer_max: usize,
    /// Start of the open block.
    base: Position,
    limit: Position,
    /// Empty, or space for the block header followed by records.
    bytes: Vec<u8>,
    records: u32,
    /// Set while the last attempt to reserve space failed.
    full: Option<FullReason>,
    poisoned: Option<Arc<str>>,
    closed: bool,
}

/// A block ready to be written.
pub(crate) struct Block {
    pub(crate) at: Position,
    pub(crate) bytes: Vec<u8>,
}

impl Block {
    pub(crate) fn end(&self) -> Position {
        self.at.plus(self.bytes.len() as u64)
    }
}

/// Why a record was refused.
pub(crate) enum Refusal {
    /// The block would need this many bytes from its base, and they are not reserved.
    NoRoom(u64),
    Final(AppendError),
}

impl Pending {
    pub(crate) fn new(salt: u64, record_max: u32, buffer_max: usize, base: Position) -> Self {
        Self {
            salt,
            record_max,
            buffer_max,
            base,
            limit: base,
            bytes: Vec::new(),
            records: 0,
            full: None,
            poisoned: None,
            closed: false,
        }
    }

    pub(crate) fn append(&mut self, record: &[u8]) -> Result<Position, Refusal> {
        if let Some(why) = &self.poisoned {
            return Err(Refusal::Final(AppendError::Poisoned(Arc::clone(why))));
        }
        if self.closed {
            return Err(Refusal::Final(AppendError::Closed));
        }
        if record.len() > self.record_max as usize {
            let (bytes, max) = (record.len(), self.record_max);
            return Err(Refusal::Final(AppendError::TooLarge { bytes, max }));
        }
        let used = self.bytes.len().max(BLOCK_HEADER as usize);
        let need = align_up((used + RECORD_HEADER as usize + record.len()) as u64);
        if need > self.buffer_max as u64 {
            return Err(Refusal::Final(AppendError::BufferFull));
        }
        if self.base.plus(need) > self.limit {
            return Err(Refusal::NoRoom(need));
        }
        self.bytes.resize(used, 0);
        let at = self.base.plus(used as u64);
        self.bytes.extend_from_slice(&encode_record_header(self.salt, at, record));
        self.bytes.extend_from_slice(record);
        self.records += 1;
        Ok(at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn base(&self) -> Position {
        self.base
    }

    pub(crate) fn set_limit(&mut self, limit: Position) {
        self.limit = limit;
    }

    /// The next record goes to this position or above.
    pub(crate) fn end(&self) -> Position {
        self.base.plus(self.bytes.len() as u64)
    }

    /// Moves an empty block.
    pub(crate) fn set_base(&mut self, base: Position) {
        debug_assert!(self.is_empty());
        self.base = base;
    }

    /// Completes the block; the next one starts at its end. `spare` becomes the new buffer.
    pub(crate) fn take(&mut self, mut spare: Vec<u8>) -> Option<Block> {
        if self.bytes.is_empty() {
            return None;
        }
        spare.clear();
        let mut bytes = std::mem::replace(&mut self.bytes, spare);
        let length = (bytes.len() - BLOCK_HEADER as usize) as u32;
        let header = BlockHeader { hole: false, length, records: self.records };
        if let Some(head) = bytes.first_chunk_mut() {
            *head = encode_block_header(self.salt, self.base, header);
        }
        bytes.resize(align_up(bytes.len() as u64) as usize, 0);
        let block = Block { at: self.base, bytes };
        self.base = block.end();
        self.records = 0;
        Some(block)
    }

    pub(crate) fn full(&self) -> Option<&FullReason> {
        self.full.as_ref()
    }

    pub(crate) fn set_full(&mut self, full: Option<FullReason>) {
        self.full = full;
    }

    pub(crate) fn poison(&mut self, why: Arc<str>) {
        self.poisoned.get_or_insert(why);
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}
