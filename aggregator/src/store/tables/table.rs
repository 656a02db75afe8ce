//! A table: one immutable file.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use super::{
    block::TableBlock, cache::BlockCache, error::TableError, resolution::Resolution, writer::TableSummary,
};

/// Gives each table of the process a number of its own, for the cache: paths could be used again.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An immutable file of rows of one resolution and one partition. Its file is opened, and its index read, at first use.
pub(in crate::store) struct Table<D: Disk> {
    disk: Arc<D>,
    path: PathBuf,
    resolution: Resolution,
    partition: i32,
    summary: TableSummary,
    number: u64,
    replaced: AtomicBool,
}

/// Series and start of a row: where it stands in a table.
pub(in crate::store) type RowPlace = (u32, Timestamp);

/// The rows that a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct BlockRange {
    /// Series and start of its first row.
    pub(in crate::store) first: RowPlace,
    /// Series and start of its last row.
    pub(in crate::store) last: RowPlace,
    /// Number of its rows.
    pub(in crate::store) rows: u32,
}

impl<D: Disk> Table<D> {
    /// A table as named by the catalog; touches no file.
    pub(in crate::store) fn new(
        disk: Arc<D>,
        path: PathBuf,
        resolution: Resolution,
        partition: i32,
        summary: TableSummary,
    ) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { disk, path, resolution, partition, summary, number, replaced: AtomicBool::new(false) }
    }

    /// What its file says of itself: for a file that no catalog names.
    ///
    /// # Errors
    /// [`TableError`].
    pub(in crate::store) fn inspect(disk: Arc<D>, path: PathBuf) -> Result<Self, TableError> {
        unimplemented!("{} {}", path.display(), disk.random_u64())
    }

    /// Checks header, footer, index and length against the summary, without reading the blocks.
    ///
    /// # Errors
    /// [`TableError`].
    pub(in crate::store) fn check(&self) -> Result<(), TableError> {
        unimplemented!()
    }

    /// What the catalog keeps of it.
    pub(in crate::store) fn summary(&self) -> &TableSummary {
        &self.summary
    }

    /// What its rows are.
    pub(in crate::store) fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Number of the partition of time that holds its rows.
    pub(in crate::store) fn partition(&self) -> i32 {
        self.partition
    }

    /// Its file.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// Marks it as replaced: its file is removed when the last reader drops it.
    pub(in crate::store) fn remove_when_dropped(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }

    /// Numbers of the blocks that may hold rows of a series that start in `[from, to)`.
    ///
    /// # Errors
    /// [`TableError`], if the index cannot be read.
    pub(in crate::store) fn blocks_of(
        &self,
        series: u32,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Range<u32>, TableError> {
        unimplemented!("{series} {from:?} {to:?}")
    }

    /// Number of its blocks.
    pub(in crate::store) fn block_count(&self) -> u32 {
        self.summary.blocks
    }

    /// The rows of a block.
    ///
    /// # Errors
    /// [`TableError`], if the index cannot be read or has no such block.
    pub(in crate::store) fn block_range(&self, number: u32) -> Result<BlockRange, TableError> {
        unimplemented!("{number}")
    }

    /// Reads, checks and decompresses a block, or finds it in the cache.
    ///
    /// # Errors
    /// [`TableError`].
    pub(in crate::store) fn block(
        &self,
        number: u32,
        cache: Option<&BlockCache>,
    ) -> Result<Arc<TableBlock>, TableError> {
        unimplemented!("{number} {} {}", self.number, cache.is_some())
    }
}

impl<D: Disk> Drop for Table<D> {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Relaxed) {
            // A file that stays is removed at the next start: no record names it.
            let _ = self.disk.remove(&self.path);
        }
    }
}
