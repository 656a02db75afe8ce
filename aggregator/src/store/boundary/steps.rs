//! Where the points of a query begin. Pure.

use std::sync::Arc;

use catchment_partial::Timestamp;

/// Where points begin; each lasts until the next one. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steps {
    /// One point for everything.
    Whole,
    /// At each multiple of so many milliseconds since the Unix epoch; at least 1.
    Every(i64),
    /// At each of these times, sorted, each once. The first point holds what is before it too, the last one all that
    /// follows.
    At(Arc<[i64]>),
}

impl Steps {
    /// Start of the point that holds this time; `None`: there is one point, which has none.
    pub fn start_of(&self, ms: i64) -> Option<i64> {
        match self {
            Self::Whole => None,
            // Times and steps are bounded far below where this would saturate.
            Self::Every(step) => Some(ms.div_euclid(*step).saturating_mul(*step)),
            Self::At(starts) => starts.get(place(starts, ms)).copied(),
        }
    }

    /// End of the point that holds this time: the start of the next one. `None`: there is none.
    pub fn end_of(&self, ms: i64) -> Option<i64> {
        match self {
            Self::Whole => None,
            Self::Every(step) => Some(ms.div_euclid(*step).saturating_add(1).saturating_mul(*step)),
            Self::At(starts) => starts.get(place(starts, ms) + 1).copied(),
        }
    }

    /// Number of points of the times in `[from_ms, to_ms)`, which must not be empty; at least 1.
    pub fn count(&self, from_ms: i64, to_ms: i64) -> u64 {
        let last = to_ms.saturating_sub(1);
        match self {
            Self::Whole => 1,
            Self::Every(step) => last.div_euclid(*step).abs_diff(from_ms.div_euclid(*step)).saturating_add(1),
            Self::At(starts) => (place(starts, last).saturating_sub(place(starts, from_ms)) + 1) as u64,
        }
    }

    /// Start of the point that comes so many (at least one) after the one that holds this time; `None`: there is none.
    pub fn after(&self, ms: i64, points: u64) -> Option<i64> {
        match self {
            Self::Whole => None,
            Self::Every(step) => {
                let points = i64::try_from(points).unwrap_or(i64::MAX);
                Some(ms.div_euclid(*step).saturating_mul(*step).saturating_add(step.saturating_mul(points)))
            }
            Self::At(starts) => {
                starts.get(place(starts, ms).saturating_add(usize::try_from(points).ok()?)).copied()
            }
        }
    }

    /// Whether a point begins within `[from, to)`, later than at `from`: such a span belongs to no single point.
    pub fn divide(&self, from: Timestamp, to: Timestamp) -> bool {
        let end = self.end_of(from.as_millis()).and_then(Timestamp::from_millis);
        end.is_some_and(|end| from < end && end < to)
    }

    /// The listed starts in `[from, to)`, in order; none of steps without a list.
    pub(in crate::store) fn listed(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = Timestamp> + '_ {
        let starts: &[i64] = match self {
            Self::At(starts) => starts,
            Self::Whole | Self::Every(_) => &[],
        };
        let first = starts.partition_point(|start| *start < from.as_millis());
        let rest = starts.get(first..).unwrap_or_default().iter();
        let times = rest.filter_map(|start| Timestamp::from_millis(*start));
        times.skip_while(move |start| *start < from).take_while(move |start| *start < to)
    }
}

/// Place of the last start at or before a time, or of the first one.
fn place(starts: &[i64], ms: i64) -> usize {
    starts.partition_point(|start| *start <= ms).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_a_list_last_until_the_next_one() {
        let steps = Steps::At([10, 20, 50].into());
        let starts = |steps: &Steps, times: &[i64]| -> Vec<Option<i64>> {
            times.iter().map(|ms| steps.start_of(*ms)).collect()
        };
        assert_eq!(starts(&steps, &[5, 10, 19, 20, 49, 50, 999]), [10, 10, 10, 20, 20, 50, 50].map(Some));
        assert_eq!([5, 10, 20, 50].map(|ms| steps.end_of(ms)), [Some(20), Some(20), Some(50), None]);
        assert_eq!(
            [(10, 11), (10, 21), (19, 51), (60, 70)].map(|(from, to)| steps.count(from, to)),
            [1, 2, 3, 1]
        );
        assert_eq!(
            [1, 2, 3, u64::MAX].map(|points| steps.after(12, points)),
            [Some(20), Some(50), None, None]
        );
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let divided =
            [(10, 20), (10, 21), (15, 60), (20, 50), (50, 900)].map(|(a, b)| steps.divide(at(a), at(b)));
        assert_eq!(divided, [false, true, true, false, false]);
        assert_eq!(steps.listed(at(10), at(50)).map(|time| time.as_millis()).collect::<Vec<_>>(), [10, 20]);
    }

    #[test]
    fn a_list_of_multiples_is_like_a_width() {
        let (list, every) = (Steps::At((-20..20).map(|n| n * 7).collect()), Steps::Every(7));
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        for from in -100..100 {
            assert_eq!((list.start_of(from), list.end_of(from)), (every.start_of(from), every.end_of(from)));
            for to in from + 1..from + 20 {
                assert_eq!(list.count(from, to), every.count(from, to));
                assert_eq!(list.divide(at(from), at(to)), every.divide(at(from), at(to)));
            }
            assert_eq!(list.after(from, 3), every.after(from, 3));
        }
    }
}
