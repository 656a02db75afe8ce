//! A block of a table: sections of one or several series, or a piece of one.
//!
//! ```text
//! sections, bytes of all columns (varints)
//! for each section: series minus that before, 4 × rows + origin (varints)
//! columns of all sections | bodies of all sections
//! ```
//!
//! An origin is 0: that of the section before; 1: its own, and width (milliseconds), epoch and shard follow (varints); 2:
//! several, by columns.
//!
//! Columns stand together because those of many short sections resemble each other. Decoding is total: any bytes are a
//! block or an error, and a block is checked as a whole before its rows are read.

use catchment_partial::{Timestamp, Width};

use super::{
    section::{COLUMNS_BYTES_MIN, Origin, Section, SectionBuilder, SectionCursor},
    table::RowPlace,
    varint::{put, varint},
};
use crate::store::memtable::row::RowRef;

/// Most bytes of a block, decompressed.
pub(super) const CONTENT_BYTES_MAX: u32 = 1 << 20;
/// Most rows of a block: rows may take no bytes in it.
pub(super) const ROWS_MAX: u32 = 1 << 16;
/// Bytes of numbers before the directory, at most.
const HEAD_BYTES: usize = 8;

const LIKE_BEFORE: u64 = 0;
const OWN: u64 = 1;
const SEVERAL: u64 = 2;

/// Puts sections into a block.
#[derive(Default)]
pub(super) struct BlockBuilder {
    directory: Vec<u8>,
    columns: Vec<u8>,
    bodies: Vec<u8>,
    sections: u32,
    rows: u32,
    last_series: u32,
    /// That of the section before.
    origin: Option<Origin>,
    range: Option<(RowPlace, RowPlace)>,
}

impl BlockBuilder {
    /// Adds a section of a greater series than the one before. An empty one changes nothing.
    pub(super) fn add(&mut self, series: u32, section: &mut SectionBuilder) {
        let Some((first, last)) = section.starts() else { return };
        let origin = section.origin();
        let kind = match origin {
            None => SEVERAL,
            Some(_) if origin == self.origin => LIKE_BEFORE,
            Some(_) => OWN,
        };
        put(u64::from(series.wrapping_sub(self.last_series)), &mut self.directory);
        put(u64::from(section.rows()) << 2 | kind, &mut self.directory);
        if let Some(Origin { width, epoch, shard }) = origin
            && kind == OWN
        {
            [width.as_millis(), epoch, shard]
                .iter()
                .for_each(|value| put(u64::from(*value), &mut self.directory));
        }
        section.put_columns(origin, &mut self.columns);
        self.bodies.extend_from_slice(section.bodies());
        self.origin = origin.or(self.origin);
        self.sections += 1;
        self.rows += section.rows();
        self.last_series = series;
        let first = self.range.map_or((series, first), |(first, _)| first);
        self.range = Some((first, (series, last)));
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// Places of the first and last row; `None` while it is empty.
    pub(super) fn range(&self) -> Option<(RowPlace, RowPlace)> {
        self.range
    }

    /// Bytes of the block so far, about.
    pub(super) fn bytes(&self) -> usize {
        self.directory.len() + self.columns.len() + self.bodies.len() + HEAD_BYTES
    }

    /// Writes the block, and empties the builder for the next one.
    pub(super) fn put_into(&mut self, out: &mut Vec<u8>) {
        put(u64::from(self.sections), out);
        put(self.columns.len() as u64, out);
        for part in [&mut self.directory, &mut self.columns, &mut self.bodies] {
            out.extend_from_slice(part);
            part.clear();
        }
        (self.sections, self.rows, self.last_series) = (0, 0, 0);
        (self.origin, self.range) = (None, None);
    }
}

/// The rows of a block, checked.
#[derive(Debug)]
pub(in crate::store) struct TableBlock {
    content: Box<[u8]>,
    /// By series, at least one.
    sections: Box<[Section]>,
    rows: u32,
    range: (RowPlace, RowPlace),
}

impl TableBlock {
    /// Checks a block; `None` if it is malformed.
    pub(super) fn decode(content: Vec<u8>) -> Option<Self> {
        let (mut sections, mut columns, bodies_start) = read_directory(&content)?;
        let (mut bodies, mut rows) = (bodies_start, 0);
        let mut range: Option<(RowPlace, RowPlace)> = None;
        for section in &mut sections {
            (section.columns, section.bodies) = (columns, bodies);
            let checked = SectionCursor::check(&content, section)?;
            (columns, bodies) = (checked.columns_end, checked.bodies_end);
            rows += section.rows;
            let (first, last) = checked.starts;
            let first = range.map_or((section.series, first), |(first, _)| first);
            range = Some((first, (section.series, last)));
        }
        let whole = columns == bodies_start && bodies as usize == content.len();
        let (content, sections) = (content.into_boxed_slice(), sections.into_boxed_slice());
        whole.then_some(Self { content, sections, rows, range: range? })
    }

    /// Rows of one series that start in `[from, to)`, in order of their names.
    pub(in crate::store) fn rows(&self, series: u32, from: Timestamp, to: Timestamp) -> Rows<'_> {
        Rows { block: self, cursor: self.cursor_of(series, from, to) }
    }

