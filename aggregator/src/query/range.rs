//! The windows of a query and their points.

use catchment_partial::{Timestamp, Width, Window};

use crate::store::Steps;

/// The windows that start in [from, to), in points. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// First start of a window.
    pub(super) from_ms: i64,
    /// Windows start before this time.
    pub(super) to_ms: i64,
    /// Where points begin.
    pub(super) steps: Steps,
}

impl Range {
    /// Start of the point for windows that start at this time, or the start of the range if it is one point.
    pub(super) fn point(&self, start_ms: i64) -> i64 {
        self.steps.start_of(start_ms).unwrap_or(self.from_ms)
    }

    /// The span of the windows of this width that belong to a point: those that start in it and in the range.
    pub(super) fn windows(&self, point_ms: i64, width: Width) -> (Timestamp, Timestamp) {
        let from_ms =
            self.steps.start_of(point_ms).map_or(self.from_ms, |start_ms| start_ms.max(self.from_ms));
        let to_ms = self.steps.end_of(point_ms).map_or(self.to_ms, |end_ms| end_ms.min(self.to_ms));
        // Both ends were checked by the plan, or lie between two that were.
        let first_start_from = |ms: i64| {
            let time = Timestamp::from_millis(ms).unwrap_or(Timestamp::MAX);
            Window::containing(time.saturating_sub_nanos(1), width).end()
        };
        (first_start_from(from_ms), first_start_from(to_ms))
    }

    /// The part of the range in which windows from `first_ms` to `last_ms` start.
    pub(super) fn overlap(&self, first_ms: i64, last_ms: i64) -> Option<Self> {
        let from_ms = self.from_ms.max(first_ms);
        let to_ms = self.to_ms.min(last_ms.saturating_add(1));
        (from_ms < to_ms).then(|| Self { from_ms, to_ms, steps: self.steps.clone() })
    }

    /// Number of points of the range; at least 1.
    pub(super) fn points(&self) -> u64 {
        self.steps.count(self.from_ms, self.to_ms)
    }

    /// The first so many points (at least one) of the range, and the rest of it.
    pub(super) fn split(&self, points: u64) -> (Self, Option<Self>) {
        let at = self.steps.after(self.from_ms, points.max(1)).filter(|at| *at < self.to_ms);
        let Some(at) = at else { return (self.clone(), None) };
        (Self { to_ms: at, ..self.clone() }, Some(Self { from_ms: at, ..self.clone() }))
    }

    /// The range as one point.
    pub(super) fn whole(&self) -> Self {
        Self { steps: Steps::Whole, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn every(from_ms: i64, to_ms: i64, step_ms: i64) -> Range {
        Range { from_ms, to_ms, steps: Steps::Every(step_ms) }
    }

    #[test]
    fn a_point_spans_the_windows_that_start_in_it() {
        let range = every(1_000, 61_000, 20_000);
        let ten = Width::from_millis(10_000).unwrap();
        let spans = |range: &Range, point_ms| {
            let (from, to) = range.windows(point_ms, ten);
            (from.as_millis(), to.as_millis())
        };
        assert_eq!(spans(&range, 0), (10_000, 20_000), "the first window starts before the range");
        assert_eq!(spans(&range, 20_000), (20_000, 40_000));
        assert_eq!(spans(&range, 60_000), (60_000, 70_000), "the last window ends after the range");
        assert_eq!(spans(&range.whole(), 1_000), (10_000, 70_000));
        let negative = every(-15_000, -10_000, 1).whole();
        assert_eq!(spans(&negative, -15_000), (-10_000, -10_000), "no window starts there");
        let days = Range { steps: Steps::At([0, 30_000, 90_000].into()), ..range };
        assert_eq!([0, 30_000].map(|point_ms| spans(&days, point_ms)), [(10_000, 30_000), (30_000, 70_000)]);
    }

    #[test]
    fn points_are_aligned_to_the_epoch() {
        let range = every(1_000, 61_000, 10_000);
        assert_eq!(range.point(1_000), 0);
        assert_eq!(range.point(9_999), 0);
        assert_eq!(range.point(10_000), 10_000);
        assert_eq!(range.point(-1), -10_000);
        assert_eq!(range.points(), 7);
        assert_eq!(every(0, 60_000, 10_000).points(), 6);
        let whole = range.whole();
        assert_eq!((whole.point(40_000), whole.points()), (1_000, 1));
    }

    #[test]
    fn only_the_overlap_with_windows_is_read() {
        let range = every(1_000, 61_000, 10_000);
        assert_eq!(range.overlap(-5_000, 20_000), Some(every(1_000, 20_001, 10_000)));
        assert_eq!(range.overlap(60_999, i64::MAX), Some(every(60_999, 61_000, 10_000)));
        assert_eq!(range.overlap(61_000, 90_000), None);
        assert_eq!(range.overlap(-5_000, 999), None);
    }

    #[test]
    fn the_limits_of_time_do_not_overflow() {
        let most = i64::MAX / 1_000_000;
        let range = every(-most, most, 10_000_000_000_000);
        assert_eq!(range.points(), 2);
        assert_eq!(range.split(4_096).1, None);
        let fine = every(-most, most, 1);
        assert_eq!(fine.points(), 2 * most as u64);
        assert_eq!(fine.split(u64::MAX).0.from_ms, -most);
    }

    fn steps() -> impl Strategy<Value = Steps> {
        prop_oneof![
            (1_i64..5_000).prop_map(Steps::Every),
            prop::collection::btree_set(-110_000_i64..160_000, 1..40)
                .prop_map(|starts| Steps::At(starts.into_iter().collect())),
        ]
    }

    proptest! {
        #[test]
        fn slices_cover_the_range_and_cut_no_point(
            from in -100_000_i64..100_000, length in 1_i64..50_000, steps in steps(), max in 1_u64..50,
        ) {
            let range = Range { from_ms: from, to_ms: from + length, steps };
            let (mut slices, mut rest) = (Vec::new(), Some(range.clone()));
            while let Some(range) = rest {
                let (first, more) = range.split(max);
                slices.push(first);
                rest = more;
            }
            prop_assert_eq!(slices.first().unwrap().from_ms, range.from_ms);
            prop_assert_eq!(slices.last().unwrap().to_ms, range.to_ms);
            for pair in slices.windows(2) {
                prop_assert_eq!(pair[0].to_ms, pair[1].from_ms);
                prop_assert_ne!(range.point(pair[0].to_ms - 1), range.point(pair[1].from_ms));
            }
            prop_assert!(slices.iter().all(|slice| slice.points() <= max));
            prop_assert_eq!(slices.iter().map(Range::points).sum::<u64>(), range.points());
        }
    }
}
