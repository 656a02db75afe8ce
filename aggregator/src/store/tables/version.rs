//! The tables that count at one time.
//!
//! A version never changes: the flusher, the compactor and retention put another one in its place. A reader keeps the one
//! it began with, and with it the files, which are removed when nobody reads them any more.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use catchment_journal::Disk;
use catchment_partial::Timestamp;
use prost::Message;

use crate::store::{
    tables::{resolution::Resolution, table::Table, writer::TableSummary},
    tree::records::TABLE,
};

/// Folder of the tables within the data folder.
pub(in crate::store) const FOLDER: &str = "tables";
/// Ends the names of their files.
const SUFFIX: &str = ".table";

/// What the catalog says of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct TableEntry {
    /// Its number, part of the name of its file; never used again.
    pub(in crate::store) id: u64,
    /// Its age: rows of a table with a higher number came later.
    pub(in crate::store) age: u64,
    /// The least age of the tables that were merged into it; of tables of one partition that count at one time, no two
    /// share an age.
    pub(in crate::store) oldest: u64,
    pub(in crate::store) resolution: Resolution,
    pub(in crate::store) partition: i32,
    pub(in crate::store) summary: TableSummary,
    /// Identifies the set of retention rules whose series were removed from it; 0: none.
    pub(in crate::store) without: u64,
    /// It may hold rows of series that were removed, and is to be written without them.
    pub(in crate::store) purge: bool,
}

/// A table that counts.
pub(in crate::store) struct StoredTable<D: Disk> {
    pub(in crate::store) entry: TableEntry,
    pub(in crate::store) table: Arc<Table<D>>,
}

/// Tables by resolution and partition, those of a partition in order of age.
pub(in crate::store) struct Version<D: Disk> {
    tables: BTreeMap<(Resolution, i32), Vec<Arc<StoredTable<D>>>>,
}

impl<D: Disk> Default for Version<D> {
    fn default() -> Self {
        Self { tables: BTreeMap::new() }
    }
}

impl<D: Disk> Clone for Version<D> {
    fn clone(&self) -> Self {
        Self { tables: self.tables.clone() }
    }
}

impl<D: Disk> Version<D> {
    /// The tables of a partition, in order of age.
    pub(in crate::store) fn of(&self, resolution: Resolution, partition: i32) -> &[Arc<StoredTable<D>>] {
        self.tables.get(&(resolution, partition)).map_or(&[], Vec::as_slice)
    }

    /// The partitions of a resolution from one on, in order, with their tables.
    pub(in crate::store) fn partitions(
        &self,
        resolution: Resolution,
        from: i32,
    ) -> impl Iterator<Item = (i32, &[Arc<StoredTable<D>>])> {
        let range = (resolution, from)..=(resolution, i32::MAX);
        self.tables.range(range).map(|((_, partition), tables)| (*partition, tables.as_slice()))
    }

    /// All tables.
    pub(in crate::store) fn all(&self) -> impl Iterator<Item = &Arc<StoredTable<D>>> {
        self.tables.values().flatten()
    }

    /// The version with these tables, and without others.
    #[must_use]
    pub(in crate::store) fn changed(&self, removed: &[u64], added: Vec<Arc<StoredTable<D>>>) -> Self {
        let mut version = self.clone();
        let removed: HashSet<u64> = removed.iter().copied().collect();
        for tables in version.tables.values_mut() {
            tables.retain(|table| !removed.contains(&table.entry.id));
        }
        version.tables.retain(|_, tables| !tables.is_empty());
        for table in added {
            let tables = version.tables.entry((table.entry.resolution, table.entry.partition)).or_default();
            tables.push(table);
            tables.sort_by_key(|table| table.entry.age);
        }
        version
    }
}

/// Path of a table's file.
pub(in crate::store) fn path(data: &Path, resolution: Resolution, partition: i32, id: u64) -> PathBuf {
    data.join(FOLDER).join(file_name(resolution, partition, id))
}

/// Name of a table's file.
fn file_name(resolution: Resolution, partition: i32, id: u64) -> String {
    let kind = match resolution {
        Resolution::Windows => "windows",
        Resolution::Minute => "minutes",
        Resolution::Hour => "hours",
        Resolution::Day => "days",
    };
    format!("{kind}{partition:+}-{id}{SUFFIX}")
}

