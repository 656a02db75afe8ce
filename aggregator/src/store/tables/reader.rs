//! Reads the rows of a series from memory and tables.
//!
//! A reader takes memory and version at one moment, so that it sees each row once, whatever is flushed meanwhile. It
//! reads piece by piece ([`crate::store::tables::pieces`]); rows that memory holds join the rows of any resolution, because
//! merging is exact. Only a row that replaces a flushed one cannot join: its interval is read from windows.

use std::{collections::VecDeque, sync::Arc};

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Window};

use crate::store::{
    Merged, RowReader, RowRequest, StoreError,
    catalog::listing::number_of,
    embedded::{inner::Inner, locks::read},
    memtable::row::{RowRef, resolve},
    tables::{
        block::TableBlock,
        build::{REPLACES, place},
        cache::BlockCache,
        error::TableError,
        fresh::FreshRows,
        pieces::{ALL_KEPT, Coarsest, Floors, Mark, Piece, coarsest_for, marks, pieces},
        repeats,
        resolution::Resolution,
        table::Table,
        version::Version,
    },
};

/// Most rows of windows that are read at once from several tables; beyond, an hour is.
const ROWS_AT_ONCE: u64 = 16_384;
const HOUR_NANOS: i64 = 3_600_000_000_000;

/// Rows of one series, in order of the start of their windows.
pub(in crate::store) struct TableReader<D: Disk> {
    version: Arc<Version<D>>,
    cache: Arc<BlockCache>,
    series: u32,
    fresh: FreshRows,
    floors: Floors,
    /// Starts of rows in memory that replace flushed ones, or may, and of listed points.
    marks: Vec<Mark>,
    pieces: VecDeque<Piece>,
    damaged: Vec<(Timestamp, Timestamp)>,
}

