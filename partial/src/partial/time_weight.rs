//! Integrals over time, for means that weight each value by how long it held.
//!
//! Between two readings the value either holds (last value carried forward) or follows a straight line (trapezoids).
//! Both cover the time from the first to the last reading.
//!
//! Encoding: varint covered nanoseconds, then both integrals, 8 bytes each.

use std::cmp::Ordering;

use super::codec::{DecodeError, Reader, put_varint};
use super::counter::bounded;
use super::extent::Point;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TimeWeight {
    /// Time between the readings, nanoseconds; saturates.
    pub(super) covered: u64,
    /// Integral of the value that holds until the next reading, in value times seconds.
    pub(super) held: f64,
    /// Integral of the straight lines between readings.
    pub(super) linear: f64,
}

/// Seconds of a difference of times in nanoseconds.
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl TimeWeight {
    /// Adds the time from a reading to the next one, which is not earlier.
    #[inline]
    pub(super) fn step(&mut self, from: Point, to: Point) {
        let nanos = to.time.as_nanos().wrapping_sub(from.time.as_nanos()) as u64;
        self.covered = self.covered.saturating_add(nanos);
        self.held = bounded(self.held + from.value * seconds(nanos));
        // Halves first: the sum of two values may be beyond the range.
        let middle = from.value / 2.0 + to.value / 2.0;
        self.linear = bounded(self.linear + middle * seconds(nanos));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.covered = self.covered.saturating_add(other.covered);
        self.held = bounded(self.held + other.held);
        self.linear = bounded(self.linear + other.linear);
    }

    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.covered
            .cmp(&other.covered)
            .then_with(|| self.held.total_cmp(&other.held))
            .then_with(|| self.linear.total_cmp(&other.linear))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.covered, out);
        out.extend(self.held.to_le_bytes());
        out.extend(self.linear.to_le_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { covered: reader.varint()?, held: reader.number()?, linear: reader.number()? })
    }
}
