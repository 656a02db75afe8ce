//! Finds the names of rows in the tables of windows, so that none counts twice.

use std::ops::Range;

use catchment_journal::Disk;

use crate::store::{
    memtable::row::PartialName,
    tables::{
        block::TableBlock, cache::BlockCache, error::TableError, resolution::Resolution, table::Table,
        version::Version,
    },
};

/// The highest revision under a name of a series in the tables; `None`: they do not hold it.
///
/// # Errors
/// A block that might hold it cannot be read.
pub(in crate::store) fn revision<D: Disk>(
    version: &Version<D>,
    cache: &BlockCache,
    series: u32,
    name: &PartialName,
) -> Result<Option<u64>, TableError> {
    let (from, to) = (name.start, name.start.saturating_add_nanos(1));
    let mut held = None;
    for stored in version.of(Resolution::Windows, Resolution::Windows.partition_of(name.start)) {
        for number in stored.table.blocks_of(series, from, to)? {
            let block = stored.table.block(number, Some(cache))?;
            let rows = block.rows(series, from, to).filter(|row| row.name == *name);
            held = rows.map(|row| row.revision).chain(held).max();
        }
    }
    Ok(held)
}

/// What the tables hold under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Held {
    Nothing,
    Revision(u64),
    /// A block that might hold it cannot be read.
    Unknown,
}

/// As [`revision`], of several names of one partition, which are in order; each block is read once. Returns how many were
/// read.
pub(in crate::store) fn revisions<D: Disk>(
    version: &Version<D>,
    cache: &BlockCache,
    series: u32,
    names: &[PartialName],
    found: &mut Vec<Held>,
) -> usize {
    found.clear();
    found.resize(names.len(), Held::Nothing);
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return 0 };
    let (from, to) = (first.start, last.start.saturating_add_nanos(1));
    let mut blocks = 0;
    for stored in version.of(Resolution::Windows, Resolution::Windows.partition_of(from)) {
        let Ok(numbers) = stored.table.blocks_of(series, from, to) else {
            found.fill(Held::Unknown);
            continue;
        };
        for number in numbers {
            let of_block = names_in(&stored.table, number, series, names);
            let (Some(names), Some(found)) = (names.get(of_block.clone()), found.get_mut(of_block)) else {
                continue;
            };
            if names.is_empty() {
                continue;
            }
            blocks += 1;
            match stored.table.block(number, Some(cache)) {
                Ok(block) => compare(&block, series, names, found),
                Err(_) => found.fill(Held::Unknown),
            }
        }
    }
    blocks
}

/// The names that a block may hold; all of them if the index does not tell.
fn names_in<D: Disk>(table: &Table<D>, number: u32, series: u32, names: &[PartialName]) -> Range<usize> {
    let Ok(range) = table.block_range(number) else { return 0..names.len() };
    let before = |name: &PartialName| (series, name.start) < range.first;
    let up_to = |name: &PartialName| (series, name.start) <= range.last;
    let first = names.partition_point(before);
    first..names.partition_point(up_to).max(first)
}

/// Walks the rows of a block beside names, both in order.
fn compare(block: &TableBlock, series: u32, names: &[PartialName], found: &mut [Held]) {
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return };
    let mut rows = block.rows(series, first.start, last.start.saturating_add_nanos(1));
    let mut row = rows.next();
    for (name, held) in names.iter().zip(found) {
        while row.is_some_and(|row| row.name < *name) {
            row = rows.next();
        }
        let Some(revision) = row.filter(|row| row.name == *name).map(|row| row.revision) else { continue };
        *held = match *held {
            Held::Nothing => Held::Revision(revision),
            Held::Revision(other) => Held::Revision(other.max(revision)),
            Held::Unknown => Held::Unknown,
        };
    }
}
