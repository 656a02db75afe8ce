//! A table: one immutable file.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use catchment_journal::{Disk, DiskFile};
use catchment_partial::Timestamp;
use rustix::process::{Resource, getrlimit};

use super::{
    block::TableBlock,
    cache::BlockCache,
    compression::decompress,
    error::TableError,
    format::{FOOTER_BYTES, Footer, HEADER_BYTES, header, read_header},
    index::{self, IndexEntry, read_index},
    resolution::Resolution,
    writer::TableSummary,
};

/// Gives each table of the process a number of its own, for the cache: paths could be used again.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An immutable file of rows of one resolution and one partition. At first use its file is opened and its index read;
/// the index is kept, some 60 bytes a block, and the open file while fewer than [`kept_open`] are.
pub(in crate::store) struct Table<D: Disk> {
    disk: Arc<D>,
    path: PathBuf,
    resolution: Resolution,
    partition: i32,
    summary: TableSummary,
    number: u64,
    replaced: AtomicBool,
    opened: OnceLock<Opened<D>>,
}

struct Opened<D: Disk> {
    /// `None`: too many are open; the file is opened for each read.
    file: Option<KeptOpen<D>>,
    index: Vec<IndexEntry>,
}

/// A file that stays open, one of at most [`kept_open`] of the process.
struct KeptOpen<D: Disk>(D::File);

/// Most files of tables that stay open: descriptors are needed for connections too.
const KEPT_OPEN: usize = 256;
/// The part of all descriptors of the process that they may take.
const KEPT_OPEN_PART: u64 = 8;
static OPEN: AtomicUsize = AtomicUsize::new(0);

impl<D: Disk> KeptOpen<D> {
    fn new(file: D::File) -> Option<Self> {
        let most = kept_open();
        let room = |open: usize| (open < most).then_some(open + 1);
        OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok().map(|_| Self(file))
    }
}

/// Most files of tables that stay open under the process's limit of descriptors.
fn kept_open() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current;
        limit.map_or(KEPT_OPEN, |limit| {
            KEPT_OPEN.min(usize::try_from(limit / KEPT_OPEN_PART).unwrap_or(KEPT_OPEN))
        })
    })
}

