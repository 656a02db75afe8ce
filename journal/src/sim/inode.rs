//! The bytes of a file on the simulated disk: as they are read, and as a power loss may leave them.

use std::collections::BTreeSet;

/// A file.
#[derive(Default)]
pub(super) struct Inode {
    pub(super) now: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) dirty: BTreeSet<u64>,
    pub(super) length_dirty: bool,
}

impl Inode {
    /// A file whose content is durable.
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), now: bytes, ..Self::default() }
    }

    /// A power loss: what is not synced is kept or lost, as the coin falls.
    pub(super) fn crash(&mut self, sector_bytes: u64, mut coin: impl FnMut() -> bool) {
        let length = match self.length_dirty && coin() {
            true => self.now.len(),
            false => self.durable.len(),
        };
        self.durable.resize(length, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if coin() {
                self.keep(sector, sector_bytes);
            }
        }
        self.length_dirty = false;
        self.now = self.durable.clone();
    }

    /// Copies a sector to the durable contents, as far as they reach.
    pub(super) fn keep(&mut self, sector: u64, size: u64) {
        let from = ((sector * size) as usize).min(self.durable.len());
        let to = (from + size as usize).min(self.durable.len());
        for at in from..to {
            if let Some(byte) = self.durable.get_mut(at) {
                *byte = self.now.get(at).copied().unwrap_or(0);
            }
        }
    }

    pub(super) fn touch(&mut self, from: u64, to: u64, size: u64) {
        self.dirty.extend(from / size..to.div_ceil(size));
    }

    pub(super) fn resize(&mut self, length: u64, sector: u64) {
        let before = self.now.len() as u64;
        if length < before {
            self.touch(length, before, sector);
        }
        self.now.resize(length as usize, 0);
        self.length_dirty |= length != before;
    }
}
