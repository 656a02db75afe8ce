//! Reads one segment record by record, and resynchronizes after damage.
//!
//! The caller gives a `limit` below which everything was once durable; so bad bytes below it are damage.
//! * If the length of a bad record still leads to a good one (or to the block's end), only that record is lost.
//! * Otherwise the scanner searches the block, with bounded work, for the next record with a valid checksum. If it
//!   finds none, the rest of the block is lost.
//! * If a block header is bad, the scanner searches for the next valid one and keeps the records in between whose
//!   checksums are valid.

use std::io;
use std::path::PathBuf;

use crate::damage::{Damage, DamageReason};
use crate::format::{
    ALIGN, BLOCK_HEADER, BlockHeader, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, decode_block_header,
    decode_record_header, record_seed,
};
use crate::fs::DiskFile;
use crate::position::Position;
use crate::read_buffer::{READ_BUFFER_BYTES, ReadBuffer};

/// Maximum number of bytes checked while searching for a good record, per damaged range.
const SEARCH_MAX: u64 = 128 << 20;

pub(crate) struct Scanner<F> {
    buffer: ReadBuffer<F>,
    path: PathBuf,
    salt: u64,
    start: Position,
    limit: Position,
    at: Position,
    /// Blocks that end at or below this are skipped by their headers.
    skip_to: Position,
    block: Option<Open>,
    /// Bytes checked so far.
    work: u64,
}

/// The block being read.
#[derive(Copy, Clone)]
struct Open {
    payload_end: Position,
    end: Position,
    /// Number of records according to its header; `None` without a valid header.
    promised: Option<u64>,
    /// Records read or known to be lost; `None` once unknown.
    seen: Option<u64>,
}

pub(crate) enum Scanned {
    /// The payload is in the buffer.
    Record(Position),
    Damage(Damage),
    /// The limit is reached.
    End,
}

impl<F: DiskFile> Scanner<F> {
    pub(crate) fn new(file: F, path: PathBuf, salt: u64, start: Position, limit: Position) -> Self {
        let buffer = ReadBuffer::new(file, offset(start, limit));
        Self { buffer, path, salt, start, limit, at: start, skip_to: start, block: None, work: 0 }
    }

    /// Allows reading up to a later limit.
    pub(crate) fn set_limit(&mut self, limit: Position) {
        self.limit = limit;
        self.buffer.set_limit(offset(self.start, limit));
    }

    pub(crate) fn limit(&self) -> Position {
        self.limit
    }

    pub(crate) fn at(&self) -> Position {
        self.at
    }

    /// Skips what need not be read to continue at `from`; some records before it may still be returned.
    pub(crate) fn skip_to(&mut self, from: Position) -> io::Result<()> {
        self.skip_to = from;
        let aligned = from.since(self.start).is_multiple_of(ALIGN);
        if aligned && from < self.limit && self.block_at(from)?.is_some() {
            self.at = from;
        }
        Ok(())
    }

    /// A damaged range in this segment.
    pub(crate) fn damage(
        &self,
        from: Position,
        to: Position,
        lost: Option<u64>,
        reason: DamageReason,
    ) -> Damage {
        Damage { from, to, segment: self.path.clone(), records_lost: lost, reason }
    }

    /// The next record or damage. After a read error the scanner stays where it is.
    pub(crate) fn next(&mut self, buf: &mut Vec<u8>) -> io::Result<Scanned> {
        loop {
            let step = match self.block {
                Some(block) => self.in_block(block, buf)?,
                None if self.at >= self.limit => return Ok(Scanned::End),
                None => self.enter_block()?,
            };
            if let Some(scanned) = step {
                return Ok(scanned);
            }
        }
    }

    /// End of the block being read, if it has no valid header.
    pub(crate) fn headerless_end(&self) -> Option<Position> {
        self.block.filter(|block| block.promised.is_none()).map(|block| block.end)
    }

