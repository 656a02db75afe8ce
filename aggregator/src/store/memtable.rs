//! The memtable: final windows that the journal holds, and that the blocks may not hold yet.
//!
//! There is one append-only log of rows per group of series, in order of arrival, so an insert needs no search. Each
//! series lists its rows in runs of [`RUN_ROWS`], with the least and greatest start of each run, so a reader looks only at
//! runs that may hold what it wants. A name may occur more than once; readers and the flusher resolve that ([`crate::store::memtable::row::resolve`]). The flusher makes
//! the log of a group immutable: readers still see it, new rows go to a new log, and the immutable log is dropped as
//! a whole after the flush.

pub(in crate::store) mod live;
pub(in crate::store) mod lookup;
pub(in crate::store) mod row;
pub(in crate::store) mod scan;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use catchment_partial::Timestamp;

use crate::store::{
    catalog::groups::{GROUP_SERIES, group_of},
    memtable::row::{PartialName, RowRef},
};

/// Memory of a row without its body, bytes: name, revision, location, its place in the list of its series, and a third
/// for growth.
pub(in crate::store) const ROW_OVERHEAD: usize = 82;
/// Rows of a series whose least and greatest start are known.
const RUN_ROWS: usize = 64;
/// A log with fewer rows is walked: lists of the rows of very many series with a few each cost more than they save.
const LISTED_FROM: usize = if cfg!(test) { 100 } else { 1_024 };

/// A row without its body.
#[derive(Clone, Copy, Debug)]
struct RowHeader {
    name: PartialName,
    revision: u64,
    /// Offset of its body.
    at: usize,
    length: u32,
    series: u32,
}

/// The rows of one series of a log, in order of arrival.
#[derive(Debug, Default)]
struct SeriesRows {
    /// Indices of the rows.
    rows: Vec<u32>,
    /// Least and greatest start of each run of [`RUN_ROWS`] rows.
    runs: Vec<(Timestamp, Timestamp)>,
}

impl SeriesRows {
    fn push(&mut self, row: u32, start: Timestamp) {
        if self.rows.len().is_multiple_of(RUN_ROWS) {
            self.runs.push((start, start));
        } else if let Some(run) = self.runs.last_mut() {
            *run = (run.0.min(start), run.1.max(start));
        }
        self.rows.push(row);
    }

    /// Least and greatest start of each run, and its rows.
    fn all_runs(&self) -> impl Iterator<Item = ((Timestamp, Timestamp), &[u32])> {
        self.runs.iter().copied().zip(self.rows.chunks(RUN_ROWS))
    }

    /// Runs that may hold rows which start in [from, to).
    fn runs(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &[u32]> {
        let runs = self.all_runs().filter(move |((least, greatest), _)| *least < to && from <= *greatest);
        runs.map(|(_, rows)| rows)
    }
}

/// The windows of a group, in order of arrival.
#[derive(Debug, Default)]
pub(in crate::store) struct RowLog {
    rows: Vec<RowHeader>,
    bodies: Vec<u8>,
    /// By index of the series in its group; empty below [`LISTED_FROM`] rows.
    series: Vec<SeriesRows>,
}

impl RowLog {
    /// A log of these rows.
    pub(in crate::store) fn of<'a>(rows: impl Iterator<Item = RowRef<'a>>) -> Self {
        let mut log = Self::default();
        rows.for_each(|row| log.push(row.series, row.name, row.revision, row.body));
        log
    }

    fn push(&mut self, series: u32, name: PartialName, revision: u64, body: &[u8]) {
        let at = self.bodies.len();
        self.bodies.extend_from_slice(body);
        self.rows.push(RowHeader { name, revision, at, length: body.len() as u32, series });
        match self.rows.len() {
            ..LISTED_FROM => {}
            LISTED_FROM => (0..LISTED_FROM).for_each(|row| self.list(row)),
            rows => self.list(rows - 1),
        }
    }

    /// Adds a row to the list of its series.
    fn list(&mut self, row: usize) {
        let Some(header) = self.rows.get(row) else { return };
        let place = (header.series % GROUP_SERIES) as usize;
        if self.series.len() <= place {
            self.series.resize_with(place + 1, SeriesRows::default);
        }
        if let Some(rows) = self.series.get_mut(place) {
            // Bounded by memory: four billion rows take 300 GiB.
            rows.push(row as u32, header.name.start);
        }
    }

