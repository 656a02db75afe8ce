//! The points that have changed since they were sent: disjoint ranges of whole points, by group.

use std::collections::BTreeMap;

/// A range of points of a group: those that start in [from, to), Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirtyRange {
    pub(super) group: u32,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// Dirty ranges.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// By group and start, each with its end; ranges of a group neither overlap nor touch.
    ranges: BTreeMap<(u32, i64), i64>,
}

impl Dirty {
    /// Adds a range; returns the part of it that was dirty already, from its first to its last such point.
    pub(super) fn add(&mut self, range: DirtyRange) -> Option<(i64, i64)> {
        let DirtyRange { group, mut from_ms, mut to_ms } = range;
        if from_ms >= to_ms {
            return None;
        }
        let mut merged: Option<(i64, i64)> = None;
        // Backwards, from the last range that begins within it or at its end.
        while let Some((&(of, start), &end)) = self.ranges.range(..=(group, to_ms)).next_back()
            && of == group
            && end >= from_ms
        {
            let overlap = (start.max(range.from_ms), end.min(range.to_ms));
            if overlap.0 < overlap.1 {
                merged =
                    Some(merged.map_or(overlap, |known| (overlap.0.min(known.0), overlap.1.max(known.1))));
            }
            if start <= from_ms && end >= to_ms {
                return merged;
            }
            self.ranges.remove(&(group, start));
            (from_ms, to_ms) = (from_ms.min(start), to_ms.max(end));
        }
        self.ranges.insert((group, from_ms), to_ms);
        merged
    }

    /// Number of ranges.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// From the first start to the last end over all groups.
    pub(super) fn hull(&self) -> Option<(i64, i64)> {
        let from_ms = self.ranges.keys().map(|(_, from_ms)| *from_ms).min()?;
        Some((from_ms, self.ranges.values().copied().max()?))
    }

    /// Takes all ranges, by group and time.
    pub(super) fn take(&mut self) -> impl Iterator<Item = DirtyRange> {
        let taken = std::mem::take(&mut self.ranges);
        taken.into_iter().map(|((group, from_ms), to_ms)| DirtyRange { group, from_ms, to_ms })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(group: u32, from_ms: i64, to_ms: i64) -> DirtyRange {
        DirtyRange { group, from_ms, to_ms }
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut dirty = Dirty::default();
        assert_eq!(dirty.add(range(1, 0, 10)), None);
        assert_eq!(dirty.add(range(1, 20, 30)), None);
        assert_eq!(dirty.add(range(2, 10, 20)), None);
        assert_eq!(dirty.len(), 3);
        assert_eq!(dirty.add(range(1, 10, 20)), None);
        assert_eq!((dirty.len(), dirty.hull()), (2, Some((0, 30))));
        assert_eq!(dirty.add(range(1, 5, 40)), Some((5, 30)));
        let taken: Vec<_> = dirty.take().collect();
        assert_eq!(taken, [range(1, 0, 40), range(2, 10, 20)]);
        assert!(dirty.is_empty() && dirty.hull().is_none());
    }

    proptest! {
        #[test]
        fn a_set_of_points_has_the_same_points(
            added in prop::collection::vec((0_u32..3, 0_i64..40, 0_i64..6), 0..40),
        ) {
            let (mut dirty, mut model) = (Dirty::default(), BTreeSet::new());
            for (group, from, length) in added {
                let points: BTreeSet<_> = (from..from + length).map(|point| (group, point)).collect();
                let known: BTreeSet<_> = points.intersection(&model).map(|(_, point)| *point).collect();
                let merged = dirty.add(range(group, from, from + length));
                let hull = known.first().zip(known.last()).map(|(first, last)| (*first, last + 1));
                prop_assert_eq!(merged, hull);
                model.extend(points);
            }
            let taken: Vec<_> = dirty.take().collect();
            for pair in taken.windows(2) {
                prop_assert!(pair[0].group < pair[1].group || pair[0].to_ms < pair[1].from_ms);
            }
            let points = taken.iter().flat_map(|of| (of.from_ms..of.to_ms).map(|point| (of.group, point)));
            prop_assert_eq!(points.collect::<BTreeSet<_>>(), model);
        }
    }
}
