//! Writes a table.

use std::{io, path::Path, sync::Arc};

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use super::resolution::Resolution;
use crate::store::memtable::row::RowRef;

/// Writes rows in order into a new file. Dropped before [`Self::finish`], it leaves a file that is no table.
pub(in crate::store) struct TableWriter<D: Disk> {
    file: D::File,
}

/// What the catalog keeps of a table, to notice another file in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct TableSummary {
    /// Length of the file.
    pub(in crate::store) bytes: u64,
    /// Number of rows, at least 1.
    pub(in crate::store) rows: u64,
    /// Number of blocks.
    pub(in crate::store) blocks: u32,
    /// CRC-32C of the index.
    pub(in crate::store) index_crc: u32,
    /// Least start of a row.
    pub(in crate::store) first: Timestamp,
    /// Greatest start of a row.
    pub(in crate::store) last: Timestamp,
    /// Least series.
    pub(in crate::store) least_series: u32,
    /// Greatest series.
    pub(in crate::store) greatest_series: u32,
}

impl<D: Disk> TableWriter<D> {
    /// Creates the file.
    ///
    /// # Errors
    /// Of the disk; [`io::ErrorKind::AlreadyExists`] if there is such a file.
    pub(in crate::store) fn create(
        disk: &Arc<D>,
        path: &Path,
        resolution: Resolution,
        partition: i32,
    ) -> io::Result<Self> {
        unimplemented!("{} {} {resolution:?} {partition}", path.display(), disk.random_u64())
    }

    /// Adds a row. Rows come sorted by series and name, each name once, all of them in the partition, with starts at
    /// multiples of their widths, and bodies of at most
    /// [`BODY_BYTES_MAX`](crate::store::blocks::block::BODY_BYTES_MAX).
    ///
    /// # Errors
    /// Of the disk; [`io::ErrorKind::InvalidInput`] for another row. The table cannot be finished then.
    pub(in crate::store) fn push(&mut self, row: RowRef<'_>) -> io::Result<()> {
        unimplemented!("{row:?}")
    }

    /// Bytes so far, an estimate: those written, and those that are not compressed yet.
    pub(in crate::store) fn bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Number of rows so far.
    pub(in crate::store) fn rows(&self) -> u64 {
        unimplemented!()
    }

    /// Writes the rest, index and footer, and makes the file durable, but not its name: sync the folder.
    ///
    /// # Errors
    /// Of the disk; [`io::ErrorKind::InvalidInput`] if there are no rows.
    pub(in crate::store) fn finish(self) -> io::Result<TableSummary> {
        unimplemented!()
    }
}