impl<D: Disk> Drop for KeptOpen<D> {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
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
        Self {
            disk,
            path,
            resolution,
            partition,
            summary,
            number,
            replaced: AtomicBool::new(false),
            opened: OnceLock::new(),
        }
    }

    /// The table of a file that no catalog names, as the file itself tells.
    ///
    /// # Errors
    /// [`TableError`].
    pub(in crate::store) fn inspect(disk: Arc<D>, path: PathBuf) -> Result<Self, TableError> {
        let (file, header, footer) = open_file(&*disk, &path)?;
        let (resolution, partition) =
            read_header(&header).map_err(|reason| TableError::damaged(&path, None, reason))?;
        drop(file);
        let table = Self::new(disk, path, resolution, partition, footer.summary);
        table.check()?;
        Ok(table)
    }

    /// Checks header, footer, index and length against the summary, without reading the blocks.
    ///
    /// # Errors
    /// [`TableError`].
    pub(in crate::store) fn check(&self) -> Result<(), TableError> {
        self.opened().map(drop)
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
        Ok(index::find(&self.opened()?.index, series, from, to))
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
        self.entry(number).map(|entry| entry.range)
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
        if let Some(block) = cache.and_then(|cache| cache.get(self.number, number)) {
            return Ok(block);
        }
        let entry = self.entry(number)?;
        let mut stored = vec![0; entry.stored as usize];
        self.read(&mut stored, entry.offset, number)?;
        let block = Arc::new(self.decode(number, entry, &stored)?);
        if let Some(cache) = cache {
            cache.insert(self.number, number, Arc::clone(&block));
        }
        Ok(block)
    }

    /// A block in the index.
    pub(super) fn entry(&self, number: u32) -> Result<&IndexEntry, TableError> {
        let opened = self.opened()?;
        let missing = || self.damaged(Some(number), "there is no such block");
        opened.index.get(number as usize).ok_or_else(missing)
    }

    /// Fills a buffer from a position of the file, for a block.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64, block: u32) -> Result<(), TableError> {
        if let Some(KeptOpen(file)) = &self.opened()?.file {
            return self.read_from(file, buffer, offset, Some(block));
        }
        let file = self.disk.open_read(&self.path).map_err(|error| TableError::of(&self.path, &error))?;
        self.read_from(&file, buffer, offset, Some(block))
    }

    fn read_from(
        &self,
        file: &D::File,
        buffer: &mut [u8],
        offset: u64,
        block: Option<u32>,
    ) -> Result<(), TableError> {
        read_exact(file, buffer, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged(block, "the file ends before it"),
            _ => TableError::of(&self.path, &error),
        })
    }

    /// Checks and decompresses a block.
    pub(super) fn decode(
        &self,
        number: u32,
        entry: &IndexEntry,
        stored: &[u8],
    ) -> Result<TableBlock, TableError> {
        let damaged = |reason| self.damaged(Some(number), reason);
        if crc32c::crc32c(stored) != entry.crc {
            return Err(damaged("its checksum differs"));
        }
        let content = decompress(stored, entry.content as usize);
        let content = content.map_err(|_| damaged("it cannot be decompressed"))?;
        let block = TableBlock::decode(content).ok_or_else(|| damaged("its content is malformed"))?;
        let BlockRange { first, last, rows } = entry.range;
        if (block.range(), block.row_count()) != ((first, last), rows) {
            return Err(damaged("its rows are not those that the index names"));
        }
        Ok(block)
    }

    /// The open file with its index.
    fn opened(&self) -> Result<&Opened<D>, TableError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        // Of several at once, one counts.
        let opened = self.open()?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn open(&self) -> Result<Opened<D>, TableError> {
        let (file, header_bytes, footer) = open_file(&*self.disk, &self.path)?;
        let of = (self.resolution, self.partition);
        if header_bytes != header(self.resolution, self.partition) || footer.summary != self.summary {
            return Err(self.damaged(None, "it is not the table that the catalog names"));
        }
        // The footer's offsets lie in the file, so the length of the file bounds this.
        let mut bytes = vec![0; footer.index_bytes as usize];
        self.read_from(&file, &mut bytes, footer.index_offset, None)?;
        if crc32c::crc32c(&bytes) != self.summary.index_crc {
            return Err(self.damaged(None, "the checksum of its index differs"));
        }
        let index = read_index(&bytes, self.summary.blocks, footer.index_offset, of);
        let index = index.filter(|index| self.agrees(index));
        let index = index.ok_or_else(|| self.damaged(None, "its index is malformed"))?;
        Ok(Opened { file: KeptOpen::new(file), index })
    }

    /// Whether an index is of the rows of the summary.
    fn agrees(&self, index: &[IndexEntry]) -> bool {
        let rows: u64 = index.iter().map(|entry| u64::from(entry.range.rows)).sum();
        let least = index.first().map(|entry| entry.range.first.0);
        let greatest = index.last().map(|entry| entry.range.last.0);
        let summary = &self.summary;
        rows == summary.rows
            && least == Some(summary.least_series)
            && greatest == Some(summary.greatest_series)
    }

    fn damaged(&self, block: Option<u32>, reason: &str) -> TableError {
        TableError::damaged(&self.path, block, reason)
    }
}

/// A file with its header and footer.
fn open_file<D: Disk>(disk: &D, path: &Path) -> Result<(D::File, [u8; HEADER_BYTES], Footer), TableError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => TableError::damaged(path, None, "it is too short for a table"),
        _ => TableError::of(path, &error),
    };
    let file = disk.open_read(path).map_err(failed)?;
    let bytes = file.len().map_err(failed)?;
    let mut header = [0; HEADER_BYTES];
    read_exact(&file, &mut header, 0).map_err(failed)?;
    let mut footer = [0; FOOTER_BYTES];
    let footer_offset = bytes.checked_sub(FOOTER_BYTES as u64);
    let footer_offset = footer_offset.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
    read_exact(&file, &mut footer, footer_offset).map_err(failed)?;
    let decoded = Footer::decode(&footer, &header, bytes);
    let footer = decoded.ok_or_else(|| TableError::damaged(path, None, "it does not end like a table"))?;
    Ok((file, header, footer))
}

fn read_exact(file: &impl DiskFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = buffer.get_mut(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl<D: Disk> Drop for Table<D> {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Relaxed) {
            // A file that stays is removed at the next start: no record names it.
            let _ = self.disk.remove(&self.path);
        }
    }
}
