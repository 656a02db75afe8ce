//! Limits how far ahead of the aggregator's clock a gateway's claims are believed. Pure: the caller passes the time.
//!
//! Two claims carry the gateway's own clock: the time up to which its windows are closed, and the creation time of
//! its data folder. A clock far ahead would claim completeness for years, and keep its folder the newest for as long.
//! Claims beyond the tolerance are not believed.
//!
//! Windows are stored whatever time they carry, up to a year ahead: more than a gateway can be configured to accept from
//! its devices (`future_max`). Each day of windows is a file of its own, so a peer that invents later days could have any
//! number of files written.

use std::time::Duration;

use catchment_partial::Timestamp;

const HOUR_MS: i64 = 3_600_000;
/// The longest `future_max` of a gateway, and a day for clocks that differ.
const STORED_AHEAD_MS: i64 = 366 * 24 * HOUR_MS;

/// The aggregator's clock at one moment, and the tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockBound {
    now_ms: i64,
    tolerance_ms: i64,
}

impl ClockBound {
    /// Believes everything: for simulations, whose clocks are right.
    pub const UNBOUNDED: Self = Self { now_ms: i64::MAX, tolerance_ms: 0 };

    /// Bound at the time `now_ms`, Unix milliseconds.
    pub fn new(now_ms: i64, tolerance: Duration) -> Self {
        Self { now_ms, tolerance_ms: i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX) }
    }

    /// The clock, Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The latest time of which windows may be lost now, an hour beyond the tolerance, because this clock may be wrong
    /// too; `None`: every time.
    pub fn latest_window(&self) -> Option<Timestamp> {
        let tolerance_ms = self.tolerance_ms.saturating_add(HOUR_MS);
        Timestamp::from_millis(self.now_ms.saturating_add(tolerance_ms))
    }

    /// The latest start of a window that is stored; `None`: every time.
    pub fn latest_stored(&self) -> Option<Timestamp> {
        let ahead_ms = self.tolerance_ms.saturating_add(STORED_AHEAD_MS);
        Timestamp::from_millis(self.now_ms.saturating_add(ahead_ms))
    }

    /// How many milliseconds a time (Unix milliseconds) is ahead of the clock, if that exceeds the tolerance.
    pub fn too_far_ahead(&self, time_ms: i64) -> Option<i64> {
        let ahead = time_ms.saturating_sub(self.now_ms);
        (ahead > self.tolerance_ms).then_some(ahead)
    }

    /// Creation time of a data folder: as claimed if that is believed, else as `known`, else now. A gateway repeats
    /// the claim with each stream, so a folder keeps the time at which it was first seen.
    pub fn created(&self, claimed_ms: i64, known: Option<i64>) -> i64 {
        if self.too_far_ahead(claimed_ms).is_none() {
            return claimed_ms;
        }
        known.filter(|known| self.too_far_ahead(*known).is_none()).unwrap_or(self.now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn claims_within_the_tolerance_are_believed() {
        let clock_bound = ClockBound::new(NOW, Duration::from_secs(600));
        for believed in [i64::MIN, 0, NOW, NOW + 600_000] {
            assert_eq!(clock_bound.too_far_ahead(believed), None);
            assert_eq!(
                clock_bound.created(believed, Some(5)),
                believed,
                "a believed claim replaces the known time"
            );
        }
        assert_eq!(clock_bound.too_far_ahead(NOW + 600_001), Some(600_001));
        assert!(clock_bound.too_far_ahead(i64::MAX).is_some());
        assert_eq!(ClockBound::new(i64::MIN, Duration::MAX).too_far_ahead(i64::MAX), None);
        assert_eq!(ClockBound::UNBOUNDED.too_far_ahead(i64::MAX), None);
    }

    #[test]
    fn a_folder_from_the_future_keeps_the_time_it_was_first_seen() {
        let far = NOW + 1_000_000_000_000;
        let at = |now| ClockBound::new(now, Duration::from_secs(600));
        assert_eq!(at(NOW).created(far, None), NOW);
        assert_eq!(at(NOW + 5_000).created(far, Some(NOW)), NOW);
        assert_eq!(at(NOW).created(far, Some(far)), NOW, "stored by a version that believed such claims");
    }
}
