//! Series, as a store lists them.

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, SeriesKey};

/// Identifies a series in a store; never reused. Only the store that made it knows what its number means, but later
/// series have higher ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(u64);

impl SeriesId {
    /// Made by a store for a number of its own.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// For the store that made it.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// A series as listed by the store.
#[derive(Clone, Debug)]
pub struct SeriesEntry {
    /// Its id in this store.
    pub id: SeriesId,
    /// The gateway that delivers it.
    pub gateway: GatewayId,
    /// Device, metric and labels.
    pub key: SeriesKey,
    /// Start of its first and of its last window.
    pub windows: (Timestamp, Timestamp),
    /// None of its rows starts earlier. Before the first window if the store merges windows into longer intervals: a row
    /// of an interval starts with the interval.
    pub rows_from: Timestamp,
    /// Event time of its newest reading.
    pub last_reading: Timestamp,
}
