//! The tables of a flush round: everything frozen in memory, some days at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use crate::store::{
    catalog::groups::first_of,
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
        build::{BuildError, TableBuilder, TableFile},
        pieces::Floors,
        resolution::Resolution,
        version::{self, TableEntry, Version},
    },
};

/// Most days whose tables are written at once: each has a buffer and an open file.
const DAYS_AT_ONCE: usize = 64;

/// Rows in memory, by group of series.
pub(in crate::store) type Frozen = BTreeMap<u32, Vec<Arc<RowLog>>>;

/// Tables that a round wrote. They count for nothing until a commit names them.
#[derive(Debug, Default)]
pub(in crate::store) struct WrittenTables {
    pub(in crate::store) entries: Vec<TableEntry>,
    /// Rows of days that were dropped, because they are older than everything that is kept of their series.
    pub(in crate::store) expired: u64,
}

/// Writes tables of all resolutions for all rows.
///
/// # Errors
/// [`BuildError`]; no file that was written is left, so that a round which is tried again and again takes no space.
pub(in crate::store) fn write_tables<D: Disk>(
    inner: &Inner<D>,
    frozen: &Frozen,
) -> Result<WrittenTables, BuildError> {
    let (mut written, mut created) = (WrittenTables::default(), Vec::new());
    let version = inner.tables.version();
    for days in days_at_once(frozen) {
        if let Err(error) = write_days(inner, &version, (frozen, &days), &mut written, &mut created) {
            remove_files(inner, &created);
            return Err(error);
        }
    }
    Ok(written)
}

/// Removes tables of a round that failed: nobody knows their names, so a file that cannot be removed stays until the next
/// start.
fn remove_files<D: Disk>(inner: &Inner<D>, created: &[TableFile]) {
    for (resolution, partition, id) in created {
        let path = version::path(&inner.folder, *resolution, *partition, *id);
        if let Err(error) = inner.disk.remove(&path) {
            tracing::debug!(table = %path.display(), %error, "a table of a failed flush stays until the next start");
        }
    }
}

/// Days that are written together.
#[derive(Debug, PartialEq, Eq)]
struct Days {
    days: RangeInclusive<i32>,
    /// The groups with rows of these days, in order. Rows of one day far away cost the others no walk over all groups.
    groups: BTreeSet<u32>,
}

/// Splits rows by the days of their windows, [`DAYS_AT_ONCE`] together.
fn days_at_once(frozen: &Frozen) -> Vec<Days> {
    let mut by_day: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
    for (group, logs) in frozen {
        let mut last = None;
        for start in logs.iter().flat_map(|log| log.starts()) {
            let day = Resolution::Windows.partition_of(start);
            if last.replace(day) != Some(day) {
                let groups = by_day.entry(day).or_default();
                if groups.last() != Some(group) {
                    groups.push(*group);
                }
            }
        }
    }
    let by_day: Vec<(i32, Vec<u32>)> = by_day.into_iter().collect();
    let together = by_day.chunks(DAYS_AT_ONCE).filter_map(|days| {
        let ((first, _), (last, _)) = days.first().zip(days.last())?;
        let groups = days.iter().flat_map(|(_, groups)| groups).copied().collect();
        Some(Days { days: *first..=*last, groups })
    });
    together.collect()
}

fn write_days<D: Disk>(
    inner: &Inner<D>,
    version: &Version<D>,
    (frozen, Days { days, groups }): (&Frozen, &Days),
    written: &mut WrittenTables,
    created: &mut Vec<TableFile>,
) -> Result<(), BuildError> {
    let next_id = || inner.tables.next_id();
    let age = next_id();
    let mut builder = TableBuilder::new(&inner.disk, &inner.folder, &next_id, created);
    for (group, logs) in groups.iter().filter_map(|group| frozen.get_key_value(group)) {
        let known = known_series(inner, *group);
        let mut last = Vec::new();
        each_series(logs, *group, days, |rows| {
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
    written.expired += builder.expired();
    written.entries.extend(builder.finish(age)?);
    Ok(())
}

/// Visits the rows of each series of a group that start in some days, sorted by name, each once.
fn each_series<'a>(
    logs: &'a [Arc<RowLog>],
    group: u32,
    days: &RangeInclusive<i32>,
    mut visit: impl FnMut(&mut Vec<RowRef<'a>>) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let windows = Resolution::Windows;
    let (from, to) = (windows.partition_start(*days.start()), windows.partition_end(*days.end()));
    let mut rows: Vec<RowRef<'a>> = Vec::new();
    for series in first_of(group)..first_of(group.saturating_add(1)) {
        rows.clear();
        rows.extend(logs.iter().flat_map(|log| log.rows_between(series, from, to)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        catalog::groups::GROUP_SERIES,
        memtable::Memtable,
        memtable::row::PartialName,
        testing::{WIDTH_MS, at},
    };
    use catchment_partial::Width;

    #[test]
    fn days_far_away_cost_the_groups_without_rows_there_nothing() {
        let mut memtable = Memtable::default();
        let mut put = |group: u32, day: i64| {
            let (start, width) = (at(day * 86_400), Width::from_millis(WIDTH_MS).unwrap());
            let name = PartialName { start, width, epoch: 0, shard: 0, part: 0 };
            memtable.put(group * GROUP_SERIES, name, 1, b"");
        };
        (0..100).for_each(|group| put(group, 20_000));
        (0..1_000).for_each(|day| put(7, day));
        let together = days_at_once(&memtable.freeze());
        let walked: usize = together.iter().map(|days| days.groups.len()).sum();
        assert_eq!((together.len(), walked), (16, 15 + 100));
        assert_eq!((together[0].days.clone(), together[14].days.clone()), (0..=63, 896..=959));
        assert_eq!(together[15].days, 960..=20_000);
        assert!(together[..15].iter().all(|days| days.groups == BTreeSet::from([7])));
    }
}
