//! A partial in the store: its name within a series, its revision, its bytes.
//!
//! Rows are ordered by series, then by time, so that a time range of a series is a range of rows.

use bytes::Bytes;
use catchment_partial::{Timestamp, Width, Window};

/// Span of event time that one bucket of blocks covers, nanoseconds. Part of the format of the keys.
const BUCKET_NANOS: i64 = 3_600_000_000_000;

/// The name of a partial within its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) struct PartialName {
    /// Start of the window.
    pub(in crate::store) start: Timestamp,
    /// Width of the window.
    pub(in crate::store) width: Width,
    /// Number of the epoch in the catalog.
    pub(in crate::store) epoch: u32,
    /// Shard of the epoch.
    pub(in crate::store) shard: u32,
    /// Position at which the shard opened the window.
    pub(in crate::store) part: u64,
}

impl PartialName {
    /// A lower bound of all names that start at or after `start`.
    pub(in crate::store) fn first_from(start: Timestamp) -> Self {
        Self { start, width: Width::MIN, epoch: 0, shard: 0, part: 0 }
    }

    /// The window.
    pub(in crate::store) fn window(&self) -> Window {
        Window::containing(self.start, self.width)
    }

    /// The bucket that holds the name.
    pub(in crate::store) fn bucket(&self) -> i64 {
        bucket_of(self.start)
    }
}

/// A partial under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Row {
    /// Its series.
    pub(in crate::store) series: u32,
    /// Its name.
    pub(in crate::store) name: PartialName,
    /// Of two rows with one name, the higher revision counts.
    pub(in crate::store) revision: u64,
    /// The encoded partial, relative to the window's start.
    pub(in crate::store) body: Bytes,
}

/// A [`Row`] whose body is borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct RowRef<'a> {
    pub(in crate::store) series: u32,
    pub(in crate::store) name: PartialName,
    pub(in crate::store) revision: u64,
    pub(in crate::store) body: &'a [u8],
}

impl Row {
    /// Borrows the row.
    pub(in crate::store) fn borrowed(&self) -> RowRef<'_> {
        RowRef { series: self.series, name: self.name, revision: self.revision, body: &self.body }
    }
}

impl RowRef<'_> {
    /// A row of its own.
    pub(in crate::store) fn owned(&self) -> Row {
        let body = Bytes::copy_from_slice(self.body);
        Row { series: self.series, name: self.name, revision: self.revision, body }
    }
}

/// The keys of [`resolve`]: series and name, then revision.
pub(in crate::store) trait Revised {
    fn place(&self) -> (u32, &PartialName);
    fn revision(&self) -> u64;
}

impl Revised for Row {
    fn place(&self) -> (u32, &PartialName) {
        (self.series, &self.name)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

impl Revised for RowRef<'_> {
    fn place(&self) -> (u32, &PartialName) {
        (self.series, &self.name)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

/// Sorts rows by series and name and keeps the highest revision of each.
pub(in crate::store) fn resolve<R: Revised>(rows: &mut Vec<R>) {
    // Mostly windows come in order, each once.
    if rows.is_sorted_by(|a, b| a.place() < b.place()) {
        return;
    }
    // Stable: rows in sorted runs, such as windows, are sorted quickly.
    rows.sort_by(|a, b| a.place().cmp(&b.place()).then(b.revision().cmp(&a.revision())));
    rows.dedup_by(|later, kept| later.place() == kept.place());
}

/// Number of the bucket in which a window that starts here is flushed.
pub(in crate::store) fn bucket_of(start: Timestamp) -> i64 {
    start.as_nanos().div_euclid(BUCKET_NANOS)
}
