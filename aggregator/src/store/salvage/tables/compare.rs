//! Compares rows of minutes, hours and days with the finer rows that they were merged from.
//!
//! Merging is exact, so they are equal, apart from what depends on the order of readings. Only where the windows are
//! stored: what retention has removed below, or damage took, cannot be made again.

use std::{collections::BTreeSet, ops::RangeInclusive, path::Path, sync::Arc};

use catchment_journal::{Disk, RealDisk};
use catchment_partial::{Partial, Timestamp, Window};

use crate::store::{
    catalog::catalog_store::Loaded,
    memtable::row::Row,
    salvage::tables::{intervals::Intervals, known::Known, loss::Span, rows::StoredRows, survey::Survey},
    tables::{
        build::merged_name,
        error::TableError,
        resolution::Resolution,
        version::{StoredTable, TableEntry},
    },
};

/// A partition of a resolution.
pub(in crate::store) type Part = (Resolution, i32);

/// Intervals whose rows are not what the finer rows give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Differences {
    pub(in crate::store) intervals: u64,
    /// Where they are.
    pub(in crate::store) span: Option<Span>,
}

impl Differences {
    fn add(&mut self, series: u32, interval: Window) {
        self.intervals += 1;
        let span = Span { series: (series, series), starts: (interval.start(), interval.start()) };
        self.span = Some(self.span.map_or(span, |all| all.joined(&span)));
    }
}

/// The partitions of minutes, hours and days that have tables, or should have: from fine to coarse.
pub(in crate::store) fn merged_parts(tables: &[TableEntry]) -> Vec<Part> {
    let mut parts: BTreeSet<Part> = BTreeSet::new();
    for entry in tables {
        for resolution in Resolution::ALL.into_iter().filter(|resolution| resolution.interval().is_some()) {
            // A partition of a finer resolution lies in one of each coarser.
            let part = match resolution.cmp(&entry.resolution) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => entry.partition,
                std::cmp::Ordering::Greater => {
                    resolution.partition_of(middle(entry.resolution, entry.partition))
                }
            };
            parts.insert((resolution, part));
        }
    }
    parts.into_iter().collect()
}

/// A time in a partition.
fn middle(resolution: Resolution, partition: i32) -> Timestamp {
    let (start, end) = (resolution.partition_start(partition), resolution.partition_end(partition));
    Timestamp::from_nanos(start.as_nanos().midpoint(end.as_nanos()))
}

/// The partitions of a finer resolution that lie in one.
pub(in crate::store) fn partitions_in(
    finer: Resolution,
    (resolution, partition): Part,
) -> RangeInclusive<i32> {
    let first = finer.partition_of(resolution.partition_start(partition));
    let last = finer.partition_of(resolution.partition_end(partition).saturating_sub_nanos(1));
    first..=last
}

/// Opens the tables of some partitions of a resolution.
pub(in crate::store) fn tables_of(
    disk: &Arc<RealDisk>,
    data: &Path,
    tables: &[TableEntry],
    resolution: Resolution,
    partitions: &RangeInclusive<i32>,
) -> Vec<Arc<StoredTable<RealDisk>>> {
    let inside =
        |entry: &&TableEntry| entry.resolution == resolution && partitions.contains(&entry.partition);
    tables.iter().filter(inside).map(|entry| entry.open(disk, data)).collect()
}

