//! Tells a listener which rows have changed.

use std::fmt::Debug;

use catchment_partial::Timestamp;

use crate::store::SeriesId;

/// Rows of a series that a batch added or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The series.
    pub series: SeriesId,
    /// Their windows start at or after this time.
    pub from: Timestamp,
    /// Their windows end at or before this time.
    pub to: Timestamp,
}

/// Learns of each change of rows.
pub trait ChangeListener: Debug + Send + Sync {
    /// Whether changes are wanted now: `live`: those of open windows.
    fn listens(&self, live: bool) -> bool;

    /// Rows have changed. A reader that begins after this call sees them. Called under the store's lock, so it must not
    /// wait, nor call the store. `next_series`: all series have lower ids than this.
    fn changed(&self, changes: &[Change], live: bool, next_series: SeriesId);
}
