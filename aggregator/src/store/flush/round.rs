//! The tables of a flush round: everything frozen in memory, some days at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use crate::store::{
    blocks::groups::first_of,
    embedded::{
        inner::Inner,
        locks::{read, write},
    },
    flush::rows::Flushed,
    memtable::{
        RowLog,
        row::{RowRef, resolve},
    },
    tables::{
        build::{BuildError, TableBuilder},
        pieces::Floors,
        resolution::Resolution,
        version::{TableEntry, Version},
    },
};

/// Most days whose tables are written at once: each has a buffer and an open file.
const DAYS_AT_ONCE: usize = 64;

/// Rows in memory, by group of series.
pub(in crate::store) type Frozen = BTreeMap<u32, Vec<Arc<RowLog>>>;

/// Writes tables of all resolutions for all rows.
///
/// # Errors
/// [`BuildError`]; files that were written count for nothing.
pub(in crate::store) fn write_tables<D: Disk>(
    inner: &Inner<D>,
    frozen: &Frozen,
) -> Result<Vec<TableEntry>, BuildError> {
    let version = inner.tables.version();
    let mut days = BTreeSet::new();
    for log in frozen.values().flatten() {
        let mut last = None;
        for start in log.starts() {
            let day = Resolution::Windows.partition_of(start);
            if last.replace(day) != Some(day) {
                days.insert(day);
            }
        }
    }
    let days: Vec<i32> = days.into_iter().collect();
    let mut entries = Vec::new();
    for days in days.chunks(DAYS_AT_ONCE) {
        if let [first, .., last] | [first @ last] = days {
            entries.extend(write_days(inner, &version, frozen, *first..=*last)?);
        }
    }
    Ok(entries)
}

fn write_days<D: Disk>(
    inner: &Inner<D>,
    version: &Version<D>,
    frozen: &Frozen,
    days: RangeInclusive<i32>,
) -> Result<Vec<TableEntry>, BuildError> {
    let next_id = || inner.tables.next_id();
    let age = next_id();
    let mut builder = TableBuilder::new(&inner.disk, &inner.folder, &next_id);
    for (group, logs) in frozen {
        let known = known_series(inner, *group);
        let mut last = Vec::new();
        each_series(logs, *group, &days, |rows| {
            let Some(row) = rows.last() else { return Ok(()) };
            last.push((row.series, row.name.start));
            // Removed series have no place any more.
            let known = known.get((row.series - first_of(*group)) as usize).copied().flatten();
            let Some((floors, flushed)) = known else { return Ok(()) };
            let [from, ..] = floors;
            let flushed = Flushed { version, cache: &inner.tables.cache, to: flushed, from };
            let replacing = flushed.without_repeats(rows)?;
            builder.push_series(rows, &floors, &replacing)
        })?;
        note_flushed(inner, &last);
    }
    inner.expired.fetch_add(builder.expired(), std::sync::atomic::Ordering::Relaxed);
    builder.finish(age)
}

/// Visits the rows of each series of a group that start in some days, sorted by name, each once.
fn each_series<'a>(
    logs: &'a [Arc<RowLog>],
    group: u32,
    days: &RangeInclusive<i32>,
    mut visit: impl FnMut(&mut Vec<RowRef<'a>>) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let wanted = |row: &RowRef<'_>| days.contains(&Resolution::Windows.partition_of(row.name.start));
    let mut rows: Vec<RowRef<'a>> = Vec::new();
    for series in first_of(group)..first_of(group.saturating_add(1)) {
        rows.clear();
        for log in logs {
            match log.listed(series) {
                Some(listed) => rows.extend(listed.filter(wanted)),
                None => rows.extend(log.rows().filter(|row| row.series == series).filter(wanted)),
            }
        }
        resolve(&mut rows);
        visit(&mut rows)?;
    }
    Ok(())
}

/// From when on the resolutions of each series of a group are complete, and how far it is flushed.
fn known_series<D: Disk>(inner: &Inner<D>, group: u32) -> Vec<Option<(Floors, Timestamp)>> {
    let catalog = &read(&inner.state).catalog;
    let mut known = Vec::new();
    for (place, series) in catalog.series.group(group).into_iter().flat_map(|group| group.series()) {
        known.resize(place as usize, None);
        known.push(Some((inner.tables.floors_of(catalog, series), series.flushed)));
    }
    known
}

/// Records how far series are flushed: from now on, earlier rows may be repeats.
fn note_flushed<D: Disk>(inner: &Inner<D>, series: &[(u32, Timestamp)]) {
    let catalog = &mut write(&inner.state).catalog;
    for (id, last) in series {
        if let Some((series, _)) = catalog.series.get_mut(*id) {
            series.flushed = series.flushed.max(*last);
        }
    }
}
