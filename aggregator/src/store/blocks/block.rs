//! Encoding of a block: many partials of a group of series in one value. Pure.
//!
//! ```text
//! version (1 byte) | series (varint) | for each: index in the group, rows, bytes of its section (varints) | sections
//! section: columns | bodies
//! ```
//!
//! Indices in the group are differences to the previous series. Columns, each one varint per row: length of the body
//! times two, plus one if width, epoch or shard differ from the previous row of the section (the first row: from 0),
//! in which case these follow; then window index, part, and revision minus part. All but length and revision are
//! zigzag differences to the previous row. The seal around a block holds its checksum. A block stays at or below
//! [`BLOCK_BYTES_MAX`], because sled keeps larger values in files of their own, which it never syncs. Decoding is
//! total: any bytes yield rows or an error.

use bytes::Bytes;
#[cfg(test)]
use catchment_partial::zigzag;
use catchment_partial::{Width, Window, unzigzag};

use crate::store::{
    catalog::groups::{GROUP_SERIES, first_of},
    memtable::row::{PartialName, Row, RowRef},
};

/// Largest block in bytes.
pub(in crate::store) const BLOCK_BYTES_MAX: usize = 64 << 10;
/// A new block takes no further rows once it has this many bytes. Larger blocks cost more to extend, smaller ones
/// more to read; sled rewrites a leaf of sixteen values after ten changes.
pub(in crate::store) const BLOCK_BYTES_FULL: usize = 16 << 10;
/// Longest body that fits into a block, bytes.
pub(in crate::store) const BODY_BYTES_MAX: usize =
    BLOCK_BYTES_MAX - BLOCK_BYTES_FULL - ROW_BYTES_MAX - FRAME_BYTES_MAX;

const VERSION: u8 = 2;
/// Most bytes of a row without its body: seven varints.
const ROW_BYTES_MAX: usize = 3 + 6 + 6 + 6 + 10 + 10 + 10;
/// Most bytes of version, number of series and their heads.
const FRAME_BYTES_MAX: usize = 2 + GROUP_SERIES as usize * (1 + 3 + 3);
/// Least bytes of a row without its body.
const ROW_BYTES_MIN: usize = 4;

/// Why bytes are not a valid block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::store) enum BlockError {
    /// Written by another version.
    #[error("it has format {0}, this program knows format {VERSION}: use the one that wrote it")]
    Version(u8),
    /// Malformed from the series at this index of the block on.
    #[error("its content is malformed at series index {0}")]
    Malformed(usize),
}

/// Encodes rows of one group; they must be sorted by series and name, each name once, each body at most
/// [`BODY_BYTES_MAX`].
#[cfg(test)]
pub(in crate::store) fn encode(rows: &[RowRef<'_>]) -> Vec<u8> {
    let bodies: usize = rows.iter().map(|row| row.body.len()).sum();
    let mut sections = Vec::with_capacity(bodies + rows.len() * 16);
    let mut out = Vec::with_capacity(FRAME_BYTES_MAX + sections.capacity());
    let of_series = |a: &RowRef<'_>, b: &RowRef<'_>| a.series == b.series;
    out.push(VERSION);
    put(rows.chunk_by(of_series).count() as u64, &mut out);
    let mut place = 0;
    for rows in rows.chunk_by(of_series) {
        let start = sections.len();
        put_section(rows, &mut sections);
        let next = rows.first().map_or(0, |row| row.series % GROUP_SERIES);
        put(u64::from(next.wrapping_sub(place)), &mut out);
        put(rows.len() as u64, &mut out);
        put((sections.len() - start) as u64, &mut out);
        place = next;
    }
    out.extend_from_slice(&sections);
    out
}

#[cfg(test)]
fn put_section(rows: &[RowRef<'_>], out: &mut Vec<u8>) {
    let mut before = Columns::default();
    for row in rows {
        let now = Columns::of(&row.name);
        let source = [
            now.width.wrapping_sub(before.width),
            now.epoch.wrapping_sub(before.epoch),
            now.shard.wrapping_sub(before.shard),
        ];
        let other = source != [0; 3];
        put((row.body.len() as u64) << 1 | u64::from(other), out);
        if other {
            source.into_iter().for_each(|step| put(zigzag(step), out));
        }
        put(zigzag(now.window.wrapping_sub(before.window)), out);
        put(zigzag(now.part.wrapping_sub(before.part)), out);
        put(row.revision.wrapping_sub(row.name.part), out);
        before = now;
    }
    for row in rows {
        out.extend_from_slice(row.body);
    }
}

/// The rows of a block of a group, sorted by series and name; with `only`, those of one series.
///
/// # Errors
/// [`BlockError`], for any bytes that [`encode`] did not make.
pub(in crate::store) fn decode(
    group: u32,
    block: &[u8],
    only: Option<u32>,
) -> Result<Vec<RowRef<'_>>, BlockError> {
    let malformed = BlockError::Malformed;
    let (version, mut rest) = block.split_first().ok_or(malformed(0))?;
    if *version != VERSION {
        return Err(BlockError::Version(*version));
    }
    let count = take(&mut rest).filter(|count| *count <= u64::from(GROUP_SERIES)).ok_or(malformed(0))?;
    let mut heads = Vec::with_capacity(count as usize);
    let mut place = 0_u32;
    for index in 0..count as usize {
        let step = take(&mut rest).and_then(|step| u32::try_from(step).ok()).ok_or(malformed(index))?;
        place = place.checked_add(step).filter(|place| *place < GROUP_SERIES).ok_or(malformed(index))?;
        if index > 0 && step == 0 {
            return Err(malformed(index));
        }
        let (rows, bytes) = take(&mut rest).zip(take(&mut rest)).ok_or(malformed(index))?;
        heads.push((first_of(group).saturating_add(place), rows, bytes));
    }
    let mut all = Vec::new();
    for (index, (series, rows, bytes)) in heads.into_iter().enumerate() {
        let bytes = usize::try_from(bytes).map_err(|_| malformed(index))?;
        let (section, behind) = rest.split_at_checked(bytes).ok_or(malformed(index))?;
        rest = behind;
        if only.is_none_or(|only| only == series) {
            take_section(series, rows, section, &mut all).ok_or(malformed(index))?;
        }
    }
    if rest.is_empty() { Ok(all) } else { Err(malformed(count as usize)) }
}

/// Like [`decode`]; the bodies share the block's bytes.
pub(in crate::store) fn decode_rows(
    group: u32,
    block: &Bytes,
    only: Option<u32>,
) -> Result<Vec<Row>, BlockError> {
    let owned = |row: &RowRef<'_>| Row {
        series: row.series,
        name: row.name,
        revision: row.revision,
        body: block.slice_ref(row.body),
    };
    Ok(decode(group, block, only)?.iter().map(owned).collect())
}

