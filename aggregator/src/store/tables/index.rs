//! The index of a table: what each block holds, and where it is.
//!
//! For each block, varints: series of the first row minus that of the last row before, its start (milliseconds, zigzag
//! difference to the last start before, or to the start of the partition), series of the last row minus that of the
//! first, its start (zigzag difference to the first), rows, bytes decompressed, bytes stored; then CRC-32C of the stored
//! bytes (4, little endian). Blocks follow each other from the header to the index.

use std::ops::Range;

use catchment_partial::{Timestamp, unzigzag, zigzag};

use super::{
    block::{CONTENT_BYTES_MAX, ROWS_MAX},
    format::HEADER_BYTES,
    resolution::Resolution,
    table::{BlockRange, RowPlace},
    varint::{put, varint},
};

/// Least bytes of an entry.
const ENTRY_BYTES_MIN: u64 = 7 + 4;
/// Most bytes that a block takes in the file: zstd adds little to what it cannot compress.
const STORED_BYTES_MAX: u32 = CONTENT_BYTES_MAX + (CONTENT_BYTES_MAX >> 6);
const MILLI_NANOS: i64 = 1_000_000;

/// A block in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// Its rows.
    pub(super) range: BlockRange,
    /// Position in the file.
    pub(super) offset: u64,
    /// Bytes in the file.
    pub(super) stored: u32,
    /// Bytes decompressed.
    pub(super) content: u32,
    /// CRC-32C of the stored bytes.
    pub(super) crc: u32,
}

/// Appends an entry; `before` is the place of the last row before, or series 0 and the partition's start.
pub(super) fn put_entry(entry: &IndexEntry, before: RowPlace, out: &mut Vec<u8>) {
    let BlockRange { first, last, rows } = entry.range;
    let millis = |(_, start): RowPlace| start.as_millis();
    put(u64::from(first.0.wrapping_sub(before.0)), out);
    put(zigzag(millis(first) - millis(before)), out);
    put(u64::from(last.0.wrapping_sub(first.0)), out);
    put(zigzag(millis(last) - millis(first)), out);
    for number in [rows, entry.content, entry.stored] {
        put(u64::from(number), out);
    }
    out.extend_from_slice(&entry.crc.to_le_bytes());
}

/// Reads the index of `blocks` blocks that end at `blocks_end` in the file; `None` if it is malformed: entries are in
/// order, within bounds and within the partition.
pub(super) fn read_index(
    bytes: &[u8],
    blocks: u32,
    blocks_end: u64,
    (resolution, partition): (Resolution, i32),
) -> Option<Vec<IndexEntry>> {
    if u64::from(blocks) > bytes.len() as u64 / ENTRY_BYTES_MIN {
        return None;
    }
    let mut entries = Vec::with_capacity(blocks as usize);
    let (mut rest, mut offset) = (bytes, HEADER_BYTES as u64);
    let mut before = (0, resolution.partition_start(partition));
    for _ in 0..blocks {
        let entry = read_entry(&mut rest, offset, before)?;
        let BlockRange { first, last, .. } = entry.range;
        let inside = [first, last].iter().all(|place| resolution.partition_of(place.1) == partition);
        if !inside || first > last || (first < before && !entries.is_empty()) {
            return None;
        }
        offset = offset.checked_add(u64::from(entry.stored))?;
        before = last;
        entries.push(entry);
    }
    (rest.is_empty() && offset == blocks_end && blocks > 0).then_some(entries)
}

fn read_entry(rest: &mut &[u8], offset: u64, before: RowPlace) -> Option<IndexEntry> {
    let mut at = 0;
    let bytes = *rest;
    let mut number = || varint(bytes, &mut at);
    let mut place = |before: RowPlace| {
        let series = u64::from(before.0).checked_add(number()?)?;
        let millis = before.1.as_millis().checked_add(unzigzag(number()?))?;
        // The first window may begin before the first time.
        let start = Timestamp::from_nanos(millis.saturating_mul(MILLI_NANOS));
        Some((u32::try_from(series).ok()?, start))
    };
    let first = place(before)?;
    let last = place(first)?;
    let bounded = |number: Option<u64>, max: u32| {
        number.and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=max).contains(number))
    };
    let rows = bounded(number(), ROWS_MAX)?;
    let content = bounded(number(), CONTENT_BYTES_MAX)?;
    let stored = bounded(number(), STORED_BYTES_MAX)?;
    let (crc, behind) = bytes.get(at as usize..)?.split_first_chunk()?;
    *rest = behind;
    let range = BlockRange { first, last, rows };
    Some(IndexEntry { range, offset, stored, content, crc: u32::from_le_bytes(*crc) })
}

/// Numbers of the entries that may hold rows of a series that start in `[from, to)`.
pub(super) fn find(entries: &[IndexEntry], series: u32, from: Timestamp, to: Timestamp) -> Range<u32> {
    if from >= to {
        return 0..0;
    }
    let first = entries.partition_point(|entry| entry.range.last < (series, from));
    // They are few, or all of them are read.
    let found = entries.iter().skip(first).take_while(|entry| entry.range.first < (series, to)).count();
    first as u32..(first + found) as u32
}
