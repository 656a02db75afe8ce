//! Refused readings by hour of the gateway's clock, until a close takes them along. Pure.
//!
//! They wait in memory only: a crash loses those that no close has taken yet, so what an aggregator counts is the least
//! that was refused.

use std::time::Duration;

use catchment_partial::Timestamp;
use catchment_proto::batch::REFUSED_HOURS_MAX;

use crate::fold::RefusedEntry;

const HOUR_NANOS: i64 = 3_600_000_000_000;
/// After this time they are reported in a batch without windows, if no window closes.
const REPORT_AFTER: Duration = Duration::from_secs(60);

/// Refused readings that no batch has reported yet.
#[derive(Debug, Default)]
pub(super) struct RefusedCounts {
    /// In the order in which the hours began, at most [`REFUSED_HOURS_MAX`].
    hours: Vec<RefusedEntry>,
    /// When the first of them came, by the monotonic clock.
    since: Duration,
}

impl RefusedCounts {
    /// Counts readings refused at a time by the wall clock and by the monotonic one.
    pub(super) fn add(&mut self, readings: u64, wall: Timestamp, mono: Duration) {
        if self.hours.is_empty() {
            self.since = mono;
        }
        self.count(RefusedEntry { hour: wall.as_nanos().div_euclid(HOUR_NANOS), readings });
    }

    fn count(&mut self, entry: RefusedEntry) {
        // The present hour is the last one, but for clocks that go back.
        match self.hours.iter_mut().rev().find(|known| known.hour == entry.hour) {
            Some(known) => known.readings = known.readings.saturating_add(entry.readings),
            None => self.hours.push(entry),
        }
        if self.hours.len() > REFUSED_HOURS_MAX {
            let oldest = self.hours.remove(0);
            if let Some(next) = self.hours.first_mut() {
                next.readings = next.readings.saturating_add(oldest.readings);
            }
        }
    }

    /// Whether they have waited for long, by the monotonic clock.
    pub(super) fn is_due(&self, mono: Duration) -> bool {
        !self.hours.is_empty() && mono.saturating_sub(self.since) >= REPORT_AFTER
    }

    /// Takes them, for a close.
    pub(super) fn take(&mut self) -> Vec<RefusedEntry> {
        std::mem::take(&mut self.hours)
    }

    /// The close was not written.
    pub(super) fn give_back(&mut self, hours: Vec<RefusedEntry>) {
        let later = std::mem::replace(&mut self.hours, hours);
        later.into_iter().for_each(|entry| self.count(entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_bounded_and_no_reading_is_left_out() {
        let mut counts = RefusedCounts::default();
        let mono = Duration::from_secs;
        assert!(!counts.is_due(mono(1_000)));
        let at = |hour: i64| Timestamp::from_nanos(hour * HOUR_NANOS + 5);
        counts.add(2, at(-1), mono(1_000));
        counts.add(3, at(-1), mono(1_030));
        assert!(!counts.is_due(mono(1_059)) && counts.is_due(mono(1_060)));
        let taken = counts.take();
        assert_eq!(taken, [RefusedEntry { hour: -1, readings: 5 }]);
        counts.add(1, at(0), mono(1_100));
        counts.give_back(taken);
        for hour in 0..100 {
            counts.add(1, at(hour), mono(2_000));
        }
        let taken = counts.take();
        assert_eq!((taken.len(), taken[63]), (REFUSED_HOURS_MAX, RefusedEntry { hour: 99, readings: 1 }));
        assert_eq!(taken.iter().map(|entry| entry.readings).sum::<u64>(), 106);
        assert!(!counts.is_due(mono(9_000)));
    }
}
