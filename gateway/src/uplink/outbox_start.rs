//! Where reading of an outbox begins for an aggregator that has its batches up to some number.

use catchment_journal::{Disk, GroupLog, Position, ReadError};

use super::outbox_chunk::read_chunk;

/// A position from which reading meets every batch of the outbox with an own number above `delivered`, and less than a
/// segment of others before. Reads one batch of some segments; blocks on the disk.
///
/// # Errors
/// A segment cannot be read.
pub fn position_after<D: Disk>(outbox: &GroupLog<D>, delivered: u64) -> Result<Position, ReadError> {
    let segments = outbox.segments();
    // Batches stand in the order of their numbers: of segments that begin at or below the next number, the last is
    // where to begin.
    let (mut low, mut high) = (0, segments.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let start = segments.get(middle).map_or(Position::ZERO, |segment| segment.start);
        match first_number(outbox, start)? {
            Some(number) if number <= delivered.saturating_add(1) => low = middle,
            _ => high = middle,
        }
    }
    Ok(segments.get(low).map_or(Position::ZERO, |segment| segment.start))
}

/// Own number of the first batch at or after a position that can be read; `None`: there is none.
fn first_number<D: Disk>(outbox: &GroupLog<D>, from: Position) -> Result<Option<u64>, ReadError> {
    let mut reader = outbox.read(from);
    loop {
        let chunk = read_chunk(&mut reader, 1)?;
        if chunk.at_end || !chunk.batches.is_empty() {
            return Ok(chunk.batches.first().map(|stored| stored.number));
        }
    }
}