fn take_section<'a>(series: u32, rows: u64, section: &'a [u8], out: &mut Vec<RowRef<'a>>) -> Option<()> {
    let count = usize::try_from(rows).ok().filter(|n| *n <= section.len() / ROW_BYTES_MIN)?;
    let start = out.len();
    let (mut columns, mut rest, mut lengths) = (Columns::default(), section, Vec::with_capacity(count));
    out.reserve(count);
    for _ in 0..count {
        let (name, revision, length) = head(&mut rest, &mut columns)?;
        if out.get(start..)?.last().is_some_and(|before| before.name >= name) {
            return None;
        }
        lengths.push(length);
        out.push(RowRef { series, name, revision, body: &[] });
    }
    for (row, length) in out.get_mut(start..)?.iter_mut().zip(lengths) {
        (row.body, rest) = rest.split_at_checked(length)?;
    }
    rest.is_empty().then_some(())
}

/// Splits sorted rows into runs of one block each.
#[cfg(test)]
pub(in crate::store) fn split<'a, 'b>(rows: &'b [RowRef<'a>]) -> impl Iterator<Item = &'b [RowRef<'a>]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = FRAME_BYTES_MAX;
        let fit = rest.iter().take_while(|row| {
            let open = bytes < BLOCK_BYTES_FULL;
            bytes += ROW_BYTES_MAX + row.body.len();
            open
        });
        let (run, behind) = rest.split_at_checked(fit.count())?;
        rest = behind;
        (!run.is_empty()).then_some(run)
    })
}

/// The columns of a row, as delta-encoded.
#[derive(Clone, Copy, Default)]
struct Columns {
    window: i64,
    width: i64,
    epoch: i64,
    shard: i64,
    part: i64,
}

impl Columns {
    #[cfg(test)]
    fn of(name: &PartialName) -> Self {
        Self {
            window: name.window().index(),
            width: i64::from(name.width.as_millis()),
            epoch: i64::from(name.epoch),
            shard: i64::from(name.shard),
            part: name.part as i64,
        }
    }

    fn name(&self) -> Option<PartialName> {
        let width = Width::from_millis(u32::try_from(self.width).ok()?).ok()?;
        let window = Window::from_index(self.window, width)?;
        Some(PartialName {
            start: window.start(),
            width,
            epoch: u32::try_from(self.epoch).ok()?,
            shard: u32::try_from(self.shard).ok()?,
            part: self.part as u64,
        })
    }
}

/// Name, revision and body length of the next row.
fn head(rest: &mut &[u8], columns: &mut Columns) -> Option<(PartialName, u64, usize)> {
    let length = take(rest)?;
    let mut step = |column: &mut i64| {
        *column = column.wrapping_add(unzigzag(take(rest)?));
        Some(())
    };
    if length & 1 == 1 {
        step(&mut columns.width)?;
        step(&mut columns.epoch)?;
        step(&mut columns.shard)?;
    }
    step(&mut columns.window)?;
    step(&mut columns.part)?;
    let name = columns.name()?;
    let revision = name.part.wrapping_add(take(rest)?);
    Some((name, revision, usize::try_from(length >> 1).ok()?))
}

#[cfg(test)]
fn put(value: u64, out: &mut Vec<u8>) {
    prost::encoding::encode_varint(value, out);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}

#[cfg(test)]
mod tests;
