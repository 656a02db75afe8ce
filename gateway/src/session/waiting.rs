//! The bytes that a worker's sessions hold while they wait: what they have read, and what they have decoded of it.
//!
//! A session waits for the journal, for room, for its device to read, or for its turn. Nobody is ended for that, and
//! what was read cannot be given back. So beyond the bound all sessions read little at once: the rest stays in the
//! buffers of the network, and each session is still served.

use std::cell::Cell;

/// Most bytes that a session reads at once.
pub(super) const READ_BYTES: usize = 64 << 10;
/// Bytes that a session reads at once while those that wait hold too much.
const READ_BYTES_LITTLE: usize = 4 << 10;

/// What the waiting sessions of a worker hold.
#[derive(Debug)]
pub struct WaitingBytes {
    bytes_max: usize,
    held: Cell<usize>,
}

impl WaitingBytes {
    /// Beyond so many bytes, sessions read little at once.
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Cell::new(0) }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Most bytes that a session may read at once now.
    pub(super) fn read_max(&self) -> usize {
        if self.held.get() < self.bytes_max { READ_BYTES } else { READ_BYTES_LITTLE }
    }

    /// A session waits and holds so many bytes, until the guard is dropped.
    pub(super) fn hold(&self, bytes: usize) -> WaitingGuard<'_> {
        self.held.set(self.held.get().saturating_add(bytes));
        WaitingGuard { all: self, bytes }
    }
}

/// A session that waits.
#[derive(Debug)]
pub(super) struct WaitingGuard<'a> {
    all: &'a WaitingBytes,
    bytes: usize,
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.all.held.set(self.all.held.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_read_little_at_once_while_those_that_wait_hold_too_much() {
        let waiting = WaitingBytes::new(1_000);
        let first = waiting.hold(600);
        let second = waiting.hold(399);
        assert_eq!((waiting.held(), waiting.read_max()), (999, READ_BYTES));
        let third = waiting.hold(1);
        assert_eq!((waiting.held(), waiting.read_max()), (1_000, READ_BYTES_LITTLE));
        drop(first);
        assert_eq!((waiting.held(), waiting.read_max()), (400, READ_BYTES));
        drop((second, third));
        assert_eq!(waiting.held(), 0);
    }
}
