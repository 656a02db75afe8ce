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
        self.add_all(vec![(hour, counts)], spans_max);
    }

    /// Adds counts of hours, in any order; keeps at most `spans_max` spans. A batch may correct windows of as many hours
    /// as it has entries: they are sorted, and the spans are walked once for all of them.
    pub(in crate::store) fn add_all(&mut self, mut hours: Vec<(i64, LateAndRefused)>, spans_max: usize) {
        hours.iter_mut().for_each(|(hour, _)| *hour = (*hour).clamp(-HOUR_MAX, HOUR_MAX));
        hours.sort_unstable_by_key(|(hour, _)| *hour);
        let mut spans: Vec<Span> = Vec::with_capacity(self.spans.len());
        let mut hours = hours.into_iter().peekable();
        for mut span in std::mem::take(&mut self.spans) {
            while let Some((hour, counts)) = hours.next_if(|(hour, _)| *hour < span.from) {
                push_hour(&mut spans, hour, counts);
            }
            while let Some((_, counts)) = hours.next_if(|(hour, _)| *hour < span.to) {
                span.counts.add(counts);
            }
            spans.push(span);
        }
        hours.for_each(|(hour, counts)| push_hour(&mut spans, hour, counts));
        #[cfg(test)]
        tests::note_walk(spans.len());
        self.spans = shortened(spans, spans_max.max(1));
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
}

/// Adds counts of an hour that is not before the last of these spans.
fn push_hour(spans: &mut Vec<Span>, hour: i64, counts: LateAndRefused) {
    match spans.last_mut().filter(|span| hour < span.to) {
        Some(span) => span.counts.add(counts),
        None => spans.push(Span { from: hour, to: hour + 1, counts }),
    }
}

/// At most `spans_max` spans: the oldest hours of one day become one, and then the oldest of all.
fn shortened(spans: Vec<Span>, spans_max: usize) -> Vec<Span> {
    let mut excess = spans.len().saturating_sub(spans_max);
    if excess == 0 {
        return spans;
    }
    let merge = |span: &mut Span, later: Span| {
        span.to = later.to;
        span.counts.add(later.counts);
    };
    let of_one_day = |a: &Span, b: &Span| a.from.div_euclid(DAY_HOURS) == (b.to - 1).div_euclid(DAY_HOURS);
    let mut days: Vec<Span> = Vec::with_capacity(spans.len());
    for later in spans {
        match days.last_mut().filter(|span| excess > 0 && of_one_day(span, &later)) {
            Some(span) => {
                merge(span, later);
                excess -= 1;
            }
            None => days.push(later),
        }
    }
    let rest = days.split_off((excess + 1).min(days.len()));
    let oldest = days.into_iter().reduce(|mut span, later| {
        merge(&mut span, later);
        span
    });
    oldest.into_iter().chain(rest).collect()
}

#[cfg(test)]
pub(in crate::store) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static WALKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// Notes that this thread has walked so many spans.
    pub(super) fn note_walk(spans: usize) {
        WALKED.set(WALKED.get() + spans);
    }

    /// Spans that this thread has walked since the last call.
    pub(in crate::store) fn walked() -> usize {
        WALKED.take()
    }

    fn late(late: u64) -> LateAndRefused {
        LateAndRefused { late, refused: 0 }
    }

    /// The two oldest spans of one day become one, else the two oldest.
    fn merge_oldest(spans: &mut Vec<Span>) {
        let of_one_day =
            |pair: &[Span]| pair[0].from.div_euclid(DAY_HOURS) == (pair[1].to - 1).div_euclid(DAY_HOURS);
        let first = spans.windows(2).position(of_one_day).unwrap_or(0);
        let later = spans.remove(first + 1);
        spans[first].to = later.to;
        spans[first].counts.add(later.counts);
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
        fn many_hours_at_once_become_what_merging_one_by_one_makes_of_them(
            first in prop::collection::vec((-50..500_i64, 1..9_u64), 0..100),
            then in prop::collection::vec((-50..500_i64, 1..9_u64), 0..100),
            max in 1..60_usize,
        ) {
            let of = |hours: Vec<(i64, u64)>| hours.into_iter().map(|(hour, n)| (hour, late(n))).collect();
            let mut counts = HourlyCounts::default();
            counts.add_all(of(first), max);
            let mut expected = counts.clone();
            expected.add_all(of(then.clone()), usize::MAX);
            while expected.spans.len() > max {
                merge_oldest(&mut expected.spans);
            }
            counts.add_all(of(then), max);
            prop_assert_eq!(counts, expected);
        }

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