    /// One step within the open block; `None` if the step yields nothing or no block is open.
    pub(crate) fn next_in_block(&mut self, buf: &mut Vec<u8>) -> io::Result<Option<Scanned>> {
        match self.block {
            Some(block) => self.in_block(block, buf),
            None => Ok(None),
        }
    }

    fn enter_block(&mut self) -> io::Result<Option<Scanned>> {
        let at = self.at;
        if let Some(header) = self.block_at(at)? {
            let end = at.plus(header.total()).min(self.limit);
            if header.hole || end <= self.skip_to {
                self.at = end;
                return Ok(None);
            }
            let payload_end = at.plus(BLOCK_HEADER + u64::from(header.length)).min(end);
            let promised = Some(u64::from(header.records));
            self.block = Some(Open { payload_end, end, promised, seen: Some(0) });
            self.at = at.plus(BLOCK_HEADER);
            return Ok(None);
        }
        let missing = self.buffer.get(offset(self.start, at), 1)?.is_empty();
        let reason = if missing { DamageReason::Missing } else { DamageReason::BlockHeader };
        let end = self.next_block(at.plus(BLOCK_HEADER))?.unwrap_or(self.limit);
        let inner = at.plus(BLOCK_HEADER);
        // Without a block header, records can still be found by their own checksums.
        let good = if missing { None } else { self.search_record(inner, end)? };
        let Some(good) = good else {
            self.at = end;
            return Ok(Some(Scanned::Damage(self.damage(at, end, None, reason))));
        };
        self.block = Some(Open { payload_end: end, end, promised: None, seen: None });
        self.at = good;
        let lost = (good == inner).then_some(0);
        Ok(Some(Scanned::Damage(self.damage(at, good, lost, reason))))
    }

    fn in_block(&mut self, mut block: Open, buf: &mut Vec<u8>) -> io::Result<Option<Scanned>> {
        let at = self.at;
        if at >= block.payload_end || (block.promised.is_none() && self.only_padding(at, block.end)?) {
            self.at = block.end;
            self.block = None;
            return Ok(None);
        }
        if let Some(header) = self.record_at(at, block.payload_end)? {
            if !header.hole {
                self.payload(at, header, buf)?;
            }
            block.seen = block.seen.map(|seen| seen + 1);
            self.block = Some(block);
            self.at = at.plus(RECORD_HEADER + u64::from(header.length));
            return Ok((!header.hole).then_some(Scanned::Record(at)));
        }
        let (to, lost) = self.beyond_bad_record(at, &block)?;
        block.seen = block.seen.zip(lost).map(|(seen, lost)| seen + lost);
        self.block = Some(block);
        self.at = to;
        Ok(Some(Scanned::Damage(self.damage(at, to, lost, DamageReason::Record))))
    }

    /// Where reading continues after a bad record, and how many records are lost in between.
    fn beyond_bad_record(&mut self, at: Position, block: &Open) -> io::Result<(Position, Option<u64>)> {
        let end = block.payload_end;
        if let Some(header) = self.record_header(at)? {
            let next = at.plus(RECORD_HEADER + u64::from(header.length));
            if next == end || (next < end && self.record_at(next, end)?.is_some()) {
                return Ok((next, Some(1)));
            }
        }
        let left = block.promised.zip(block.seen).map(|(promised, seen)| promised.saturating_sub(seen));
        let Some(good) = self.search_record(at.plus(RECORD_HEADER), end)? else {
            return Ok((end, left));
        };
        // If all records after the gap are good, their number tells how many were lost in it.
        let (mut at, mut rest) = (good, 0);
        while at < end {
            let Some(header) = self.record_at(at, end)? else { return Ok((good, None)) };
            at = at.plus(RECORD_HEADER + u64::from(header.length));
            rest += 1;
        }
        Ok((good, left.map(|left| left.saturating_sub(rest))))
    }

    /// The first position at or after `from` with a valid record.
    fn search_record(&mut self, from: Position, end: Position) -> io::Result<Option<Position>> {
        let stop = self.work.saturating_add(SEARCH_MAX);
        let mut at = from;
        while at.plus(RECORD_HEADER) <= end && self.work < stop {
            self.work += RECORD_HEADER;
            if self.record_at(at, end)?.is_some() {
                return Ok(Some(at));
            }
            at = at.plus(1);
        }
        Ok(None)
    }

