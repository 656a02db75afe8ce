//! The bytes that a worker's sessions hold while they wait: what they have read, and what they have decoded of it.
//!
//! A session waits for the journal, for room, for its device to read, or for its turn. Nobody is ended for that, and
//! what was read cannot be given back. So beyond the bound all sessions read little at once: the rest stays in the
//! buffers of the network, and each session is still served. While a session waits for room, which is room for all of
//! them, they read nothing beyond the bound: what they read could not be taken.

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
    /// Sessions that wait for room in journal or outbox.
    for_room: Cell<usize>,
}

impl WaitingBytes {
    /// Beyond so many bytes, sessions read little at once, and nothing while there is no room.
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Cell::new(0), for_room: Cell::new(0) }
    }

    /// Whether nothing is to be read now.
    pub(super) fn is_full(&self) -> bool {
        self.for_room.get() > 0 && self.held.get() >= self.bytes_max
    }

    /// A session waits for room, until the guard is dropped.
    pub(super) fn wait_for_room(&self) -> RoomGuard<'_> {
        self.for_room.set(self.for_room.get().saturating_add(1));
        RoomGuard(self)
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

/// A session that waits for room.
#[derive(Debug)]
pub(super) struct RoomGuard<'a>(&'a WaitingBytes);

impl Drop for RoomGuard<'_> {
    fn drop(&mut self) {
        self.0.for_room.set(self.0.for_room.get().saturating_sub(1));
    }
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
        assert!(!waiting.is_full(), "there is room for what they read");
        let room = waiting.wait_for_room();
        assert!(waiting.is_full());
        drop(first);
        assert_eq!((waiting.held(), waiting.read_max(), waiting.is_full()), (400, READ_BYTES, false));
        drop(room);
        drop((second, third));
        assert_eq!(waiting.held(), 0);
    }
}
