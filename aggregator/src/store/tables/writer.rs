//! Writes a table.

use std::{io, path::Path, sync::Arc};

use catchment_journal::{Disk, DiskFile};
use catchment_partial::Timestamp;

use super::{
    block::BlockBuilder,
    compression::compress,
    format::{FOOTER_BYTES, Footer, HEADER_BYTES, header},
    index::{IndexEntry, put_entry},
    resolution::Resolution,
    section::{SectionBuilder, starts_window},
    table::{BlockRange, RowPlace},
};
use crate::store::{
    blocks::block::BODY_BYTES_MAX,
    memtable::row::{PartialName, RowRef},
};

/// A piece of a section takes no further rows once it has about this many bytes.
const PIECE_BYTES: usize = 32 << 10;
/// A section of more bytes than this begins a block of its own, so that its series is read alone.
const ALONE_BYTES: usize = 16 << 10;
/// A block takes no further sections once it has this many bytes.
const BLOCK_BYTES_FULL: usize = 24 << 10;
/// Most rows of a piece of a section.
const PIECE_ROWS: u32 = 8_192;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 << 10;

/// Writes rows in order into a new file. Dropped before [`Self::finish`], it leaves a file that is no table.
pub(in crate::store) struct TableWriter<D: Disk> {
    file: D::File,
    resolution: Resolution,
    partition: i32,
    /// The row pushed last; `section` is of its series.
    last: Option<(u32, PartialName)>,
    /// Rows of the series at hand that are in no block.
    section: SectionBuilder,
    block: BlockBuilder,
    index: Vec<u8>,
    /// Place of the last row in a written block, from which the index counts.
    before: RowPlace,
    content: Vec<u8>,
    stored: Vec<u8>,
    /// Bytes not written yet.
    buffer: Vec<u8>,
    /// Bytes of the file before `buffer`.
    written: u64,
    blocks: u32,
    rows: u64,
    starts: Option<(Timestamp, Timestamp)>,
    least_series: u32,
    failed: bool,
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
        let mut buffer = Vec::with_capacity(WRITE_BYTES + PIECE_BYTES);
        buffer.extend_from_slice(&header(resolution, partition));
        Ok(Self {
            file: disk.create_new(path)?,
            resolution,
            partition,
            last: None,
            section: SectionBuilder::default(),
            block: BlockBuilder::default(),
            index: Vec::new(),
            before: (0, resolution.partition_start(partition)),
            content: Vec::new(),
            stored: Vec::new(),
            buffer,
            written: 0,
            blocks: 0,
            rows: 0,
            starts: None,
            least_series: 0,
            failed: false,
        })
    }

    /// Adds a row. Rows come sorted by series and name, each name once, all of them in the partition, with starts at
    /// multiples of their widths, and bodies of at most [`BODY_BYTES_MAX`].
    ///
    /// # Errors
    /// Of the disk; [`io::ErrorKind::InvalidInput`] for another row. The table cannot be finished then.
    pub(in crate::store) fn push(&mut self, row: RowRef<'_>) -> io::Result<()> {
        let result = self.try_push(row);
        self.failed |= result.is_err();
        result
    }

    fn try_push(&mut self, row: RowRef<'_>) -> io::Result<()> {
        self.check(&row)?;
        if self.last.is_some_and(|(series, _)| series != row.series) {
            self.close_section()?;
        } else if self.section.bytes() + row.body.len() > PIECE_BYTES || self.section.rows() >= PIECE_ROWS {
            self.close_section()?;
            self.close_block()?;
        }
        if self.rows == 0 {
            self.least_series = row.series;
        }
        self.last = Some((row.series, row.name));
        self.section.push(row);
        self.rows += 1;
        let start = row.name.start;
        let (first, last) = self.starts.unwrap_or((start, start));
        self.starts = Some((first.min(start), last.max(start)));
        if self.section.bytes() > ALONE_BYTES && self.block.rows() > 0 {
            self.close_block()?;
        }
        Ok(())
    }

    fn check(&self, row: &RowRef<'_>) -> io::Result<()> {
        let name = &row.name;
        let refusal = if self.failed {
            "an earlier row failed"
        } else if row.body.len() > BODY_BYTES_MAX {
            "the body is too long"
        } else if self.resolution.partition_of(name.start) != self.partition {
            "the row is not in the partition"
        } else if !starts_window(name) {
            "the start is not that of a window"
        } else if self.last.is_some_and(|last| (row.series, *name) <= last) {
            "the row is not after the row before"
        } else {
            return Ok(());
        };
        let text = format!("{refusal}: series {}, {name:?}, {} bytes", row.series, row.body.len());
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Moves the rows at hand into the block, and closes the block if it is full.
    fn close_section(&mut self) -> io::Result<()> {
        if let Some((series, _)) = self.last {
            self.block.add(series, &mut self.section);
        }
        self.section.clear();
        if self.block.bytes() >= BLOCK_BYTES_FULL { self.close_block() } else { Ok(()) }
    }

    /// Compresses the block and appends it to the file, unless it is empty.
    fn close_block(&mut self) -> io::Result<()> {
        let Some((first, last)) = self.block.range() else { return Ok(()) };
        let rows = self.block.rows();
        self.content.clear();
        self.block.put_into(&mut self.content);
        compress(&self.content, &mut self.stored)?;
        let entry = IndexEntry {
            range: BlockRange { first, last, rows },
            offset: self.end(),
            stored: self.stored.len() as u32,
            content: self.content.len() as u32,
            crc: crc32c::crc32c(&self.stored),
        };
        put_entry(&entry, self.before, &mut self.index);
        self.before = last;
        self.blocks += 1;
        self.buffer.extend_from_slice(&self.stored);
        if self.buffer.len() >= WRITE_BYTES { self.write_buffer() } else { Ok(()) }
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written = self.end();
        self.buffer.clear();
        Ok(())
    }

    /// Where the file ends once the buffer is written.
    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Bytes so far, an estimate: those written, and those that are not compressed yet.
    #[cfg(test)]
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.end() + (self.block.bytes() + self.section.bytes() + self.index.len()) as u64
    }

    /// Number of rows so far.
    #[cfg(test)]
    pub(in crate::store) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the rest, index and footer, and makes the file durable, but not its name: sync the folder.
    ///
    /// # Errors
    /// Of the disk; [`io::ErrorKind::InvalidInput`] if there are no rows, or if a row was refused.
    pub(in crate::store) fn finish(mut self) -> io::Result<TableSummary> {
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        if self.failed {
            return Err(invalid("a row of the table failed"));
        }
        let ends = self.starts.zip(self.last);
        let ((first, last), (greatest_series, _)) = ends.ok_or_else(|| invalid("the table has no rows"))?;
        self.close_section()?;
        self.close_block()?;
        let index_offset = self.end();
        let index_bytes = self.index.len() as u64;
        let summary = TableSummary {
            bytes: index_offset + index_bytes + FOOTER_BYTES as u64,
            rows: self.rows,
            blocks: self.blocks,
            index_crc: crc32c::crc32c(&self.index),
            first,
            last,
            least_series: self.least_series,
            greatest_series,
        };
        let header: [u8; HEADER_BYTES] = header(self.resolution, self.partition);
        self.buffer.extend_from_slice(&self.index);
        self.buffer.extend_from_slice(&Footer { summary, index_offset, index_bytes }.encode(&header));
        self.write_buffer()?;
        self.file.sync_data()?;
        Ok(summary)
    }
}
