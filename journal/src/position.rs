//! Positions identify the records of a log.

use std::fmt;

/// Logical byte offset in a log since its creation. It grows with every record, identifies a durable record
/// permanently, and survives damage and the release of older segments. (In a crash, a record that was not yet durable
/// loses its bytes and its position; no one who waits for durability has seen it.)
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(u64);

impl Position {
    /// The beginning of a log.
    pub const ZERO: Self = Self(0);

    /// The position `offset` bytes after the log's creation.
    pub const fn new(offset: u64) -> Self {
        Self(offset)
    }

    /// Bytes since the log's creation.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The lowest position after this one: `read(last.next())` continues after the record at `last`.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(crate) const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to this position; 0 if `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Position {
    fn from(offset: u64) -> Self {
        Self(offset)
    }
}