impl<D: Disk> TableReader<D> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if memory may lack acknowledged rows.
    pub(in crate::store) fn new(inner: &Inner<D>, request: &RowRequest) -> Result<Self, StoreError> {
        inner.apply_durable();
        if inner.is_half_applied() {
            inner.healthy()?;
        }
        let RowRequest { series, mut from, mut to, ref steps, resolution } = *request;
        let (series, mut fresh) = (number_of(series), FreshRows::default());
        let (version, floors, flushed) = {
            let state = read(&inner.state);
            let known = state.catalog.series.get(series);
            let Some(known) = known else { return Ok(Self::empty(inner)) };
            from = from.max(known.first);
            to = to.min(known.last.saturating_add_nanos(1));
            state.copy_rows(series, from, to, &mut fresh);
            (inner.tables.version(), inner.tables.floors_of(&state.catalog, known), known.flushed)
        };
        fresh.resolve();
        let without_windows = coarsest_for(steps);
        let beside_windows = match resolution {
            Merged::Allowed => without_windows,
            Merged::OnlyWithoutWindows => Resolution::Windows,
        };
        let cache = Arc::clone(&inner.tables.cache);
        let mut reader = Self {
            version,
            cache,
            series,
            fresh,
            floors,
            marks: Vec::new(),
            pieces: VecDeque::new(),
            damaged: Vec::new(),
        };
        // Windows of one name are resolved when they are read, rows of other resolutions cannot be.
        let fine = if beside_windows == Resolution::Windows { Vec::new() } else { reader.replaced(flushed) };
        // A merged row starts with its interval, perhaps before the first window.
        let from = request.from.max(Resolution::Day.start_of(from));
        let coarsest = Coarsest { beside_windows, without_windows };
        reader.marks = marks(fine, steps, from, to);
        reader.pieces = pieces(from, to, coarsest, &reader.floors, &reader.marks).into();
        Ok(reader)
    }

    fn empty(inner: &Inner<D>) -> Self {
        Self {
            version: inner.tables.version(),
            cache: Arc::clone(&inner.tables.cache),
            series: u32::MAX,
            fresh: FreshRows::default(),
            floors: ALL_KEPT,
            marks: Vec::new(),
            pieces: VecDeque::new(),
            damaged: Vec::new(),
        }
    }

    /// Leaves out rows in memory that the tables hold too; returns the starts of those that replace a flushed one, or may.
    fn replaced(&mut self, flushed: Timestamp) -> Vec<Timestamp> {
        let Self { version, cache, series, fresh, floors, .. } = self;
        let [windows, ..] = *floors;
        let mut starts = Vec::new();
        fresh.retain(|name, revision| {
            if name.start > flushed || name.start < windows {
                return true;
            }
            match repeats::revision(version, cache, *series, name) {
                Ok(None) => true,
                Ok(Some(held)) if held >= revision => false,
                Ok(Some(_)) | Err(_) => {
                    starts.push(name.start);
                    true
                }
            }
        });
        starts
    }

    /// The first time in a piece at which there may be rows; years without any are skipped.
    fn next_start(&self, piece: &Piece) -> Option<Timestamp> {
        let Piece { from, to, resolution } = *piece;
        let mut partitions = self.version.partitions(resolution, resolution.partition_of(from));
        let stored = partitions.next().map(|(partition, _)| resolution.partition_start(partition).max(from));
        let fresh = self.fresh.between(self.series, from, to).next().map(|row| row.name.start);
        stored.into_iter().chain(fresh).min().filter(|start| *start < to)
    }

    /// Reads the beginning of a piece.
    fn read(&mut self, piece: Piece, visit: &mut dyn FnMut(Window, &[u8])) -> Result<(), StoreError> {
        let Piece { from, mut to, resolution } = piece;
        let partition = resolution.partition_of(from);
        let end = resolution.partition_end(partition);
        if end < to || (end == to && end == Timestamp::MAX) {
            to = end;
        }
        let version = Arc::clone(&self.version);
        let tables = version.of(resolution, partition);
        let many =
            || tables.iter().map(|stored| rows_about(&stored.table, self.series, from, to)).sum::<u64>();
        if resolution == Resolution::Windows && many() > ROWS_AT_ONCE {
            let hour = from.as_nanos().div_euclid(HOUR_NANOS).saturating_add(1).saturating_mul(HOUR_NANOS);
            to = to.min(Timestamp::from_nanos(hour));
        }
        if to < piece.to {
            self.pieces.push_front(Piece { from: to, ..piece });
        }
        let mut blocks: Vec<(usize, Arc<TableBlock>)> = Vec::new();
        let mut damaged = Vec::new();
        for (age, stored) in tables.iter().enumerate() {
            read_blocks(&stored.table, &self.cache, self.series, (from, to), |block| match block {
                Ok(block) => blocks.push((age, block)),
                Err((span, error)) => damaged.push((span, error)),
            });
        }
        if let Some((_, error)) = damaged.iter().find(|(_, error)| error.is_refusal()) {
            return Err(StoreError::Read(error.to_string()));
        }
        if let (false, Some(finer)) = (damaged.is_empty(), resolution.finer()) {
            let floor = self.floors.get(usize::from(finer.number())).copied().unwrap_or(Timestamp::MAX);
            // What cannot be read of merged rows, the finer ones tell, as far as they are kept.
            let floor = floor.max(from);
            if floor < to {
                let coarsest = Coarsest { beside_windows: finer, without_windows: finer };
                let instead = pieces(floor, to, coarsest, &self.floors, &self.marks);
                instead.into_iter().rev().for_each(|piece| self.pieces.push_front(piece));
                to = floor;
            }
        }
        for ((first, last), error) in damaged {
            if from >= to || first >= to || last <= from {
                continue;
            }
            self.cache.damaged.report(
                &error,
                "answers leave out their span, and say so; `catchment-aggregator store verify` lists all damage",
            );
            self.damaged.push((first.max(from), last.min(to)));
        }
        if from < to {
            let fresh = self.fresh.between(self.series, from, to);
            emit(&blocks, self.series, (from, to), resolution, fresh, visit);
        }
        Ok(())
    }
}

/// Span of time of rows that cannot be read, and why.
type Unread = ((Timestamp, Timestamp), TableError);