    /// As [`TableBlock::rows`], without the block.
    pub(super) fn cursor_of(&self, series: u32, from: Timestamp, to: Timestamp) -> BlockCursor {
        let sections = self.section_of(series).map_or(0..0, |index| index as u32..index as u32 + 1);
        BlockCursor::new(sections, from, to)
    }

    /// Index of the section of a series.
    fn section_of(&self, series: u32) -> Option<usize> {
        // The series of a block mostly are consecutive: it is looked up at once, where a search among many blocks that
        // no processor's cache holds waits for memory at each step.
        let (first, _) = self.range.0;
        let expected = series.checked_sub(first)? as usize;
        if self.sections.get(expected).is_some_and(|section| section.series == series) {
            return Some(expected);
        }
        self.sections.binary_search_by_key(&series, |section| section.series).ok()
    }

    /// All rows, by series and name.
    #[cfg(test)]
    pub(in crate::store) fn all(&self) -> Rows<'_> {
        Rows { block: self, cursor: self.cursor() }
    }

    /// Its bytes, which hold the bodies.
    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }

    /// Reads all rows.
    pub(super) fn cursor(&self) -> BlockCursor {
        BlockCursor::new(0..self.sections.len() as u32, Timestamp::MIN, Timestamp::MAX)
    }

    /// Places of the first and last row.
    pub(super) fn range(&self) -> (RowPlace, RowPlace) {
        self.range
    }

    /// Number of its rows.
    pub(in crate::store) fn row_count(&self) -> u32 {
        self.rows
    }

    /// Bytes in memory.
    pub(in crate::store) fn weight(&self) -> u64 {
        (size_of::<Self>() + self.content.len() + size_of_val::<[Section]>(&self.sections)) as u64
    }
}

/// The sections, yet without positions, and where columns and bodies begin; `None` if it is malformed.
fn read_directory(content: &[u8]) -> Option<(Vec<Section>, u32, u32)> {
    let mut at = 0;
    let mut number = || varint(content, &mut at).and_then(|value| u32::try_from(value).ok());
    let (count, columns_bytes) = (number()? as usize, number()?);
    if count > (ROWS_MAX as usize).min(content.len() / COLUMNS_BYTES_MIN) {
        return None;
    }
    let mut sections = Vec::with_capacity(count);
    let (mut series, mut rows_left, mut before) = (0_u32, ROWS_MAX, None);
    for index in 0..count {
        let (step, rows) = (number()?, number()?);
        let (rows, kind) = (rows >> 2, rows & 3);
        if rows == 0 || (index > 0 && step == 0) {
            return None;
        }
        let origin = match u64::from(kind) {
            LIKE_BEFORE => Some(before?),
            OWN => {
                let width = Width::from_millis(number()?).ok()?;
                Some(Origin { width, epoch: number()?, shard: number()? })
            }
            SEVERAL => None,
            _ => return None,
        };
        before = origin.or(before);
        series = series.checked_add(step)?;
        rows_left = rows_left.checked_sub(rows)?;
        sections.push(Section { series, rows, origin, columns: 0, bodies: 0 });
    }
    let bodies = at.checked_add(columns_bytes)?;
    Some((sections, at, bodies))
}

/// Rows of one series or of all of a block, in order.
pub(in crate::store) struct Rows<'a> {
    block: &'a TableBlock,
    cursor: BlockCursor,
}

impl<'a> Iterator for Rows<'a> {
    type Item = RowRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RowRef<'a>> {
        self.cursor.next(self.block)
    }
}

/// Reads sections of a block: a place in it, without the block.
pub(super) struct BlockCursor {
    section: Option<SectionCursor>,
    /// Indices of the sections to come.
    next: u32,
    end: u32,
    from: Timestamp,
    to: Timestamp,
}

impl BlockCursor {
    fn new(sections: std::ops::Range<u32>, from: Timestamp, to: Timestamp) -> Self {
        Self { section: None, next: sections.start, end: sections.end, from, to }
    }

    /// The next row of the block that made this cursor.
    #[inline]
    pub(super) fn next<'a>(&mut self, block: &'a TableBlock) -> Option<RowRef<'a>> {
        loop {
            if let Some(section) = &mut self.section
                && let Some(row) = section.next(&block.content)
                && row.name.start < self.to
            {
                return Some(row);
            }
            self.open_next(block)?;
        }
    }

    /// Where the body of the row read last ends in the content.
    pub(super) fn body_end(&self) -> u32 {
        self.section.as_ref().map_or(0, SectionCursor::body_end)
    }

    fn open_next(&mut self, block: &TableBlock) -> Option<()> {
        self.section = None;
        let section = block.sections.get(self.next as usize).filter(|_| self.next < self.end)?;
        self.next += 1;
        let (mut cursor, _) = SectionCursor::open(&block.content, section)?;
        if self.from > Timestamp::MIN {
            cursor.skip_to(&block.content, self.from)?;
        }
        self.section = Some(cursor);
        Some(())
    }
}
