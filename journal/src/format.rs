//! The format of a log's files, byte for byte. All numbers are little-endian.
//!
//! A log is a folder of segment files. Each is named after the position at which it starts, in 20 digits:
//! `00000000000000000000.log`. Byte `128 + n` of a file is position `start + n`.
//!
//! ```text
//! segment   header copy (64), header copy (64), block*, zeros (space reserved ahead)
//! header    0 magic "CATCHLOG" | 8 version u32 | 12 zero u32 | 16 start u64 | 24 salt u64 | 32 zeros | 60 crc u32
//!           crc: CRC-32C of bytes 0 to 59
//! block     one per commit; starts at a multiple of 16:
//!           0 magic u32 | 4 length u32 | 8 records u32 | 12 crc u32 | records (length bytes) | zeros to a multiple of 16
//!           crc: CRC-32C of salt, position of the block (u64 each) and bytes 0 to 11
//! record    0 length u32 | 4 crc u32 | payload (length bytes)
//!           crc: CRC-32C of salt, position of the record, bytes 0 to 3, payload
//!           bit 31 of the length marks a hole: a damaged part that was set aside; it holds zeros and no record
//! hole      block with its own magic: `length` bytes were set aside; they need not be in the file
//! seal      block without records, written by an orderly close
//! ```
//!
//! Reasons:
//! * Block N+1 is written only after the sync of block N has returned, and a segment is created only after the last
//!   sync of the previous one. So a valid block header proves that everything before it was durable: bad bytes there
//!   are damage. Bad bytes with nothing valid after them are a commit that never completed, and are cut off. A seal
//!   gives the same proof to the last commit before an orderly close.
//! * Blocks start at multiples of 16, so their headers never span sectors: a header is written whole or not at all.
//! * The salt is random, one per log. Checksums depend on it and on the position. So when damage requires a search,
//!   bytes that a sender put into a payload never pass for a record or block, nor do bytes from another position.
//! * A torn tail is truncated and synced before anything is appended. So no stale block after the end can be mistaken
//!   for a new one, even at the same position with the same length.

/// Bytes of a segment's header (two copies).
pub(crate) const SEGMENT_HEADER: u64 = 128;
const COPY: usize = 64;
/// Bytes of a block's header.
pub(crate) const BLOCK_HEADER: u64 = 16;
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER: u64 = 8;
/// Blocks start at multiples of this.
pub(crate) const ALIGN: u64 = 16;
/// Longest possible record (64 MiB).
pub(crate) const RECORD_LENGTH_MAX: u32 = 64 << 20;
/// The newest format that this program writes and reads.
pub(crate) const VERSION: u32 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"CATCHLOG";
const BLOCK_MAGIC: [u8; 4] = *b"CBk\x01";
const HOLE_MAGIC: [u8; 4] = *b"CHo\x01";
const HOLE_BIT: u32 = 1 << 31;

use crate::position::Position;

/// `n` rounded up to the alignment of blocks.
pub(crate) const fn align_up(n: u64) -> u64 {
    n.saturating_add(ALIGN - 1) & !(ALIGN - 1)
}

/// File name of the segment that starts at a position.
pub(crate) fn segment_name(start: Position) -> String {
    format!("{:020}.log", start.get())
}

/// Start position of the segment with this file name; `None` for other files.
pub(crate) fn segment_start(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let start: u64 = digits.parse().ok()?;
    start.is_multiple_of(ALIGN).then_some(Position::new(start))
}

/// Contents of a segment's header.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u32,
    pub(crate) start: Position,
    pub(crate) salt: u64,
}

pub(crate) fn encode_segment_header(start: Position, salt: u64) -> Vec<u8> {
    let mut copy = Vec::with_capacity(SEGMENT_HEADER as usize);
    copy.extend_from_slice(SEGMENT_MAGIC);
    copy.extend_from_slice(&VERSION.to_le_bytes());
    copy.extend_from_slice(&[0; 4]);
    copy.extend_from_slice(&start.get().to_le_bytes());
    copy.extend_from_slice(&salt.to_le_bytes());
    copy.resize(COPY - 4, 0);
    let crc = crc32c::crc32c(&copy);
    copy.extend_from_slice(&crc.to_le_bytes());
    copy.extend_from_within(..);
    copy
}