/// Reads the blocks that may hold rows of a series in a span of time.
fn read_blocks<D: Disk>(
    table: &Table<D>,
    cache: &BlockCache,
    series: u32,
    (from, to): (Timestamp, Timestamp),
    mut take: impl FnMut(Result<Arc<TableBlock>, Unread>),
) {
    let numbers = match table.blocks_of(series, from, to) {
        Ok(numbers) => numbers,
        Err(error) => {
            let summary = table.summary();
            let span = (summary.first, summary.last.saturating_add_nanos(1));
            if series >= summary.least_series
                && series <= summary.greatest_series
                && span.0 < to
                && from < span.1
            {
                take(Err((span, error)));
            }
            return;
        }
    };
    for number in numbers {
        take(table.block(number, Some(cache)).map_err(|error| (span_of(table, number, series), error)));
    }
}

/// The span of time in which a block may hold rows of a series.
fn span_of<D: Disk>(table: &Table<D>, number: u32, series: u32) -> (Timestamp, Timestamp) {
    let Ok(range) = table.block_range(number) else { return (Timestamp::MIN, Timestamp::MAX) };
    let first = if range.first.0 == series { range.first.1 } else { Timestamp::MIN };
    let last = if range.last.0 == series { range.last.1.saturating_add_nanos(1) } else { Timestamp::MAX };
    (first, last)
}

/// At most this many rows of a table are of a series and start in [from, to).
fn rows_about<D: Disk>(table: &Table<D>, series: u32, from: Timestamp, to: Timestamp) -> u64 {
    let numbers = table.blocks_of(series, from, to).unwrap_or_default();
    numbers.filter_map(|number| table.block_range(number).ok()).map(|range| u64::from(range.rows)).sum()
}

/// Visits the rows of blocks and memory in order.
fn emit<'a>(
    blocks: &'a [(usize, Arc<TableBlock>)],
    series: u32,
    (from, to): (Timestamp, Timestamp),
    resolution: Resolution,
    fresh: impl Iterator<Item = RowRef<'a>>,
    visit: &mut dyn FnMut(Window, &[u8]),
) {
    let mut fresh = fresh.peekable();
    let one_table = blocks.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
    if blocks.is_empty() {
        fresh.for_each(|row| visit(row.name.window(), row.body));
        return;
    }
    if one_table && fresh.peek().is_none() {
        for row in blocks.iter().flat_map(|(_, block)| block.rows(series, from, to)) {
            visit(row.name.window(), row.body);
        }
        return;
    }
    let mut rows: Vec<RowRef<'a>> = Vec::new();
    if resolution == Resolution::Windows {
        rows.extend(blocks.iter().flat_map(|(_, block)| block.rows(series, from, to)));
        rows.extend(fresh);
        resolve(&mut rows);
    } else {
        rows = without_replaced(blocks, series, (from, to));
        rows.extend(fresh);
        rows.sort_by_key(|row| (row.name.start, row.name.width));
    }
    rows.iter().for_each(|row| visit(row.name.window(), row.body));
}

/// Merged rows of several tables, without those in place of which a younger table has another.
fn without_replaced<'a>(
    blocks: &'a [(usize, Arc<TableBlock>)],
    series: u32,
    (from, to): (Timestamp, Timestamp),
) -> Vec<RowRef<'a>> {
    let aged =
        blocks.iter().flat_map(|(age, block)| block.rows(series, from, to).map(move |row| (*age, row)));
    let mut aged: Vec<(usize, RowRef<'a>)> = aged.collect();
    aged.sort_by_key(|(age, row)| (place(row), std::cmp::Reverse(*age)));
    let mut rows: Vec<RowRef<'a>> = Vec::with_capacity(aged.len());
    let mut replaced = None;
    for (_, row) in aged {
        if replaced == Some(place(&row)) {
            continue;
        }
        if row.revision == REPLACES {
            replaced = Some(place(&row));
        }
        rows.push(row);
    }
    rows
}

impl<D: Disk> RowReader for TableReader<D> {
    fn advance(&mut self, visit: &mut dyn FnMut(Window, &[u8])) -> Result<bool, StoreError> {
        while let Some(piece) = self.pieces.pop_front() {
            if let Some(from) = self.next_start(&piece) {
                self.read(Piece { from, ..piece }, visit)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn damaged(&self) -> &[(Timestamp, Timestamp)] {
        &self.damaged
    }
}
