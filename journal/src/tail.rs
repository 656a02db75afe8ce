//! Finds the end of a log in its last segment, without changing anything.
//!
//! The last valid block header proves that everything before it was durable. A crash may have interrupted the write of
//! that last block itself: it is good up to its first bad record, and the rest is the torn tail. Even valid records in
//! the tail are dropped: they were never acknowledged, and keeping them would hide the gap before them.

use std::io;

use crate::damage::Damage;
use crate::format::{BLOCK_HEADER, BlockHeader, RECORD_HEADER, align_up};
use crate::fs::DiskFile;
use crate::position::Position;
use crate::scan::{Scanned, Scanner};

pub(crate) struct Tail {
    /// Position at which the log continues.
    pub(crate) end: Position,
    /// The last block and the header that it must have. It is written and synced again at open, because it is unknown
    /// whether it was synced before (or was only in the cache after a failed sync).
    pub(crate) rewrite: Option<(Position, BlockHeader)>,
    /// Bytes after the last good one that are not the zeros of reserved space.
    pub(crate) torn_bytes: u64,
}

/// Finds the tail. `scanner` must be at the start of the last segment, with its limit at the end of the file.
pub(crate) fn find_tail<F: DiskFile>(scanner: &mut Scanner<F>) -> io::Result<Tail> {
    let start = scanner.at();
    let limit = scanner.limit();
    let mut last = None;
    let mut at = start;
    while at < limit {
        at = match scanner.block_at(at)? {
            Some(header) => {
                last = Some((at, header));
                at.plus(header.total())
            }
            None => match scanner.next_block(at.plus(BLOCK_HEADER))? {
                Some(found) => found,
                None => break,
            },
        };
    }
    let Some((block, header)) = last else {
        let torn_bytes = scanner.data_end(start)?.since(start);
        return Ok(Tail { end: start, rewrite: None, torn_bytes });
    };
    let (mut good, mut records) = (block.plus(BLOCK_HEADER), 0);
    let payload_end = good.plus(u64::from(header.length));
    if header.hole {
        good = payload_end;
        records = header.records;
    }
    while good < payload_end {
        let Some(record) = scanner.record_at(good, payload_end)? else { break };
        good = good.plus(RECORD_HEADER + u64::from(record.length));
        records += 1;
    }
    if good < payload_end {
        let torn_bytes = scanner.data_end(good)?.since(good);
        if records == 0 {
            return Ok(Tail { end: block, rewrite: None, torn_bytes: torn_bytes + BLOCK_HEADER });
        }
        let length = good.since(block.plus(BLOCK_HEADER));
        let kept = BlockHeader { hole: false, length: length as u32, records };
        let end = block.plus(align_up(BLOCK_HEADER + length));
        return Ok(Tail { end, rewrite: Some((block, kept)), torn_bytes });
    }
    let end = block.plus(header.total());
    let torn_bytes = scanner.data_end(end)?.since(end);
    Ok(Tail { end, rewrite: Some((block, header)), torn_bytes })
}

/// Reports all damage up to the scanner's limit to `note`; returns the number of good records.
pub(crate) fn scan_damage<F: DiskFile>(
    scanner: &mut Scanner<F>,
    mut note: impl FnMut(Damage),
) -> io::Result<u64> {
    let mut buf = Vec::new();
    let mut records = 0;
    loop {
        match scanner.next(&mut buf)? {
            Scanned::Record(_) => records += 1,
            Scanned::Damage(damage) => note(damage),
            Scanned::End => return Ok(records),
        }
    }
}