/// Compares all partitions whose tables, and those of the finer resolution, are whole; tells each that differs, or that
/// the system refuses to read. One whose finer rows differ is not compared.
pub(in crate::store) fn compare_all(
    disk: &Arc<RealDisk>,
    data: &Path,
    loaded: &Loaded,
    survey: &Survey,
    mut tell: impl FnMut(Part, Result<Differences, TableError>),
) {
    let known = Known::of(loaded);
    let mut wrong: BTreeSet<Part> = BTreeSet::new();
    for part in merged_parts(&loaded.tables) {
        let (resolution, partition) = part;
        let Some(finer) = resolution.finer() else { continue };
        let inside = partitions_in(finer, part);
        let whole =
            survey.is_whole_in(resolution, &(partition..=partition)) && survey.is_whole_in(finer, &inside);
        if !whole || wrong.range((finer, *inside.start())..=(finer, *inside.end())).next().is_some() {
            wrong.insert(part);
            continue;
        }
        let compared = compare(disk, data, &loaded.tables, part, known);
        if !matches!(compared, Ok(Differences { intervals: 0, .. })) {
            wrong.insert(part);
            tell(part, compared);
        }
    }
}

/// Compares the rows of a partition with those of the next finer resolution.
///
/// # Errors
/// The system refuses to open a table: nothing is known.
pub(in crate::store) fn compare(
    disk: &Arc<RealDisk>,
    data: &Path,
    tables: &[TableEntry],
    part: Part,
    known: Known<'_>,
) -> Result<Differences, TableError> {
    let (resolution, partition) = part;
    let Some(finer) = resolution.finer() else { return Ok(Differences::default()) };
    let fine = tables_of(disk, data, tables, finer, &partitions_in(finer, part));
    let own = tables_of(disk, data, tables, resolution, &(partition..=partition));
    let mut comparison =
        Comparison { coarse: StoredRows::new(resolution, own, known), known, found: Differences::default() };
    let mut fine = StoredRows::new(finer, fine, known);
    let mut intervals = Intervals::new(resolution, None);
    while let Some((series, _)) = fine.peek() {
        let from = known.windows_from(series);
        while fine.peek().is_some_and(|(next, _)| next == series) {
            let Some(row) = fine.pop() else { break };
            let Some(from) = from else { continue };
            let mut emit = |interval, merged| comparison.expect(series, from, interval, &merged);
            let pushed = intervals.push(row.name.window(), &row.body, &mut emit);
            if pushed.is_err() {
                comparison.found.add(series, row.name.window());
            }
        }
        let from = from.unwrap_or(Timestamp::MAX);
        intervals.finish(&mut |interval, merged| comparison.expect(series, from, interval, &merged));
    }
    while let Some(row) = comparison.coarse.pop() {
        comparison.unexpected(&row);
    }
    fine.complete().and(comparison.coarse.complete()).map(|()| comparison.found)
}

struct Comparison<'a, D: Disk> {
    coarse: StoredRows<'a, D>,
    known: Known<'a>,
    found: Differences,
}

impl<D: Disk> Comparison<'_, D> {
    /// The next interval that finer rows give.
    fn expect(&mut self, series: u32, windows_from: Timestamp, interval: Window, merged: &Partial) {
        if !self.known.has_windows(series, windows_from, interval) {
            return;
        }
        let place = (series, merged_name(interval));
        while self.coarse.peek().is_some_and(|next| next < place) {
            let Some(row) = self.coarse.pop() else { break };
            self.unexpected(&row);
        }
        let row = if self.coarse.peek() == Some(place) { self.coarse.pop() } else { None };
        let mut values = Partial::empty();
        let read = row.map(|row| values.merge_encoded_across_series(&row.body, row.name.start));
        if !matches!(read, Some(Ok(()))) || values != *merged {
            self.found.add(series, interval);
        }
    }

    /// A row that finer rows do not give.
    fn unexpected(&mut self, row: &Row) {
        let interval = row.name.window();
        let from = self.known.windows_from(row.series);
        if from.is_some_and(|from| self.known.has_windows(row.series, from, interval)) {
            self.found.add(row.series, interval);
        }
    }
}

/// What a partition of merged rows is called.
pub(in crate::store) fn part_name((resolution, partition): Part) -> String {
    let kind = match resolution {
        Resolution::Windows => "windows",
        Resolution::Minute => "minutes",
        Resolution::Hour => "hours",
        Resolution::Day => "days",
    };
    format!("{kind}{partition:+}")
}
