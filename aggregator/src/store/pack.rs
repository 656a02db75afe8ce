//! The encoding of a pack: many partials of one series in one value. Pure.
//!
//! ```text
//! version (1 byte) | rows (varint) | columns | bodies | crc32c of all before (4 bytes, little endian)
//! ```
//!
//! Columns, each a varint a row: window index, width, origin, shard, part (zigzag differences to the row before),
//! revision less part, length of the body. A pack stays at or below [`PACK_BYTES_MAX`], because sled keeps larger
//! values in files of their own, which it never syncs. Decoding is total: any bytes are rows or an error.

use bytes::Bytes;
use catchment_partial::{Width, Window};

use super::row::{Name, Row};

/// Largest pack in bytes.
pub(super) const PACK_BYTES_MAX: usize = 64 << 10;
/// A pack takes no further rows once it has this many bytes. Larger packs would cost more to extend, smaller ones
/// more to read; sled writes a leaf of sixteen values anew after ten changes.
pub(super) const PACK_BYTES_FULL: usize = 16 << 10;
/// Longest body that a pack takes, bytes.
pub(super) const BODY_BYTES_MAX: usize = PACK_BYTES_MAX - PACK_BYTES_FULL - ROW_BYTES_MAX - FRAME_BYTES_MAX;

const VERSION: u8 = 1;
/// Bytes of a row without its body, at most: seven varints.
const ROW_BYTES_MAX: usize = 10 + 6 + 6 + 6 + 10 + 10 + 3;
/// Version, count and checksum, at most.
const FRAME_BYTES_MAX: usize = 1 + 5 + CRC_BYTES;
/// Bytes of a row without its body, at least.
const ROW_BYTES_MIN: usize = 7;
const CRC_BYTES: usize = 4;

/// Why bytes are no pack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PackError {
    /// The checksum does not match.
    #[error("its checksum does not match")]
    Checksum,
    /// Written by a newer version.
    #[error("it has format {0}, this program knows format {VERSION}: use a newer one")]
    Version(u8),
    /// The checksum matches and the content does not.
    #[error("its content is malformed at row {0}")]
    Malformed(usize),
}

/// Packs rows; `rows` must be sorted by name, each name once, each body at most [`BODY_BYTES_MAX`].
pub(super) fn encode(rows: &[Row]) -> Vec<u8> {
    let bodies: usize = rows.iter().map(|row| row.body.len()).sum();
    let mut out = Vec::with_capacity(FRAME_BYTES_MAX + bodies + rows.len() * 16);
    out.push(VERSION);
    put(rows.len() as u64, &mut out);
    let mut before = Columns::default();
    for row in rows {
        let now = Columns::of(&row.name);
        put(zigzag(now.window.wrapping_sub(before.window)), &mut out);
        put(zigzag(now.width.wrapping_sub(before.width)), &mut out);
        put(zigzag(now.origin.wrapping_sub(before.origin)), &mut out);
        put(zigzag(now.shard.wrapping_sub(before.shard)), &mut out);
        put(zigzag(now.part.wrapping_sub(before.part)), &mut out);
        put(row.revision.wrapping_sub(row.name.part), &mut out);
        put(row.body.len() as u64, &mut out);
        before = now;
    }
    for row in rows {
        out.extend_from_slice(&row.body);
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The rows of a pack, sorted by name; the bodies share its bytes.
///
/// # Errors
/// [`PackError`], for any bytes that [`encode`] did not make.
pub(super) fn decode(pack: &Bytes) -> Result<Vec<Row>, PackError> {
    let (content, crc) = pack.split_last_chunk::<CRC_BYTES>().ok_or(PackError::Checksum)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(PackError::Checksum);
    }
    let (version, mut rest) = content.split_first().ok_or(PackError::Checksum)?;
    if *version != VERSION {
        return Err(PackError::Version(*version));
    }
    let malformed = PackError::Malformed;
    let count = take(&mut rest).ok_or(malformed(0))?;
    let count =
        usize::try_from(count).ok().filter(|n| *n <= rest.len() / ROW_BYTES_MIN).ok_or(malformed(0))?;
    let mut columns = Columns::default();
    let mut heads = Vec::with_capacity(count);
    for index in 0..count {
        heads.push(head(&mut rest, &mut columns).ok_or(malformed(index))?);
    }
    let mut rows: Vec<Row> = Vec::with_capacity(count);
    for (index, (name, revision, length)) in heads.into_iter().enumerate() {
        let (body, behind) = rest.split_at_checked(length).ok_or(malformed(index))?;
        if rows.last().is_some_and(|before| before.name >= name) {
            return Err(malformed(index));
        }
        rows.push(Row { name, revision, body: pack.slice_ref(body) });
        rest = behind;
    }
    if rest.is_empty() { Ok(rows) } else { Err(malformed(count)) }
}

/// Splits sorted rows into runs that each make one pack.
pub(super) fn split(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = FRAME_BYTES_MAX;
        let fit = rest.iter().take_while(|row| {
            let open = bytes < PACK_BYTES_FULL;
            bytes += ROW_BYTES_MAX + row.body.len();
            open
        });
        let (run, behind) = rest.split_at_checked(fit.count())?;
        rest = behind;
        (!run.is_empty()).then_some(run)
    })
}

/// The columns of a row, as differences are made of them.
#[derive(Clone, Copy, Default)]
struct Columns {
    window: i64,
    width: i64,
    origin: i64,
    shard: i64,
    part: i64,
}

impl Columns {
    fn of(name: &Name) -> Self {
        Self {
            window: name.window().index(),
            width: i64::from(name.width.as_millis()),
            origin: i64::from(name.origin),
            shard: i64::from(name.shard),
            part: name.part as i64,
        }
    }

    fn name(&self) -> Option<Name> {
        let width = Width::from_millis(u32::try_from(self.width).ok()?).ok()?;
        let window = Window::from_index(self.window, width)?;
        Some(Name {
            start: window.start(),
            width,
            origin: u32::try_from(self.origin).ok()?,
            shard: u32::try_from(self.shard).ok()?,
            part: self.part as u64,
        })
    }
}

/// Name, revision and length of the body of the next row.
fn head(rest: &mut &[u8], columns: &mut Columns) -> Option<(Name, u64, usize)> {
    for column in
        [&mut columns.window, &mut columns.width, &mut columns.origin, &mut columns.shard, &mut columns.part]
    {
        *column = column.wrapping_add(unzigzag(take(rest)?));
    }
    let name = columns.name()?;
    let revision = name.part.wrapping_add(take(rest)?);
    Some((name, revision, usize::try_from(take(rest)?).ok()?))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put(value: u64, out: &mut Vec<u8>) {
    prost::encoding::encode_varint(value, out);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(rest).ok()
}

#[cfg(test)]
mod tests;
