//! Reads all rows of a table in order.

use std::{ops::Range, sync::Arc};

use catchment_journal::Disk;

use super::{
    block::{BlockCursor, TableBlock},
    error::TableError,
    table::{BlockRange, Table},
};
use crate::store::memtable::row::{PartialName, RowRef};

/// Stored bytes that are read at once, unless a block has more.
const READ_BYTES: u32 = 256 << 10;

/// Reads all rows of a table in order, without the cache, several blocks at once. For merging and verifying.
pub(in crate::store) struct TableScan<D: Disk> {
    table: Arc<Table<D>>,
    /// The next block.
    next: u32,
    current: Option<(TableBlock, BlockCursor)>,
    row: Option<RowHead>,
    stored: Vec<u8>,
    /// Where `stored` is in the file.
    offset: u64,
}

/// A block that a scan could not read.
#[derive(Clone, Debug)]
pub(in crate::store) struct UnreadBlock {
    /// The rows that it held.
    pub(in crate::store) range: BlockRange,
    /// What happened.
    pub(in crate::store) error: TableError,
}

/// What a scan meets next.
#[derive(Clone, Debug)]
pub(in crate::store) enum ScanStep {
    /// A row: see [`TableScan::row`].
    Row,
    /// A block that cannot be read. The scan continues with the next one.
    Unread(UnreadBlock),
    /// No more rows.
    End,
}

/// A row without its body, and where that is in the block.
struct RowHead {
    series: u32,
    name: PartialName,
    revision: u64,
    body: Range<u32>,
}

impl<D: Disk> TableScan<D> {
    /// Begins before the first row.
    ///
    /// # Errors
    /// [`TableError`], if the index cannot be read.
    pub(in crate::store) fn new(table: Arc<Table<D>>) -> Result<Self, TableError> {
        table.check()?;
        Ok(Self { table, next: 0, current: None, row: None, stored: Vec::new(), offset: 0 })
    }

    /// Moves to the next row.
    pub(in crate::store) fn advance(&mut self) -> ScanStep {
        loop {
            if let Some((block, cursor)) = &mut self.current
                && let Some(RowRef { series, name, revision, body }) = cursor.next(block)
            {
                let end = cursor.body_end();
                let body = end.saturating_sub(body.len() as u32)..end;
                self.row = Some(RowHead { series, name, revision, body });
                return ScanStep::Row;
            }
            (self.current, self.row) = (None, None);
            if self.next == self.table.block_count() {
                return ScanStep::End;
            }
            let number = self.next;
            self.next += 1;
            match self.read(number) {
                Ok(block) => {
                    let cursor = block.cursor();
                    self.current = Some((block, cursor));
                }
                Err(error) => match self.table.block_range(number) {
                    Ok(range) => return ScanStep::Unread(UnreadBlock { range, error }),
                    // The index was read at the beginning.
                    Err(_) => return ScanStep::End,
                },
            }
        }
    }

    /// The row at which it stands; `None` before the first, after the last, and at a block that cannot be read.
    pub(in crate::store) fn row(&self) -> Option<RowRef<'_>> {
        let (RowHead { series, name, revision, body }, (block, _)) =
            self.row.as_ref().zip(self.current.as_ref())?;
        let body = block.content().get(body.start as usize..body.end as usize)?;
        Some(RowRef { series: *series, name: *name, revision: *revision, body })
    }

    fn read(&mut self, number: u32) -> Result<TableBlock, TableError> {
        let entry = self.table.entry(number)?;
        let (offset, length) = (entry.offset, entry.stored as usize);
        let end = offset + length as u64;
        if offset < self.offset || end > self.offset + self.stored.len() as u64 {
            self.stored.clear();
            self.stored.resize(self.bytes_from(number)?, 0);
            self.offset = offset;
            let read = self.table.read(&mut self.stored, offset, number);
            if read.is_err() {
                // Perhaps only a later block cannot be read.
                self.stored.clear();
                self.stored.resize(length, 0);
                let alone = self.table.read(&mut self.stored, offset, number);
                alone.inspect_err(|_| self.stored.clear())?;
            }
        }
        let start = offset.saturating_sub(self.offset) as usize;
        let stored = self.stored.get(start..start + length).unwrap_or_default();
        self.table.decode(number, entry, stored)
    }

    /// Bytes of the blocks to read at once from one on.
    fn bytes_from(&self, number: u32) -> Result<usize, TableError> {
        let mut bytes = self.table.entry(number)?.stored;
        for next in number + 1..self.table.block_count() {
            let longer = bytes + self.table.entry(next)?.stored;
            if longer > READ_BYTES {
                break;
            }
            bytes = longer;
        }
        Ok(bytes as usize)
    }
}
