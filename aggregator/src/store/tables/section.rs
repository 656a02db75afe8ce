//! A section: rows of one series, as columns and bodies.
//!
//! Columns in this order: width (milliseconds), epoch, shard, start, part, revision minus part, length of the body. If
//! all widths are alike, a start is the index of the window, else whole milliseconds.

use catchment_partial::{Timestamp, Width};

use super::column::{Column, put_column};
use crate::store::memtable::row::{PartialName, RowRef};

/// Number of columns.
const COLUMNS: usize = 7;
/// Least bytes of the columns of a section.
pub(super) const COLUMNS_BYTES_MIN: usize = 2 * COLUMNS;
/// Bytes that a row takes in the columns, about.
const ROW_BYTES: usize = 4;
const MILLI_NANOS: i64 = 1_000_000;

/// Collects the rows of a section.
#[derive(Default)]
pub(super) struct SectionBuilder {
    names: Vec<PartialName>,
    width: Vec<i64>,
    epoch: Vec<i64>,
    shard: Vec<i64>,
    start: Vec<i64>,
    part: Vec<i64>,
    revision: Vec<i64>,
    length: Vec<i64>,
    bodies: Vec<u8>,
}

impl SectionBuilder {
    /// Adds a row: the name greater than the one before, the start that of a window of its width.
    pub(super) fn push(&mut self, row: RowRef<'_>) {
        self.names.push(row.name);
        self.length.push(row.body.len() as i64);
        self.revision.push(row.revision.wrapping_sub(row.name.part) as i64);
        self.bodies.extend_from_slice(row.body);
    }

    pub(super) fn rows(&self) -> u32 {
        self.names.len() as u32
    }

    pub(super) fn bodies(&self) -> &[u8] {
        &self.bodies
    }

    /// Its bytes in a block, about.
    pub(super) fn bytes(&self) -> usize {
        self.bodies.len() + self.names.len() * ROW_BYTES + COLUMNS_BYTES_MIN
    }

    /// First and last start.
    pub(super) fn starts(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.names.first()?.start, self.names.last()?.start))
    }

    /// Writes the columns.
    pub(super) fn put_columns(&mut self, out: &mut Vec<u8>) {
        let width = self.names.first().map(|name| name.width);
        let alike = self.names.iter().all(|name| Some(name.width) == width);
        for name in &self.names {
            self.width.push(i64::from(name.width.as_millis()));
            self.epoch.push(i64::from(name.epoch));
            self.shard.push(i64::from(name.shard));
            self.start.push(if alike { name.window().index() } else { name.start.as_millis() });
            self.part.push(name.part as i64);
        }
        let (names, values) = (
            [&self.width, &self.epoch, &self.shard],
            [&self.start, &self.part, &self.revision, &self.length],
        );
        names.into_iter().chain(values).for_each(|column| put_column(column, out));
    }

    /// Empties it for the next section.
    pub(super) fn clear(&mut self) {
        self.names.clear();
        let columns = [
            &mut self.width,
            &mut self.epoch,
            &mut self.shard,
            &mut self.start,
            &mut self.part,
            &mut self.revision,
            &mut self.length,
        ];
        columns.into_iter().for_each(Vec::clear);
        self.bodies.clear();
    }
}

/// Where a section is in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) series: u32,
    /// At least 1.
    pub(super) rows: u32,
    /// Position of its columns.
    pub(super) columns: u32,
    /// Position of its bodies.
    pub(super) bodies: u32,
}

/// Reads a section: a place in it, without the bytes.
#[derive(Clone, Copy)]
pub(super) struct SectionCursor {
    series: u32,
    /// Rows left.
    left: u32,
    /// Position of the next body.
    body: u32,
    /// The width, if all are alike.
    alike: Option<Width>,
    width: Column,
    epoch: Column,
    shard: Column,
    start: Column,
    part: Column,
    revision: Column,
    length: Column,
}

/// What checking a section finds.
pub(super) struct CheckedSection {
    /// Position after its columns.
    pub(super) columns_end: u32,
    /// Position after its bodies.
    pub(super) bodies_end: u32,
    /// First and last start.
    pub(super) starts: (Timestamp, Timestamp),
}

