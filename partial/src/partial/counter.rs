//! A counter: a value that only grows, and begins again at 0 when its device starts anew.
//!
//! As in Prometheus, a value less than its predecessor is a reset, and the increase over an interval is the last value
//! less the first, plus the value before each reset (`extrapolatedRate` in Prometheus 2.42, promql/functions.go). The
//! first and last value are those of the span; here is the rest.
//!
//! Encoding: varint number of resets; varint number of changes; the correction, 8 bytes.

use std::cmp::Ordering;

use super::codec::{DecodeError, Reader, put_varint};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counter {
    /// Readings less than their predecessor; saturates.
    pub(super) resets: u64,
    /// Readings different from their predecessor; saturates.
    pub(super) changes: u64,
    /// Sum of the values before resets.
    pub(super) correction: f64,
}

/// A sum that left the range of doubles is infinite from there on, never not-a-number: it is undefined.
pub(super) fn bounded(sum: f64) -> f64 {
    if sum.is_finite() { sum } else { f64::INFINITY }
}

impl Counter {
    /// Adds the step from a value to the next.
    #[inline]
    pub(super) fn step(&mut self, from: f64, to: f64) {
        if to != from {
            self.changes = self.changes.saturating_add(1);
        }
        if to < from {
            self.resets = self.resets.saturating_add(1);
            self.correction = bounded(self.correction + from);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.resets = self.resets.saturating_add(other.resets);
        self.changes = self.changes.saturating_add(other.changes);
        self.correction = bounded(self.correction + other.correction);
    }

    pub(super) fn order(&self, other: &Self) -> Ordering {
        let key = |counter: &Self| (counter.resets, counter.changes);
        key(self).cmp(&key(other)).then_with(|| self.correction.total_cmp(&other.correction))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.resets, out);
        put_varint(self.changes, out);
        out.extend(self.correction.to_le_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { resets: reader.varint()?, changes: reader.varint()?, correction: reader.number()? })
    }
}

/// Extrapolates what was measured between the first and the last of `count` readings to the range in which they lie,
/// as Prometheus 2.42 (`extrapolatedRate`): to an end of the range that is nearer than 1.1 mean distances of readings,
/// otherwise by half a mean distance; a counter not further back than it would have been 0. `None` with fewer than two
/// readings, or all at one time. Times are seconds: from the start of the range to the first reading, from the first to
/// the last, and from the last to the end of the range. `first`: value of a counter's first reading.
pub(super) fn extrapolate(
    measured: f64,
    count: u64,
    [to_start, sampled, to_end]: [f64; 3],
    first: Option<f64>,
) -> Option<f64> {
    if count < 2 || sampled <= 0.0 {
        return None;
    }
    let mean_distance = sampled / (count - 1) as f64;
    let mut to_start = to_start;
    if let Some(first) = first.filter(|first| measured > 0.0 && *first >= 0.0) {
        to_start = to_start.min(sampled * (first / measured));
    }
    let extend = |distance: f64| if distance < mean_distance * 1.1 { distance } else { mean_distance / 2.0 };
    Some(measured * ((sampled + extend(to_start) + extend(to_end)) / sampled))
}
