//! A step of a reader: rows of one resolution that start in a span, short enough to hold its blocks.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Window};

use super::sorted::SortedRows;
use crate::store::tables::{
    block::TableBlock, cache::BlockCache, error::TableError, fresh::FreshRows, pieces::Piece, table::Table,
    version::StoredTable,
};

/// Rows and bytes of the blocks of a step, about: less than a block of each table, and the blocks that hold the rows of
/// one time, cannot be read.
const STEP_ROWS: u64 = if cfg!(test) { 1_000 } else { 16 << 10 };
const STEP_BYTES: u64 = 4 << 20;
/// Bytes of blocks that are read in one call.
const BYTES_A_CALL: u64 = if cfg!(test) { 64 << 10 } else { 4 << 20 };
/// What a block that cannot be read counts as.
const UNREAD_BYTES: u64 = 32 << 10;

/// Span of time of rows that cannot be read, and why.
pub(super) type Unread = ((Timestamp, Timestamp), TableError);

/// Rows that are read together.
pub(super) struct Step<D: Disk> {
    /// Their span and resolution.
    pub(super) piece: Piece,
    series: u32,
    /// The youngest first.
    tables: Vec<TableInput<D>>,
    /// What could not be read.
    pub(super) unread: Vec<Unread>,
    /// Once all blocks are read.
    rows: Option<SortedRows>,
}

/// A table with blocks of the step.
struct TableInput<D: Disk> {
    stored: Arc<StoredTable<D>>,
    /// Those that are not read yet.
    numbers: Range<u32>,
    blocks: VecDeque<Arc<TableBlock>>,
}

impl<D: Disk> Step<D> {
    /// The beginning of a piece, which lies in the partition of these tables, in order of age. Reads no block.
    pub(super) fn new(series: u32, piece: Piece, tables: &[Arc<StoredTable<D>>]) -> Self {
        let piece = Piece { to: end_of_step(series, &piece, tables), ..piece };
        let mut step = Self { piece, series, tables: Vec::new(), unread: Vec::new(), rows: None };
        for stored in tables.iter().rev() {
            match stored.table.blocks_of(series, piece.from, piece.to) {
                Ok(numbers) if numbers.is_empty() => {}
                Ok(numbers) => {
                    let (stored, blocks) = (Arc::clone(stored), VecDeque::new());
                    step.tables.push(TableInput { stored, numbers, blocks });
                }
                Err(error) => step.unread.extend(unread_table(&stored.table, series, &piece, error)),
            }
        }
        step
    }

    /// Reads some of the blocks; returns whether all are read.
    pub(super) fn load(&mut self, cache: &BlockCache) -> bool {
        let mut left = BYTES_A_CALL;
        for TableInput { stored, numbers, blocks } in &mut self.tables {
            for number in numbers.by_ref() {
                match stored.table.block(number, Some(cache)) {
                    Ok(block) => {
                        left = left.saturating_sub(block.weight());
                        blocks.push_back(block);
                    }
                    Err(error) => {
                        left = left.saturating_sub(UNREAD_BYTES);
                        self.unread.push((span_of(&stored.table, number, self.series), error));
                    }
                }
                if left == 0 {
                    return false;
                }
            }
        }
        true
    }

    /// Visits the next rows, of blocks that are all read; returns whether there are more.
    pub(super) fn emit(&mut self, fresh: &FreshRows, visit: &mut dyn FnMut(Window, &[u8])) -> bool {
        let Piece { from, to, resolution } = self.piece;
        let tables = &mut self.tables;
        let rows = self.rows.get_or_insert_with(|| {
            let blocks = tables.drain(..).map(|table| table.blocks);
            SortedRows::new(self.series, (from, to), resolution, blocks, fresh)
        });
        rows.emit(fresh, visit)
    }

    /// Whether rows were visited.
    pub(super) fn is_begun(&self) -> bool {
        self.rows.is_some()
    }

    /// Memory of blocks, bytes.
    pub(super) fn memory(&self) -> usize {
        let loaded = self.tables.iter().flat_map(|table| &table.blocks);
        let loaded: usize = loaded.map(|block| block.weight() as usize).sum();
        loaded + self.rows.as_ref().map_or(0, SortedRows::memory)
    }
}

/// Where the first rows of a piece end that are few enough to be read together: where a block begins, or the interval that
/// it begins within. Rows of one interval are read in one step: if a block of them cannot be read, finer rows stand for
/// whole intervals.
fn end_of_step<D: Disk>(series: u32, piece: &Piece, tables: &[Arc<StoredTable<D>>]) -> Timestamp {
    let mut blocks = Vec::new();
    for stored in tables {
        // What cannot be read of the index is reported where the blocks are read.
        let numbers = stored.table.blocks_of(series, piece.from, piece.to).unwrap_or_default();
        let mut own = Size::default();
        for entry in numbers.filter_map(|number| stored.table.entry(number).ok()) {
            let (first, start) = entry.range.first;
            let begin = if first == series { piece.resolution.start_of(start) } else { Timestamp::MIN };
            let size = Size { rows: u64::from(entry.range.rows), bytes: u64::from(entry.content) };
            blocks.push((begin.max(piece.from), size));
            own.add(size);
            if begin > piece.from && own.is_too_much() {
                // The step ends here at the latest.
                break;
            }
        }
    }
    if blocks.len() < 2 {
        return piece.to;
    }
    blocks.sort_unstable_by_key(|(begin, _)| *begin);
    let mut all = Size::default();
    for (begin, size) in blocks {
        all.add(size);
        if begin > piece.from && all.is_too_much() {
            return begin.min(piece.to);
        }
    }
    piece.to
}

/// Rows and bytes of blocks.
#[derive(Clone, Copy, Default)]
struct Size {
    rows: u64,
    bytes: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }

    fn is_too_much(self) -> bool {
        self.rows > STEP_ROWS || self.bytes > STEP_BYTES
    }
}

/// The span of a table whose index cannot be read, if it may hold rows of a piece.
fn unread_table<D: Disk>(table: &Table<D>, series: u32, piece: &Piece, error: TableError) -> Option<Unread> {
    let summary = table.summary();
    let may_hold = (summary.least_series..=summary.greatest_series).contains(&series)
        && summary.first < piece.to
        && piece.from <= summary.last;
    may_hold.then_some(((summary.first, summary.last), error))
}

/// The first and the last time at which a row of a series may start in a block.
fn span_of<D: Disk>(table: &Table<D>, number: u32, series: u32) -> (Timestamp, Timestamp) {
    let Ok(range) = table.block_range(number) else { return (Timestamp::MIN, Timestamp::MAX) };
    let first = if range.first.0 == series { range.first.1 } else { Timestamp::MIN };
    let last = if range.last.0 == series { range.last.1 } else { Timestamp::MAX };
    (first, last)
}
