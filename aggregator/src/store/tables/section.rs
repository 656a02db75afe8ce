//! A section: rows of one series, as columns and bodies.
//!
//! ```text
//! forms (1 byte, 2 bits a column) | start | part | revision minus part | length of the body
//! ```
//!
//! If all rows have one origin, a start is the index of the window. Otherwise forms and columns of width (milliseconds),
//! epoch and shard come first, and a start is in whole milliseconds.

use catchment_partial::{Timestamp, Width};

use super::column::{Column, put_column};
use crate::store::memtable::row::{PartialName, RowRef};

/// Least bytes of the columns of a section: forms, and a first value each.
pub(super) const COLUMNS_BYTES_MIN: usize = 5;
/// Bytes that a row takes in the columns, about.
const ROW_BYTES: usize = 4;
const MILLI_NANOS: i64 = 1_000_000;

/// What the names of most rows of a series have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) width: Width,
    pub(super) epoch: u32,
    pub(super) shard: u32,
}

impl Origin {
    fn of(name: &PartialName) -> Self {
        Self { width: name.width, epoch: name.epoch, shard: name.shard }
    }
}

/// Collects the rows of a section.
#[derive(Default)]
pub(super) struct SectionBuilder {
    names: Vec<PartialName>,
    revisions: Vec<i64>,
    lengths: Vec<i64>,
    bodies: Vec<u8>,
    /// A column at hand.
    values: Vec<i64>,
}

impl SectionBuilder {
    /// Adds a row: the name greater than the one before, the start that of a window of its width.
    pub(super) fn push(&mut self, row: RowRef<'_>) {
        self.names.push(row.name);
        self.lengths.push(row.body.len() as i64);
        self.revisions.push(row.revision.wrapping_sub(row.name.part) as i64);
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

    /// The origin of all of its rows; `None`: they have several.
    pub(super) fn origin(&self) -> Option<Origin> {
        let origin = self.names.first().map(Origin::of)?;
        self.names.iter().all(|name| Origin::of(name) == origin).then_some(origin)
    }

    /// Writes the columns, for the [`Self::origin`].
    pub(super) fn put_columns(&mut self, origin: Option<Origin>, out: &mut Vec<u8>) {
        if origin.is_none() {
            let columns: [fn(&PartialName) -> i64; 3] = [
                |name| i64::from(name.width.as_millis()),
                |name| i64::from(name.epoch),
                |name| i64::from(name.shard),
            ];
            self.put_names(&columns, &[], out);
        }
        let start: fn(&PartialName) -> i64 = match origin {
            Some(_) => |name| name.window().index(),
            None => |name| name.start.as_millis(),
        };
        let rest = [std::mem::take(&mut self.revisions), std::mem::take(&mut self.lengths)];
        self.put_names(&[start, |name| name.part as i64], &rest, out);
        [self.revisions, self.lengths] = rest;
    }

    /// Writes forms, columns made of the names, and other columns.
    fn put_names(&mut self, of_names: &[fn(&PartialName) -> i64], rest: &[Vec<i64>], out: &mut Vec<u8>) {
        let (at, mut forms, mut shift) = (out.len(), 0, 0);
        out.push(0);
        for value in of_names {
            self.values.clear();
            self.values.extend(self.names.iter().map(value));
            forms |= put_column(&self.values, out) << shift;
            shift += 2;
        }
        for values in rest {
            forms |= put_column(values, out) << shift;
            shift += 2;
        }
        out.get_mut(at).into_iter().for_each(|byte| *byte = forms);
    }

    /// Empties it for the next section.
    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.revisions.clear();
        self.lengths.clear();
        self.bodies.clear();
    }
}

/// Where a section is in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) series: u32,
    /// At least 1.
    pub(super) rows: u32,
    /// The origin of all of its rows; `None`: they have several.
    pub(super) origin: Option<Origin>,
    /// Position of its columns.
    pub(super) columns: u32,
    /// Position of its bodies.
    pub(super) bodies: u32,
}

/// Reads a section: a place in it, without the bytes.
pub(super) struct SectionCursor {
    series: u32,
    /// Rows left.
    left: u32,
    /// Position of the next body.
    body: u32,
    origins: Origins,
    start: Column,
    part: Column,
    revision: Column,
    length: Column,
}

