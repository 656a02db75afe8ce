//! One reading.

use catchment_partial::Timestamp;

/// One reading of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Index of its series: the session's own (see [`super::SeriesTable`]) until the device's sessions put
    /// the device's in place.
    pub series: u32,
    /// Event time.
    pub time: Timestamp,
    /// Finite.
    pub value: f64,
}
