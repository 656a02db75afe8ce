//! Finds the names of rows in the tables of windows, so that none counts twice.

use catchment_journal::Disk;

use crate::store::{
    memtable::row::PartialName,
    tables::{cache::BlockCache, error::TableError, resolution::Resolution, version::Version},
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