impl SectionCursor {
    /// Opens a section; also the positions after its columns. `None` if its columns are malformed.
    pub(super) fn open(bytes: &[u8], section: &Section) -> Option<(Self, [u32; COLUMNS])> {
        let (mut at, rows) = (section.columns, section.rows);
        let (mut columns, mut ends) = ([Column::default(); COLUMNS], [0; COLUMNS]);
        for (column, end) in columns.iter_mut().zip(&mut ends) {
            *column = Column::open(bytes, &mut at, rows)?;
            *end = at;
        }
        let [width, epoch, shard, start, part, revision, length] = columns;
        let alike = width.is_same(rows).then(|| { width }.next(bytes).and_then(width_of));
        // The width of rows that are alike must be one.
        let alike = match alike {
            Some(width) => Some(width?),
            None => None,
        };
        let (series, left, body) = (section.series, section.rows, section.bodies);
        Some((Self { series, left, body, alike, width, epoch, shard, start, part, revision, length }, ends))
    }

    /// The next row; `None` after the last one, or if the bytes are malformed.
    #[inline]
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> Option<RowRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        let width = self.width.next(bytes)?;
        let width = if let Some(alike) = self.alike { alike } else { width_of(width)? };
        let epoch = u32::try_from(self.epoch.next(bytes)?).ok()?;
        let shard = u32::try_from(self.shard.next(bytes)?).ok()?;
        let start = {
            let value = self.start.next(bytes)?;
            self.start_of(value)
        };
        let part = self.part.next(bytes)? as u64;
        let revision = part.wrapping_add(self.revision.next(bytes)? as u64);
        let length = u32::try_from(self.length.next(bytes)?).ok()?;
        let end = self.body.checked_add(length)?;
        let body = bytes.get(self.body as usize..end as usize)?;
        self.body = end;
        let name = PartialName { start, width, epoch, shard, part };
        Some(RowRef { series: self.series, name, revision, body })
    }

    /// Where the body of the row read last ends.
    pub(super) fn body_end(&self) -> u32 {
        self.body
    }

    fn start_of(&self, value: i64) -> Timestamp {
        let unit = self.alike.map_or(MILLI_NANOS, Width::as_nanos);
        Timestamp::from_nanos(value.saturating_mul(unit))
    }

    /// Skips the rows that start before a time. The section must have been checked.
    pub(super) fn skip_to(&mut self, bytes: &[u8], from: Timestamp) -> Option<()> {
        let (mut start, mut rows) = (self.start, 0);
        while rows < self.left && self.start_of(start.next(bytes)?) < from {
            rows += 1;
        }
        let columns = [&mut self.width, &mut self.epoch, &mut self.shard, &mut self.start];
        for column in columns.into_iter().chain([&mut self.part, &mut self.revision]) {
            column.skip(bytes, rows)?;
        }
        let bodies = u32::try_from(self.length.skip(bytes, rows)?).ok()?;
        self.body = self.body.checked_add(bodies)?;
        self.left -= rows;
        Some(())
    }

    /// Reads a whole section and checks that its rows are in order and that its columns end where they say.
    pub(super) fn check(bytes: &[u8], section: &Section) -> Option<CheckedSection> {
        let (mut cursor, ends) = Self::open(bytes, section)?;
        let (mut first, mut before) = (None, None);
        for _ in 0..section.rows {
            let name = cursor.next(bytes)?.name;
            // Only a window has a row; the indices between the first and the last one are in range with these.
            if (cursor.alike.is_none() || first.is_none()) && !starts_window(&name) {
                return None;
            }
            if before.is_some_and(|before| before >= name) {
                return None;
            }
            first.get_or_insert(name.start);
            before = Some(name);
        }
        let last = before.filter(starts_window)?;
        let columns = [cursor.width, cursor.epoch, cursor.shard, cursor.start];
        let columns = columns.into_iter().chain([cursor.part, cursor.revision, cursor.length]);
        let ended = columns.zip(ends).all(|(column, end)| column.ends(end));
        let [.., columns_end] = ends;
        let starts = (first?, last.start);
        ended.then_some(CheckedSection { columns_end, bodies_end: cursor.body, starts })
    }
}

/// Whether the start of a name is that of a window of its width.
pub(super) fn starts_window(name: &PartialName) -> bool {
    name.window().start() == name.start
}

fn width_of(millis: i64) -> Option<Width> {
    Width::from_millis(u32::try_from(millis).ok()?).ok()
}