    /// The rows that must be walked, because they are not listed.
    fn unlisted(&self) -> &[RowHeader] {
        if self.series.is_empty() { &self.rows } else { &[] }
    }

    fn rows_of(&self, series: u32) -> Option<&SeriesRows> {
        self.series.get((series % GROUP_SERIES) as usize)
    }

    /// Rows of a series that start in [from, to).
    fn between(&self, series: u32, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &RowHeader> {
        let runs = self.rows_of(series).into_iter().flat_map(move |rows| rows.runs(from, to));
        let rows = runs.flatten().filter_map(|row| self.rows.get(*row as usize));
        let unlisted = self.unlisted().iter().filter(move |header| header.series == series);
        rows.chain(unlisted).filter(move |header| from <= header.name.start && header.name.start < to)
    }

    fn bytes(&self) -> usize {
        self.rows.len() * ROW_OVERHEAD + self.bodies.len()
    }

    fn row(&self, header: &RowHeader) -> RowRef<'_> {
        let body = self.bodies.get(header.at..header.at + header.length as usize).unwrap_or_default();
        RowRef { series: header.series, name: header.name, revision: header.revision, body }
    }

    /// All rows.
    pub(in crate::store) fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.rows.iter().map(|header| self.row(header))
    }

    /// The rows of a series that start in [from, to), in order of arrival.
    pub(in crate::store) fn rows_between(
        &self,
        series: u32,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = RowRef<'_>> {
        self.between(series, from, to).map(|header| self.row(header))
    }

    /// Starts of the windows of all rows.
    pub(in crate::store) fn starts(&self) -> impl Iterator<Item = Timestamp> {
        self.rows.iter().map(|header| header.name.start)
    }

    /// Number of rows.
    pub(in crate::store) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Final windows in memory, by group of series.
#[derive(Debug, Default)]
pub(in crate::store) struct Memtable {
    /// By number of the group.
    groups: Vec<RowLog>,
    /// Logs that are being flushed; more than one of a group after a flush that found no space.
    immutable: BTreeMap<u32, Vec<Arc<RowLog>>>,
    bytes: usize,
    rows: usize,
    /// Rows that are not being flushed, and groups that have any.
    unfrozen: (usize, usize),
    /// How often rows were removed.
    removals: u64,
}

