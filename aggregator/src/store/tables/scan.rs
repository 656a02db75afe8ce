//! Reads all rows of a table in order.

use std::sync::Arc;

use catchment_journal::Disk;

use super::{
    error::TableError,
    table::{BlockRange, Table},
};
use crate::store::memtable::row::RowRef;

/// Reads all rows of a table in order, without the cache, some blocks at once. For merging and verifying.
pub(in crate::store) struct TableScan<D: Disk> {
    table: Arc<Table<D>>,
}

/// A block that a scan could not read.
#[derive(Clone, Debug)]
pub(in crate::store) struct UnreadBlock {
    /// Its number.
    pub(in crate::store) number: u32,
    /// The rows that it held.
    pub(in crate::store) range: BlockRange,
    /// What happened.
    pub(in crate::store) error: TableError,
}

/// What a scan meets next.
pub(in crate::store) enum ScanStep {
    /// A row: see [`TableScan::row`].
    Row,
    /// A block that cannot be read. The scan continues with the next one.
    Unread(UnreadBlock),
    /// Nothing: there are no more rows.
    End,
}

impl<D: Disk> TableScan<D> {
    /// Begins before the first row.
    ///
    /// # Errors
    /// [`TableError`], if the index cannot be read.
    pub(in crate::store) fn new(table: Arc<Table<D>>) -> Result<Self, TableError> {
        Ok(Self { table })
    }

    /// Moves to the next row.
    pub(in crate::store) fn advance(&mut self) -> ScanStep {
        unimplemented!("{}", self.table.block_count())
    }

    /// The row at which it stands; `None` before the first and after the last.
    pub(in crate::store) fn row(&self) -> Option<RowRef<'_>> {
        unimplemented!()
    }
}
