//! Late corrections and refused readings of a gateway, by hour. Pure.
//!
//! Bounded: beyond the bound, the two oldest spans of one day become one, so that of what is long ago the day stays; when
//! there are only days, the two oldest become one. A span that a range cuts counts whole.

/// Length of an hour, milliseconds, and hours of a day.
const HOUR_MS: i64 = 3_600_000;
const DAY_HOURS: i64 = 24;
/// Hours beyond this distance from the Unix epoch, 100 million years, are counted as that one.
const HOUR_MAX: i64 = 1 << 40;
/// Most spans of one gateway, and fewest if there are many gateways: some 42 days of hours, then days.
const SPANS_MAX: usize = 1_024;
const SPANS_MIN: usize = 32;
/// Most spans of all gateways together, unless there are very many gateways.
const SPANS_TOTAL: usize = 1 << 20;

/// Late corrections and refused readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateAndRefused {
    /// Windows that were corrected after their gateway had delivered them as complete, by the window's start.
    pub late: u64,
    /// Readings that the gateway refused and reported, by its clock.
    pub refused: u64,
}

impl LateAndRefused {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.late = self.late.saturating_add(other.late);
        self.refused = self.refused.saturating_add(other.refused);
    }
}

/// Late corrections and refused readings by hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HourlyCounts {
    /// In order of time, without overlap.
    spans: Vec<Span>,
}

/// The counts of some hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Span {
    /// First hour, in hours since the Unix epoch.
    pub(in crate::store) from: i64,
    /// The hour after the last.
    pub(in crate::store) to: i64,
    pub(in crate::store) counts: LateAndRefused,
}

/// The hour of a time in Unix milliseconds.
pub fn hour_of(time_ms: i64) -> i64 {
    time_ms.div_euclid(HOUR_MS)
}

/// Most spans of each of this many gateways.
pub(in crate::store) fn spans_max(gateways: usize) -> usize {
    (SPANS_TOTAL / gateways.max(1)).clamp(SPANS_MIN, SPANS_MAX)
}

impl HourlyCounts {
    /// Restores spans; `None` if they overlap or are out of order.
    pub(in crate::store) fn restore(spans: Vec<Span>) -> Option<Self> {
        let ordered = spans.iter().all(|span| span.from < span.to)
            && spans.is_sorted_by(|earlier, later| earlier.to <= later.from);
        ordered.then_some(Self { spans })
    }

    /// The spans.
    pub(in crate::store) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Adds counts of an hour; keeps at most `spans_max` spans.
    pub fn add(&mut self, hour: i64, counts: LateAndRefused, spans_max: usize) {
        let hour = hour.clamp(-HOUR_MAX, HOUR_MAX);
        let at = self.spans.partition_point(|span| span.to <= hour);
        match self.spans.get_mut(at).filter(|span| span.from <= hour) {
            Some(span) => span.counts.add(counts),
            None => self.spans.insert(at, Span { from: hour, to: hour + 1, counts }),
        }
        while self.spans.len() > spans_max.max(1) {
            self.merge_oldest();
        }
    }

    /// The counts of the hours that a range, in Unix milliseconds, touches.
    pub fn within(&self, from_ms: i64, to_ms: i64) -> LateAndRefused {
        let (from, to) = (hour_of(from_ms), hour_of(to_ms.saturating_sub(1)).saturating_add(1));
        let first = self.spans.partition_point(|span| span.to <= from);
        let touched = self.spans.iter().skip(first).take_while(|span| span.from < to);
        touched.fold(LateAndRefused::default(), |mut sum, span| {
            sum.add(span.counts);
            sum
        })
    }

    /// Whether there are hours before a time in Unix milliseconds.
    pub(in crate::store) fn begins_before(&self, time_ms: i64) -> bool {
        self.spans.first().is_some_and(|span| span.to <= hour_of(time_ms))
    }

    /// Forgets hours before a time in Unix milliseconds.
    pub(in crate::store) fn forget_before(&mut self, time_ms: i64) {
        self.spans.retain(|span| span.to > hour_of(time_ms));
    }

    fn merge_oldest(&mut self) {
        let of_one_day = |pair: &[Span]| match pair {
            [a, b] => a.from.div_euclid(DAY_HOURS) == (b.to - 1).div_euclid(DAY_HOURS),
            _ => false,
        };
        let first = self.spans.windows(2).position(of_one_day).unwrap_or(0);
        if first + 1 >= self.spans.len() {
            return;
        }
        let later = self.spans.remove(first + 1);
        if let Some(span) = self.spans.get_mut(first) {
            span.to = later.to;
            span.counts.add(later.counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn late(late: u64) -> LateAndRefused {
        LateAndRefused { late, refused: 0 }
    }

    #[test]
    fn hours_that_a_range_cuts_count_whole() {
        let mut counts = HourlyCounts::default();
        counts.add(10, late(3), 9);
        counts.add(12, LateAndRefused { late: 1, refused: 5 }, 9);
        counts.add(10, late(1), 9);
        let within = |from_ms, to_ms| counts.within(from_ms, to_ms);
        assert_eq!(within(10 * HOUR_MS + 1, 10 * HOUR_MS + 2), late(4));
        assert_eq!(within(0, 10 * HOUR_MS), late(0), "the end is exclusive");
        assert_eq!(within(i64::MIN, i64::MAX), LateAndRefused { late: 5, refused: 5 });
        assert_eq!(within(11 * HOUR_MS, 13 * HOUR_MS), LateAndRefused { late: 1, refused: 5 });
    }

    #[test]
    fn the_oldest_hours_become_days() {
        let mut counts = HourlyCounts::default();
        for hour in 0..60 {
            counts.add(hour, late(1), 20);
        }
        let spans: Vec<_> = counts.spans().iter().map(|span| (span.from, span.to)).collect();
        assert_eq!((spans.len(), spans[0], spans[1].0), (20, (0, 24), 24));
        assert_eq!(spans[19], (59, 60), "of the latest, hours stay");
        assert_eq!(counts.within(5 * HOUR_MS, 6 * HOUR_MS), late(24));
        for hour in [i64::MIN, i64::MAX, -7, 1 << 50] {
            counts.add(hour, late(1), 20);
        }
        assert_eq!(counts.within(i64::MIN, i64::MAX), late(64));
        counts.forget_before(24 * HOUR_MS);
        assert!(!counts.begins_before(24 * HOUR_MS) && counts.begins_before(i64::MAX));
        assert_eq!(HourlyCounts::restore(counts.spans().to_vec()), Some(counts));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_counted_in_the_wrong_place(
            added in prop::collection::vec((0..2_000_i64, 0..9_u64), 0..200), max in 1..100_usize,
            from in 0..2_000_i64, hours in 0..500_i64,
        ) {
            let (mut counts, mut model) = (HourlyCounts::default(), BTreeMap::<i64, u64>::new());
            for (hour, number) in added {
                counts.add(hour, late(number), max);
                *model.entry(hour).or_default() += number;
            }
            prop_assert!(counts.spans().len() <= max);
            prop_assert!(HourlyCounts::restore(counts.spans().to_vec()).is_some());
            let exact: u64 = model.range(from..from + hours).map(|(_, number)| number).sum();
            let found = counts.within(from * HOUR_MS, (from + hours) * HOUR_MS).late;
            prop_assert!(found >= exact, "{found} of {exact}");
            prop_assert_eq!(counts.within(i64::MIN, i64::MAX).late, model.values().sum::<u64>());
            if model.len() <= max {
                prop_assert_eq!(found, exact);
            }
        }
    }
}