enum Origins {
    One(Origin),
    /// Width, epoch and shard of each row. Rare.
    Several(Box<[Column; 3]>),
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
    /// Opens a section; also the positions after its last columns: length, and shard if there is one. `None` if they are
    /// malformed.
    pub(super) fn open(bytes: &[u8], section: &Section) -> Option<(Self, u32)> {
        let (at, rows) = (&mut { section.columns }, section.rows);
        let forms = |at: &mut u32| {
            let forms = bytes.get(*at as usize).copied();
            *at += 1;
            forms
        };
        let origins = match section.origin {
            Some(origin) => Origins::One(origin),
            None => {
                let forms = forms(at)?;
                let width = Column::open(bytes, at, forms, rows)?;
                let epoch = Column::open(bytes, at, forms >> 2, rows)?;
                let shard = Column::open(bytes, at, forms >> 4, rows)?;
                Origins::Several(Box::new([width, epoch, shard]))
            }
        };
        let forms = forms(at)?;
        let cursor = Self {
            series: section.series,
            left: rows,
            body: section.bodies,
            origins,
            start: Column::open(bytes, at, forms, rows)?,
            part: Column::open(bytes, at, forms >> 2, rows)?,
            revision: Column::open(bytes, at, forms >> 4, rows)?,
            length: Column::open(bytes, at, forms >> 6, rows)?,
        };
        Some((cursor, *at))
    }

    /// The next row; `None` after the last one, or if the bytes are malformed.
    #[inline]
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> Option<RowRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (Origin { width, epoch, shard }, unit) = match &mut self.origins {
            Origins::One(origin) => (*origin, origin.width.as_nanos()),
            Origins::Several(columns) => (next_origin(columns, bytes)?, MILLI_NANOS),
        };
        let start = start_of(self.start.next(bytes)?, unit);
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

    /// Skips the rows that start before a time. The section must have been checked.
    pub(super) fn skip_to(&mut self, bytes: &[u8], from: Timestamp) -> Option<()> {
        let unit = match &self.origins {
            Origins::One(origin) => origin.width.as_nanos(),
            Origins::Several(_) => MILLI_NANOS,
        };
        let (mut start, mut rows) = (self.start, 0);
        while rows < self.left && start_of(start.next(bytes)?, unit) < from {
            rows += 1;
        }
        if let Origins::Several(columns) = &mut self.origins {
            columns.iter_mut().try_for_each(|column| column.skip(bytes, rows).map(drop))?;
        }
        for column in [&mut self.start, &mut self.part, &mut self.revision] {
            column.skip(bytes, rows)?;
        }
        let bodies = u32::try_from(self.length.skip(bytes, rows)?).ok()?;
        self.body = self.body.checked_add(bodies)?;
        self.left -= rows;
        Some(())
    }

    /// Reads a whole section and checks that its rows are in order, and that it has no further bytes.
    pub(super) fn check(bytes: &[u8], section: &Section) -> Option<CheckedSection> {
        let (mut cursor, columns_end) = Self::open(bytes, section)?;
        let first = cursor.next(bytes)?.name;
        let mut last = first;
        for _ in 1..section.rows {
            let name = cursor.next(bytes)?.name;
            // The windows of one width between the first and the last one exist if these do.
            if name <= last || (section.origin.is_none() && !starts_window(&name)) {
                return None;
            }
            last = name;
        }
        let all = [&cursor.start, &cursor.part, &cursor.revision, &cursor.length];
        let several: &[Column] = match &cursor.origins {
            Origins::One(_) => &[],
            Origins::Several(columns) => &**columns,
        };
        let ended = all.into_iter().chain(several).all(Column::ended);
        let checked =
            CheckedSection { columns_end, bodies_end: cursor.body, starts: (first.start, last.start) };
        (ended && starts_window(&first) && starts_window(&last)).then_some(checked)
    }
}

/// Whether the start of a name is that of a window of its width.
pub(super) fn starts_window(name: &PartialName) -> bool {
    name.window().start() == name.start
}

/// Clamped: the first window may begin before the first time.
fn start_of(value: i64, unit: i64) -> Timestamp {
    Timestamp::from_nanos(value.saturating_mul(unit))
}

fn next_origin([width, epoch, shard]: &mut [Column; 3], bytes: &[u8]) -> Option<Origin> {
    let number = |column: &mut Column| u32::try_from(column.next(bytes)?).ok();
    let width = Width::from_millis(number(width)?).ok()?;
    Some(Origin { width, epoch: number(epoch)?, shard: number(shard)? })
}
