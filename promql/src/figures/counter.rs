//! Differences between the ends of a range.

use super::{Figures, Stamp, Summary};

/// The first and the last reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    count: f64,
    first: Stamp,
    last: Stamp,
}

impl Summary<Figures> for Ends {
    #[inline]
    fn of(pane: &Figures) -> Self {
        Self { count: pane.count, first: pane.first, last: pane.last }
    }

    #[inline]
    fn join(&mut self, later: &Self) {
        self.count += later.count;
        self.last = later.last;
    }
}

/// What is known of a counter. Joining is associative, but not commutative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    ends: Ends,
    pub(crate) correction: f64,
    pub(crate) resets: f64,
    pub(crate) changes: f64,
}

impl Summary<Figures> for Counter {
    #[inline]
    fn of(pane: &Figures) -> Self {
        Self { ends: Ends::of(pane), correction: pane.correction, resets: pane.resets, changes: pane.changes }
    }

    #[inline]
    fn join(&mut self, later: &Self) {
        let (before, after) = (self.ends.last.value, later.ends.first.value);
        self.correction += later.correction;
        self.resets += later.resets;
        self.changes += later.changes;
        if after < before {
            self.correction += before;
            self.resets += 1.0;
        }
        if after != before && !(after.is_nan() && before.is_nan()) {
            self.changes += 1.0;
        }
        self.ends.join(&later.ends);
    }
}

/// A difference that is extrapolated to the ends of its range, as Prometheus does from 2.52 on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extrapolation {
    ends: Ends,
    difference: f64,
    is_counter: bool,
}

impl From<Ends> for Extrapolation {
    fn from(ends: Ends) -> Self {
        Self { ends, difference: ends.last.value - ends.first.value, is_counter: false }
    }
}

impl From<Counter> for Extrapolation {
    fn from(Counter { ends, correction, .. }: Counter) -> Self {
        Self { ends, difference: ends.last.value - ends.first.value + correction, is_counter: true }
    }
}

impl Extrapolation {
    /// The difference over the range of samples after `start_ms` until `end_ms`; `None` with fewer than two readings.
    pub(crate) fn over(self, start_ms: i64, end_ms: i64) -> Option<f64> {
        self.factor(start_ms, end_ms).map(|factor| self.difference * factor)
    }

    /// The same by second of the range.
    pub(crate) fn rate(self, start_ms: i64, end_ms: i64) -> Option<f64> {
        let factor = self.factor(start_ms, end_ms)?;
        Some(self.difference * (factor / seconds(start_ms, end_ms)))
    }

    /// How much longer the range counts than the time between the readings.
    fn factor(self, start_ms: i64, end_ms: i64) -> Option<f64> {
        let Ends { count, first, last } = self.ends;
        if count < 2.0 {
            return None;
        }
        let sampled = seconds(first.sample_ms, last.sample_ms);
        if sampled == 0.0 {
            return Some(1.0);
        }
        let apart = sampled / (count - 1.0);
        // An end of the range that is nearer than this counts as reached; otherwise the series ends half a distance away.
        let near = apart * 1.1;
        let reached = |seconds: f64| if seconds >= near { apart / 2.0 } else { seconds };
        let mut before = reached(seconds(start_ms, first.sample_ms));
        if self.is_counter && self.difference > 0.0 && first.value >= 0.0 {
            // A counter was never less than zero.
            before = before.min(sampled * (first.value / self.difference));
        }
        let after = reached(seconds(last.sample_ms, end_ms));
        Some((sampled + before + after) / sampled)
    }
}

fn seconds(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1_000.0
}
