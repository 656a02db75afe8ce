//! The memtable: final windows that the journal holds, and that the blocks may not hold yet.
//!
//! There is one append-only log of rows per group of series, in order of arrival, so an insert needs no search. Each
//! series lists its rows in runs of [`RUN_ROWS`], with the least and greatest start of each run, so a reader looks only at
//! runs that may hold what it wants. A name may occur more than once; readers and the flusher resolve that ([`crate::store::memtable::row::resolve`]). The flusher makes
//! the log of a group immutable: readers still see it, new rows go to a new log, and the immutable log is dropped as
//! a whole after the flush.

pub(in crate::store) mod live;
pub(in crate::store) mod row;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use catchment_partial::Timestamp;

use crate::store::{
    blocks::groups::{GROUP_SERIES, group_of},
    memtable::row::{PartialName, Row, RowRef, bucket_end, bucket_of, bucket_start},
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

    /// Runs that may hold rows which start in [from, to), with their least start.
    fn runs(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (Timestamp, &[u32])> {
        let runs = self.runs.iter().zip(self.rows.chunks(RUN_ROWS));
        runs.filter(move |((least, greatest), _)| *least < to && from <= *greatest)
            .map(|((least, _), rows)| (*least, rows))
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
        let rows = runs.flat_map(|(_, rows)| rows).filter_map(|row| self.rows.get(*row as usize));
        let unlisted = self.unlisted().iter().filter(move |header| header.series == series);
        rows.chain(unlisted).filter(move |header| from <= header.name.start && header.name.start < to)
    }

    /// The least start in [from, to) of a row of a series.
    fn first_start(&self, series: u32, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let walked = self.unlisted().iter().filter(|header| header.series == series);
        let walked = walked.map(|header| header.name.start).filter(|start| from <= *start && *start < to);
        let mut first = walked.min();
        for (least, rows) in self.rows_of(series).into_iter().flat_map(|rows| rows.runs(from, to)) {
            if first.is_some_and(|first| first <= least) {
                continue;
            }
            let least = if from <= least {
                Some(least)
            } else {
                let starts = rows.iter().filter_map(|row| self.rows.get(*row as usize));
                let starts = starts.map(|header| header.name.start);
                starts.filter(|start| from <= *start && *start < to).min()
            };
            first = first.into_iter().chain(least).min();
        }
        first
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
    /// Logs that are being flushed.
    immutable: BTreeMap<u32, Arc<RowLog>>,
    bytes: usize,
    rows: usize,
}

impl Memtable {
    /// Adds a row.
    pub(in crate::store) fn put(&mut self, series: u32, name: PartialName, revision: u64, body: &[u8]) {
        let group = group_of(series) as usize;
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, RowLog::default);
        }
        if let Some(log) = self.groups.get_mut(group) {
            log.push(series, name, revision, body);
            self.bytes += ROW_OVERHEAD + body.len();
            self.rows += 1;
        }
    }

    fn logs(&self, group: u32) -> impl Iterator<Item = &RowLog> {
        let immutable = self.immutable.get(&group).map(|log| &**log);
        immutable.into_iter().chain(self.groups.get(group as usize))
    }

    /// Highest revision held under a name.
    pub(in crate::store) fn revision(&self, series: u32, name: &PartialName) -> Option<u64> {
        let (from, to) = (name.start, name.start.saturating_add_nanos(1));
        let rows = self.logs(group_of(series)).flat_map(|log| log.between(series, from, to));
        rows.filter(|header| header.name == *name).map(|header| header.revision).max()
    }

    /// The names of a group's rows, by series.
    pub(in crate::store) fn names(&self, group: u32) -> HashSet<(u32, PartialName)> {
        self.logs(group).flat_map(|log| &log.rows).map(|header| (header.series, header.name)).collect()
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
        }
        gone.len() as u64
    }

    /// Drops all windows of a series. The immutable log stays unchanged.
    pub(in crate::store) fn drop_series(&mut self, series: u32) {
        self.drop_before(series, Timestamp::MAX);
    }

    /// Rows of a series whose windows start in [from, to), not resolved.
    pub(in crate::store) fn rows(
        &self,
        series: u32,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = Row> {
        let logs = self.logs(group_of(series));
        logs.flat_map(move |log| log.between(series, from, to).map(|header| log.row(header).owned()))
    }

    /// The first bucket of a series that holds a window which starts in [from, to).
    pub(in crate::store) fn first_bucket(&self, series: u32, from: Timestamp, to: Timestamp) -> Option<i64> {
        let logs = self.logs(group_of(series));
        logs.filter_map(|log| log.first_start(series, from, to)).min().map(bucket_of)
    }

    /// Whether a series has rows.
    pub(in crate::store) fn holds(&self, series: u32) -> bool {
        let (from, to) = (Timestamp::MIN, Timestamp::MAX);
        self.logs(group_of(series)).any(|log| log.between(series, from, to).next().is_some())
    }

    /// The first group at or after this one that has rows.
    pub(in crate::store) fn next_group(&self, from: u32) -> Option<u32> {
        let new = self.groups.iter().zip(0..).skip(from as usize).find(|(log, _)| !log.rows.is_empty());
        let immutable = self.immutable.range(from..).next().map(|(group, _)| *group);
        new.map(|(_, group)| group).into_iter().chain(immutable).min()
    }

    /// Makes the log of a group immutable, for a flush; new rows go to a new log. Both are read until
    /// [`Memtable::drop_immutable`].
    pub(in crate::store) fn freeze(&mut self, group: u32) -> Option<Arc<RowLog>> {
        if let Some(left) = self.immutable.get(&group) {
            return Some(Arc::clone(left));
        }
        let log = self.groups.get_mut(group as usize).filter(|log| !log.rows.is_empty())?;
        let log = Arc::new(std::mem::take(log));
        self.immutable.insert(group, Arc::clone(&log));
        Some(log)
    }

    /// Drops the flushed immutable log of a group; returns it, so that it can be freed without a lock.
    pub(in crate::store) fn drop_immutable(&mut self, group: u32) -> Option<Arc<RowLog>> {
        let log = self.immutable.remove(&group)?;
        self.bytes = self.bytes.saturating_sub(log.bytes());
        self.rows = self.rows.saturating_sub(log.len());
        Some(log)
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

/// The part of a bucket within [from, to).
pub(in crate::store) fn clip(bucket: i64, from: Timestamp, to: Timestamp) -> (Timestamp, Timestamp) {
    (bucket_start(bucket).max(from), bucket_end(bucket).min(to))
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
        fn rows_and_first_buckets_are_those_of_a_walk(
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
                    memtable.freeze(0);
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
                let bucket = naive.iter().min().map(|second| bucket_of(name(*second, 0).start));
                prop_assert_eq!(memtable.first_bucket(series, first, end), bucket);
            }
            for (part, (series, second)) in rows.iter().enumerate() {
                prop_assert_eq!(memtable.revision(*series, &name(*second, part as u64)), Some(1));
                prop_assert_eq!(memtable.revision(*series, &name(*second, 1_000)), None);
            }
        }
    }
}