/// The header from either copy, and whether both copies are intact.
pub(crate) fn decode_segment_header(bytes: &[u8]) -> Option<(SegmentHeader, bool)> {
    let first = bytes.get(..COPY).and_then(decode_copy);
    let second = bytes.get(COPY..2 * COPY).and_then(decode_copy);
    let both = first.is_some() && first == second;
    first.or(second).map(|header| (header, both))
}

fn decode_copy(copy: &[u8]) -> Option<SegmentHeader> {
    let body = copy.get(..COPY - 4)?;
    if body.get(..8)? != SEGMENT_MAGIC || u32_at(copy, COPY - 4)? != crc32c::crc32c(body) {
        return None;
    }
    Some(SegmentHeader {
        version: u32_at(body, 8)?,
        start: Position::new(u64_at(body, 16)?),
        salt: u64_at(body, 24)?,
    })
}

/// A valid block header.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) hole: bool,
    /// Bytes of the block's records, without padding.
    pub(crate) length: u32,
    pub(crate) records: u32,
}

impl BlockHeader {
    /// Bytes of header, records and padding.
    pub(crate) const fn total(&self) -> u64 {
        align_up(BLOCK_HEADER + self.length as u64)
    }
}

pub(crate) fn encode_block_header(salt: u64, at: Position, header: BlockHeader) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (magic, rest) = bytes.split_at_mut(4);
    magic.copy_from_slice(if header.hole { &HOLE_MAGIC } else { &BLOCK_MAGIC });
    let (length, rest) = rest.split_at_mut(4);
    length.copy_from_slice(&header.length.to_le_bytes());
    let (records, crc) = rest.split_at_mut(4);
    records.copy_from_slice(&header.records.to_le_bytes());
    let mut sum = crc32c::crc32c_append(seed(salt, at), magic);
    sum = crc32c::crc32c_append(sum, length);
    sum = crc32c::crc32c_append(sum, records);
    crc.copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The block header at a position, if it is valid.
pub(crate) fn decode_block_header(salt: u64, at: Position, bytes: &[u8]) -> Option<BlockHeader> {
    let magic = bytes.get(..4)?;
    let hole = magic == HOLE_MAGIC;
    if !hole && magic != BLOCK_MAGIC {
        return None;
    }
    if u32_at(bytes, 12)? != crc32c::crc32c_append(seed(salt, at), bytes.get(..12)?) {
        return None;
    }
    Some(BlockHeader { hole, length: u32_at(bytes, 4)?, records: u32_at(bytes, 8)? })
}

/// Length and checksum from a record's header.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) hole: bool,
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

pub(crate) fn decode_record_header(bytes: &[u8]) -> Option<RecordHeader> {
    let length = u32_at(bytes, 0)?;
    Some(RecordHeader { hole: length & HOLE_BIT != 0, length: length & !HOLE_BIT, crc: u32_at(bytes, 4)? })
}

/// A record's checksum up to its payload.
pub(crate) fn record_seed(salt: u64, at: Position, length: u32, hole: bool) -> u32 {
    let length = if hole { length | HOLE_BIT } else { length };
    crc32c::crc32c_append(seed(salt, at), &length.to_le_bytes())
}

/// Header of the record at a position.
pub(crate) fn encode_record_header(salt: u64, at: Position, payload: &[u8]) -> [u8; 8] {
    let length = payload.len() as u32;
    record_header(length, crc32c::crc32c_append(record_seed(salt, at, length, false), payload))
}

/// Header of a hole whose `length` bytes after the header are zeros.
pub(crate) fn encode_hole_header(salt: u64, at: Position, length: u32) -> [u8; 8] {
    let mut crc = record_seed(salt, at, length, true);
    let zeros = [0u8; 4096];
    let mut left = length as usize;
    while left > 0 {
        let step = left.min(zeros.len());
        crc = crc32c::crc32c_append(crc, zeros.get(..step).unwrap_or(&zeros));
        left -= step;
    }
    record_header(length | HOLE_BIT, crc)
}

fn record_header(length: u32, crc: u32) -> [u8; 8] {
    (u64::from(length) | u64::from(crc) << 32).to_le_bytes()
}

fn seed(salt: u64, at: Position) -> u32 {
    let both = u128::from(salt) | u128::from(at.get()) << 64;
    crc32c::crc32c(&both.to_le_bytes())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}
