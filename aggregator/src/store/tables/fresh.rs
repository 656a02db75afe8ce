//! Rows of a series that memory holds, copied for a reader.

use std::ops::Range;

use catchment_partial::Timestamp;

use crate::store::{
    memtable::row::{PartialName, Revised, RowRef, resolve},
    tables::resolution::Resolution,
};

/// Rows and bytes that are kept of a long range, about: the first half of twice as many. Rows that start at one time are
/// kept together, however many they are.
const ROWS_KEPT: usize = if cfg!(test) { 200 } else { 16 << 10 };
const BYTES_KEPT: usize = if cfg!(test) { 32 << 10 } else { 4 << 20 };

/// A row without its series.
#[derive(Clone, Copy, Debug)]
struct FreshRow {
    name: PartialName,
    revision: u64,
    /// Where its body is.
    at: usize,
    length: usize,
    /// The tables hold it too.
    is_repeat: bool,
}

impl Revised for FreshRow {
    fn place(&self) -> (u32, &PartialName) {
        (0, &self.name)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

/// Rows of one series in order of their names, each once: those that start before a time, which moves back when there are
/// too many.
#[derive(Debug)]
pub(in crate::store) struct FreshRows {
    rows: Vec<FreshRow>,
    bodies: Vec<u8>,
    to: Timestamp,
    /// Rows and bytes at which the later half is dropped.
    most: (usize, usize),
}

impl FreshRows {
    /// None yet of those that start before a time.
    pub(in crate::store) fn new(to: Timestamp) -> Self {
        Self { rows: Vec::new(), bodies: Vec::new(), to, most: (2 * ROWS_KEPT, 2 * BYTES_KEPT) }
    }

    /// Where they end.
    pub(in crate::store) fn to(&self) -> Timestamp {
        self.to
    }

    /// Adds a row, unless it starts too late; call [`FreshRows::resolve`] after the last one.
    pub(in crate::store) fn push(&mut self, name: PartialName, revision: u64, body: &[u8]) {
        if name.start >= self.to {
            return;
        }
        let at = self.bodies.len();
        self.rows.push(FreshRow { name, revision, at, length: body.len(), is_repeat: false });
        self.bodies.extend_from_slice(body);
        if self.rows.len() >= self.most.0 || self.bodies.len() >= self.most.1 {
            self.halve();
        }
    }

    /// Drops the later half, if it starts later.
    fn halve(&mut self) {
        let half = self.rows.len() / 2;
        let least = self.rows.iter().map(|row| row.name.start).min();
        if let Some(least) = least {
            let (_, middle, _) = self.rows.select_nth_unstable_by_key(half, |row| row.name.start);
            let to = middle.name.start.max(least.saturating_add_nanos(1));
            self.cut(to);
        }
        // Dropped or not, as many come before this is tried again.
        let (rows, bytes) = (2 * self.rows.len(), 2 * self.bodies.len());
        self.most = (rows.max(2 * ROWS_KEPT), bytes.max(2 * BYTES_KEPT));
    }

    /// Drops the rows from a time on.
    fn cut(&mut self, to: Timestamp) {
        self.to = self.to.min(to);
        self.rows.retain(|row| row.name.start < to);
        let mut bodies = Vec::with_capacity(self.rows.iter().map(|row| row.length).sum());
        for row in &mut self.rows {
            let at = bodies.len();
            bodies.extend_from_slice(self.bodies.get(row.at..row.at + row.length).unwrap_or_default());
            row.at = at;
        }
        self.bodies = bodies;
    }

    /// Sorts the rows and keeps the highest revision of each name.
    pub(in crate::store) fn resolve(&mut self) {
        resolve(&mut self.rows);
    }

    /// Ends sorted rows where an interval begins, the longest one that leaves half of them: what starts before it and
    /// after it can be read as merged rows then. `finest`: what is kept where they end. Within an interval of that they do
    /// not end if any interval before it has rows, since a flush puts all of its rows into one.
    pub(in crate::store) fn align(&mut self, finest: Resolution) {
        let Some(first) = self.rows.first().map(|row| row.name.start) else { return };
        for resolution in [Resolution::Day, Resolution::Hour, Resolution::Minute] {
            let start = resolution.start_of(self.to);
            let before = self.rows.partition_point(|row| row.name.start < start);
            if start > first && (2 * before >= self.rows.len() || resolution == finest) {
                return self.cut(start);
            }
            if resolution == finest {
                return;
            }
        }
    }

    /// Notes that the tables hold a row too.
    pub(in crate::store) fn set_repeat(&mut self, place: usize) {
        self.rows.get_mut(place).into_iter().for_each(|row| row.is_repeat = true);
    }

    /// Drops the rows that the tables hold too.
    pub(in crate::store) fn drop_repeats(&mut self) {
        self.rows.retain(|row| !row.is_repeat);
    }

    /// Number of rows.
    #[cfg(test)]
    pub(in crate::store) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The places of sorted rows that start in [from, to).
    pub(in crate::store) fn range(&self, from: Timestamp, to: Timestamp) -> Range<usize> {
        let first = self.rows.partition_point(|row| row.name.start < from);
        first..self.rows.partition_point(|row| row.name.start < to).max(first)
    }

    /// Name and revision of a row.
    pub(in crate::store) fn name(&self, place: usize) -> Option<(&PartialName, u64)> {
        self.rows.get(place).map(|row| (&row.name, row.revision))
    }

    /// A row, as one of this series.
    pub(in crate::store) fn row(&self, series: u32, place: usize) -> Option<RowRef<'_>> {
        let row = self.rows.get(place)?;
        let body = self.bodies.get(row.at..row.at + row.length).unwrap_or_default();
        Some(RowRef { series, name: row.name, revision: row.revision, body })
    }

    /// Memory, bytes.
    pub(in crate::store) fn memory(&self) -> usize {
        self.rows.capacity() * size_of::<FreshRow>() + self.bodies.capacity()
    }
}

#[cfg(test)]
mod tests {
    use catchment_partial::Width;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_end_within_no_interval_of_what_is_kept_there_if_another_one_is_before() {
        let at = |second: i64| Timestamp::from_millis(second * 1_000).unwrap();
        let aligned = |from: i64, finest| {
            let mut rows = FreshRows::new(at(from + 4_080));
            for second in (from..from + 4_080).step_by(20) {
                let width = Width::from_millis(1_000).unwrap();
                rows.push(PartialName { start: at(second), width, epoch: 0, shard: 0, part: 1 }, 1, &[]);
            }
            rows.resolve();
            rows.align(finest);
            rows.to()
        };
        // From 10:40 to 11:48.
        let from = 10 * 3_600 + 2_400;
        assert_eq!(
            aligned(from, Resolution::Windows),
            at(11 * 3_600 + 2_880),
            "the minute leaves half of them"
        );
        assert_eq!(aligned(from, Resolution::Hour), at(11 * 3_600));
        assert_eq!(aligned(from, Resolution::Day), at(from + 4_080), "one day holds them all");
        assert_eq!(aligned(86_400 - 60, Resolution::Day), at(86_400));
    }