impl Memtable {
    /// Adds a row.
    pub(in crate::store) fn put(&mut self, series: u32, name: PartialName, revision: u64, body: &[u8]) {
        let group = group_of(series) as usize;
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, RowLog::default);
        }
        if let Some(log) = self.groups.get_mut(group) {
            let first = log.rows.is_empty();
            log.push(series, name, revision, body);
            self.bytes += ROW_OVERHEAD + body.len();
            self.rows += 1;
            self.unfrozen = (self.unfrozen.0 + 1, self.unfrozen.1 + usize::from(first));
        }
    }

    fn logs(&self, group: u32) -> impl Iterator<Item = &RowLog> {
        let immutable = self.immutable.get(&group).into_iter().flatten().map(|log| &**log);
        immutable.chain(self.groups.get(group as usize))
    }

    /// Drops the windows of a series that end at or before a time; returns the number of names. The immutable log
    /// stays unchanged.
    pub(in crate::store) fn drop_before(&mut self, series: u32, before: Timestamp) -> u64 {
        let Some(log) = self.groups.get_mut(group_of(series) as usize) else { return 0 };
        let mut gone = HashSet::new();
        let mut kept = RowLog::default();
        for row in log.rows() {
            if row.series == series && row.name.window().end() <= before {
                gone.insert(row.name);
            } else {
                kept.push(row.series, row.name, row.revision, row.body);
            }
        }
        if !gone.is_empty() {
            self.bytes = (self.bytes + kept.bytes()).saturating_sub(log.bytes());
            self.rows = (self.rows + kept.len()).saturating_sub(log.len());
            *log = kept;
            self.removals += 1;
        }
        gone.len() as u64
    }

    /// Drops all windows of a series. The immutable log stays unchanged.
    pub(in crate::store) fn drop_series(&mut self, series: u32) {
        self.drop_before(series, Timestamp::MAX);
    }

    /// Rows of a series whose windows start in [from, to), not resolved.
    #[cfg(test)]
    pub(in crate::store) fn rows(
        &self,
        series: u32,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = RowRef<'_>> {
        let logs = self.logs(group_of(series));
        logs.flat_map(move |log| log.between(series, from, to).map(|header| log.row(header)))
    }

    /// Whether a series has rows.
    pub(in crate::store) fn holds(&self, series: u32) -> bool {
        let (from, to) = (Timestamp::MIN, Timestamp::MAX);
        self.logs(group_of(series)).any(|log| log.between(series, from, to).next().is_some())
    }

    /// Makes all rows immutable, for a flush; new rows go to new logs. Both are read until
    /// [`Memtable::drop_immutable`]. Returns the logs of each group, in order.
    pub(in crate::store) fn freeze(&mut self) -> BTreeMap<u32, Vec<Arc<RowLog>>> {
        for (log, group) in self.groups.iter_mut().zip(0..) {
            if !log.rows.is_empty() {
                self.immutable.entry(group).or_default().push(Arc::new(std::mem::take(log)));
            }
        }
        self.unfrozen = (0, 0);
        self.immutable.clone()
    }

    /// Drops the flushed immutable logs; returns them, so that they can be freed without a lock.
    pub(in crate::store) fn drop_immutable(&mut self) -> BTreeMap<u32, Vec<Arc<RowLog>>> {
        let logs = std::mem::take(&mut self.immutable);
        self.removals += 1;
        for log in logs.values().flatten() {
            self.bytes = self.bytes.saturating_sub(log.bytes());
            self.rows = self.rows.saturating_sub(log.len());
        }
        logs
    }

    /// Number of rows that are not being flushed, and of groups of series that have any.
    pub(in crate::store) fn unfrozen(&self) -> (usize, usize) {
        self.unfrozen
    }

    /// Number of groups of series of which rows are being flushed.
    pub(in crate::store) fn frozen_groups(&self) -> usize {
        self.immutable.len()
    }

    /// Bytes of the rows, including overhead.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of rows; a name that arrived twice counts twice.
    pub(in crate::store) fn len(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use catchment_partial::Width;
    use proptest::prelude::*;

    use super::*;

    fn name(second: i64, part: u64) -> PartialName {
        let start = Timestamp::from_millis(second * 1_000).unwrap();
        PartialName { start, width: Width::from_millis(1_000).unwrap(), epoch: 0, shard: 0, part }
    }

    proptest! {
        #[test]
        fn rows_are_those_of_a_walk(
            rows in prop::collection::vec((0..3_u32, 0..20_000_i64), 0..700),
            in_order: bool,
            frozen in 0..700_usize,
            ranges in prop::collection::vec((0..3_u32, -10..20_010_i64, 0..20_000_i64), 1..20),
        ) {
            let mut rows = rows;
            if in_order {
                rows.sort_unstable();
            }
            let mut memtable = Memtable::default();
            for (part, (series, second)) in rows.iter().enumerate() {
                if part == frozen {
                    memtable.freeze();
                }
                memtable.put(*series, name(*second, part as u64), 1, &[*series as u8]);
            }
            for (series, from, length) in ranges {
                let (first, end) = (name(from, 0).start, name(from + length, 0).start);
                let wanted = |row: &&(u32, i64)| row.0 == series && (from..from + length).contains(&row.1);
                let found: Vec<i64> = memtable
                    .rows(series, first, end)
                    .map(|row| row.name.start.as_millis() / 1_000)
                    .collect();
                let naive: Vec<i64> = rows.iter().filter(wanted).map(|row| row.1).collect();
                prop_assert_eq!(&found, &naive);
            }
            let names = |part: usize, second: i64| [name(second, part as u64), name(second, 1_000)];
            let all = rows.iter().enumerate();
            let wanted = all.flat_map(|(part, (series, second))| names(part, *second).map(|name| (*series, name)));
            let found = memtable.look_up(wanted, usize::MAX);
            prop_assert!(found.compared <= rows.len());
            for (part, (series, second)) in rows.iter().enumerate() {
                let [held, other] = names(part, *second);
                let holds = |name, revision| found.holds(*series, name, revision);
                prop_assert_eq!((holds(&held, 1), holds(&held, 2)), (Some(true), Some(false)));
                prop_assert_eq!(holds(&other, 0), Some(false));
            }
        }
    }
}
