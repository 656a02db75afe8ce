//! The memtable: final windows that the journal holds, and that the blocks may not hold yet.
//!
//! There is one append-only log of rows per group of series, in order of arrival, so an insert needs no search. A
//! name may occur more than once; readers and the flusher resolve that ([`super::row::resolve`]). The flusher makes
//! the log of a group immutable: readers still see it, new rows go to a new log, and the immutable log is dropped as
//! a whole after the flush.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use catchment_partial::Timestamp;

use super::{
    groups::group_of,
    row::{PartialName, Row, RowRef, bucket_end, bucket_of, bucket_start},
};

/// Memory of a row without its body, bytes: name, revision, location, and a third for growth.
pub(super) const ROW_OVERHEAD: usize = 76;

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

/// The windows of a group, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct RowLog {
    rows: Vec<RowHeader>,
    bodies: Vec<u8>,
}

impl RowLog {
    fn push(&mut self, series: u32, name: PartialName, revision: u64, body: &[u8]) {
        let at = self.bodies.len();
        self.bodies.extend_from_slice(body);
        self.rows.push(RowHeader { name, revision, at, length: body.len() as u32, series });
    }

    fn bytes(&self) -> usize {
        self.rows.len() * ROW_OVERHEAD + self.bodies.len()
    }

    fn row(&self, header: &RowHeader) -> RowRef<'_> {
        let body = self.bodies.get(header.at..header.at + header.length as usize).unwrap_or_default();
        RowRef { series: header.series, name: header.name, revision: header.revision, body }
    }

    /// All rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.rows.iter().map(|header| self.row(header))
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Final windows in memory, by group of series.
#[derive(Debug, Default)]
pub(super) struct Memtable {
    /// By number of the group.
    groups: Vec<RowLog>,
    /// Logs that are being flushed.
    immutable: BTreeMap<u32, Arc<RowLog>>,
    bytes: usize,
    rows: usize,
}

impl Memtable {
    /// Adds a row.
    pub(super) fn put(&mut self, series: u32, name: PartialName, revision: u64, body: &[u8]) {
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

    fn headers(&self, series: u32) -> impl Iterator<Item = (&RowLog, &RowHeader)> {
        let rows =
            self.logs(group_of(series)).flat_map(|log| log.rows.iter().map(move |header| (log, header)));
        rows.filter(move |(_, header)| header.series == series)
    }

    /// Highest revision held under a name.
    pub(super) fn revision(&self, series: u32, name: &PartialName) -> Option<u64> {
        self.headers(series)
            .filter(|(_, header)| header.name == *name)
            .map(|(_, header)| header.revision)
            .max()
    }

    /// The names of a group's rows, by series.
    pub(super) fn names(&self, group: u32) -> HashSet<(u32, PartialName)> {
        self.logs(group).flat_map(|log| &log.rows).map(|header| (header.series, header.name)).collect()
    }

    /// Drops the windows of a series that end at or before a time; returns the number of names. The immutable log
    /// stays unchanged.
    pub(super) fn drop_before(&mut self, series: u32, before: Timestamp) -> u64 {
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
    pub(super) fn drop_series(&mut self, series: u32) {
        self.drop_before(series, Timestamp::MAX);
    }

    /// Rows of a series whose windows start in [from, to), not resolved.
    pub(super) fn rows(&self, series: u32, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Row> {
        let inside = move |header: &RowHeader| from <= header.name.start && header.name.start < to;
        self.headers(series).filter(move |(_, header)| inside(header)).map(|(log, header)| {
            let RowRef { series, name, revision, body } = log.row(header);
            Row { series, name, revision, body: Bytes::copy_from_slice(body) }
        })
    }

    /// The first bucket of a series that holds a window which starts in [from, to).
    pub(super) fn first_bucket(&self, series: u32, from: Timestamp, to: Timestamp) -> Option<i64> {
        let starts = self.headers(series).map(|(_, header)| header.name.start);
        starts.filter(|start| from <= *start && *start < to).min().map(bucket_of)
    }

    /// Whether a series has rows.
    pub(super) fn holds(&self, series: u32) -> bool {
        self.headers(series).next().is_some()
    }

    /// The first group at or after this one that has rows.
    pub(super) fn next_group(&self, from: u32) -> Option<u32> {
        let new = self.groups.iter().zip(0..).skip(from as usize).find(|(log, _)| !log.rows.is_empty());
        let immutable = self.immutable.range(from..).next().map(|(group, _)| *group);
        new.map(|(_, group)| group).into_iter().chain(immutable).min()
    }

    /// Makes the log of a group immutable, for a flush; new rows go to a new log. Both are read until
    /// [`Memtable::drop_immutable`].
    pub(super) fn freeze(&mut self, group: u32) -> Option<Arc<RowLog>> {
        if let Some(left) = self.immutable.get(&group) {
            return Some(Arc::clone(left));
        }
        let log = self.groups.get_mut(group as usize).filter(|log| !log.rows.is_empty())?;
        let log = Arc::new(std::mem::take(log));
        self.immutable.insert(group, Arc::clone(&log));
        Some(log)
    }

    /// Drops the flushed immutable log of a group; returns it, so that it can be freed without a lock.
    pub(super) fn drop_immutable(&mut self, group: u32) -> Option<Arc<RowLog>> {
        let log = self.immutable.remove(&group)?;
        self.bytes = self.bytes.saturating_sub(log.bytes());
        self.rows = self.rows.saturating_sub(log.len());
        Some(log)
    }

    /// Bytes of the rows, including overhead.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of rows; a name that arrived twice counts twice.
    pub(super) fn len(&self) -> usize {
        self.rows
    }
}

/// The part of a bucket within [from, to).
pub(super) fn clip(bucket: i64, from: Timestamp, to: Timestamp) -> (Timestamp, Timestamp) {
    (bucket_start(bucket).max(from), bucket_end(bucket).min(to))
}