    proptest! {
        #[test]
        fn the_first_of_many_rows_are_kept_and_rows_of_one_time_together(
            starts in prop::collection::vec(prop_oneof![0..2_000_i64, Just(7), 0..2_000_000_i64], 0..3_000),
            bytes in 0..200_usize,
        ) {
            let at = |second: i64| Timestamp::from_millis(second * 1_000).unwrap();
            let end = at(1_900_000);
            let mut rows = FreshRows::new(end);
            for (part, second) in starts.iter().enumerate() {
                let width = Width::from_millis(1_000).unwrap();
                let name = PartialName { start: at(*second), width, epoch: 0, shard: 0, part: part as u64 };
                rows.push(name, 1, &vec![*second as u8; bytes]);
            }
            rows.resolve();
            if rows.to() < end {
                rows.align(Resolution::Windows);
            }
            let mut expected: Vec<i64> = starts.iter().copied().filter(|second| at(*second) < rows.to()).collect();
            expected.sort_unstable();
            let found: Vec<i64> = (0..rows.len()).map(|place| {
                let row = rows.row(3, place).unwrap();
                assert!(row.body == vec![(row.name.start.as_millis() / 1_000) as u8; bytes]);
                row.name.start.as_millis() / 1_000
            }).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert!(rows.to() == end || !found.is_empty(), "a reader comes forward");
            let of_one_time = |second| starts.iter().filter(|other| *other == second).count();
            let at_once = starts.iter().map(of_one_time).max().unwrap_or(0);
            prop_assert!(found.len() <= 2 * ROWS_KEPT.max(at_once));
        }
    }
}