    /// The first valid block header at or after `from` (aligned).
    pub(crate) fn next_block(&mut self, from: Position) -> io::Result<Option<Position>> {
        let mut at = from;
        while at < self.limit {
            let bytes = self.buffer.get(offset(self.start, at), READ_BUFFER_BYTES)?;
            let (salt, usable) = (self.salt, bytes.len() as u64 / ALIGN * ALIGN);
            for (index, candidate) in bytes.chunks_exact(ALIGN as usize).enumerate() {
                let here = at.plus(index as u64 * ALIGN);
                if decode_block_header(salt, here, candidate).is_some() {
                    return Ok(Some(here));
                }
            }
            if usable == 0 {
                return Ok(None);
            }
            at = at.plus(usable);
        }
        Ok(None)
    }

    /// The valid block header at a position.
    pub(crate) fn block_at(&mut self, at: Position) -> io::Result<Option<BlockHeader>> {
        let salt = self.salt;
        let bytes = self.buffer.get(offset(self.start, at), BLOCK_HEADER as usize)?;
        Ok(decode_block_header(salt, at, bytes))
    }

    fn record_header(&mut self, at: Position) -> io::Result<Option<RecordHeader>> {
        let bytes = self.buffer.get(offset(self.start, at), RECORD_HEADER as usize)?;
        Ok(decode_record_header(bytes))
    }

    /// The record at a position, if it is valid and ends at or below `end`.
    pub(crate) fn record_at(&mut self, at: Position, end: Position) -> io::Result<Option<RecordHeader>> {
        let Some(header) = self.record_header(at)? else { return Ok(None) };
        let mut from = at.plus(RECORD_HEADER);
        let to = from.plus(u64::from(header.length));
        if to > end {
            return Ok(None);
        }
        self.work += u64::from(header.length);
        let mut crc = record_seed(self.salt, at, header.length, header.hole);
        while from < to {
            let chunk = self
                .buffer
                .get(offset(self.start, from), to.since(from).min(READ_BUFFER_BYTES as u64) as usize)?;
            if chunk.is_empty() {
                return Ok(None);
            }
            crc = crc32c::crc32c_append(crc, chunk);
            from = from.plus(chunk.len() as u64);
        }
        Ok((crc == header.crc).then_some(header))
    }

    /// Copies the payload of a record that was found valid.
    fn payload(&mut self, at: Position, header: RecordHeader, buf: &mut Vec<u8>) -> io::Result<()> {
        buf.clear();
        let from = at.plus(RECORD_HEADER);
        while buf.len() < header.length as usize {
            let left = header.length as usize - buf.len();
            let chunk = self
                .buffer
                .get(offset(self.start, from.plus(buf.len() as u64)), left.min(READ_BUFFER_BYTES))?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// True if only padding remains from here to the end of the block.
    fn only_padding(&mut self, at: Position, end: Position) -> io::Result<bool> {
        let left = end.since(at);
        Ok(left < ALIGN
            && self.buffer.get(offset(self.start, at), left as usize)?.iter().all(|byte| *byte == 0))
    }

    /// Position after the last non-zero byte at or after `from`; `from` if there is none.
    pub(crate) fn data_end(&mut self, from: Position) -> io::Result<Position> {
        let (mut at, mut end) = (from, from);
        loop {
            let bytes = self.buffer.get(offset(self.start, at), READ_BUFFER_BYTES)?;
            if bytes.is_empty() {
                return Ok(end);
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = at.plus(last as u64 + 1);
            }
            at = at.plus(bytes.len() as u64);
        }
    }
}

/// File offset of a position in the segment that begins at `start`.
pub(crate) fn offset(start: Position, at: Position) -> u64 {
    SEGMENT_HEADER.saturating_add(at.since(start))
}