/// The number of a table, from the name of its file.
pub(in crate::store) fn id_of(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.rsplit_once('-')?.1.parse().ok()
}

/// The record of a table in the tree, under [`key`].
#[derive(Clone, PartialEq, Message)]
pub(in crate::store) struct TableRecord {
    #[prost(uint64, tag = "1")]
    age: u64,
    #[prost(uint64, tag = "2")]
    bytes: u64,
    #[prost(uint64, tag = "3")]
    rows: u64,
    #[prost(uint32, tag = "4")]
    blocks: u32,
    #[prost(fixed32, tag = "5")]
    index_crc: u32,
    #[prost(sint64, tag = "6")]
    first: i64,
    #[prost(sint64, tag = "7")]
    last: i64,
    #[prost(uint32, tag = "8")]
    least_series: u32,
    #[prost(uint32, tag = "9")]
    greatest_series: u32,
    #[prost(fixed64, tag = "10")]
    without: u64,
    #[prost(uint64, tag = "11")]
    oldest: u64,
    #[prost(bool, tag = "12")]
    purge: bool,
}

impl TableEntry {
    /// Key of its record: resolution, partition, number.
    pub(in crate::store) fn key(&self) -> Vec<u8> {
        let mut key = vec![TABLE, self.resolution.number()];
        key.extend((self.partition as u32 ^ 1 << 31).to_be_bytes());
        key.extend(self.id.to_be_bytes());
        key
    }

    pub(in crate::store) fn record(&self) -> TableRecord {
        let TableSummary { bytes, rows, blocks, index_crc, first, last, least_series, greatest_series } =
            self.summary;
        TableRecord {
            age: self.age,
            bytes,
            rows,
            blocks,
            index_crc,
            first: first.as_nanos(),
            last: last.as_nanos(),
            least_series,
            greatest_series,
            without: self.without,
            oldest: self.oldest,
            purge: self.purge,
        }
    }

    /// From key and record; `None` if the key is not that of a table.
    pub(in crate::store) fn restore(key: &[u8], record: &TableRecord) -> Option<Self> {
        let (resolution, rest) = key.strip_prefix(&[TABLE])?.split_first()?;
        let (partition, id) = rest.split_first_chunk::<4>()?;
        Some(Self {
            id: u64::from_be_bytes(id.try_into().ok()?),
            age: record.age,
            oldest: record.oldest,
            resolution: Resolution::from_number(*resolution)?,
            partition: (u32::from_be_bytes(*partition) ^ 1 << 31) as i32,
            summary: TableSummary {
                bytes: record.bytes,
                rows: record.rows,
                blocks: record.blocks,
                index_crc: record.index_crc,
                first: Timestamp::from_nanos(record.first),
                last: Timestamp::from_nanos(record.last),
                least_series: record.least_series,
                greatest_series: record.greatest_series,
            },
            without: record.without,
            purge: record.purge,
        })
    }

    /// Whether both hold, or would hold, rows of one flush: then the one of the higher number was made of the other.
    pub(in crate::store) fn shares_ages(&self, other: &Self) -> bool {
        (self.resolution, self.partition) == (other.resolution, other.partition)
            && self.oldest <= other.age
            && other.oldest <= self.age
    }

    /// Name of its file in [`FOLDER`].
    pub(in crate::store) fn file_name(&self) -> String {
        file_name(self.resolution, self.partition, self.id)
    }

    /// Path of its file in a data folder.
    pub(in crate::store) fn path(&self, data: &Path) -> PathBuf {
        path(data, self.resolution, self.partition, self.id)
    }

    /// The table, of a file in this data folder. Touches no file.
    pub(in crate::store) fn open<D: Disk>(self, disk: &Arc<D>, data: &Path) -> Arc<StoredTable<D>> {
        let path = self.path(data);
        let table = Table::new(Arc::clone(disk), path, self.resolution, self.partition, self.summary);
        Arc::new(StoredTable { entry: self, table: Arc::new(table) })
    }
}
