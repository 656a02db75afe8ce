//! Where in a journal readings of a time can be. Blocks on the disk.
//!
//! Entries have no time of arrival. A close is written within a window and its grace after the watermark that it sets,
//! so the first close after a position bounds the time of that position.

use catchment_journal::{Disk, GroupLog, Position, ReadError, ReadEvent};

use super::settings::RawSettings;
use crate::fold::Entry;

/// Bytes read to find a close.
const SEARCH_BYTES: usize = 8 << 20;

/// Where to begin, and since when the journal holds what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) position: Position,
    /// Unix nanoseconds; `None`: nothing was ever removed.
    pub(super) held_from: Option<i64>,
}

/// Where reading begins for readings of times from `from` on, Unix nanoseconds.
///
/// # Errors
/// The journal cannot be read.
pub(super) fn find<D: Disk>(
    journal: &GroupLog<D>,
    from: i64,
    settings: &RawSettings,
) -> Result<Start, ReadError> {
    let segments = journal.segments();
    let first = segments.first().map_or(Position::ZERO, |segment| segment.start);
    // Unknown: it may be any time up to now.
    let held_from = match first {
        Position::ZERO => None,
        _ => Some(begun(journal, first, settings)?.unwrap_or(i64::MAX)),
    };
    // Readings may be ahead of their arrival by so much.
    let arrived = from.saturating_sub(settings.ahead);
    let (mut low, mut high) = (0, segments.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let start = segments.get(middle).map_or(Position::ZERO, |segment| segment.start);
        match begun(journal, start, settings)? {
            Some(time) if time <= arrived => low = middle,
            _ => high = middle,
        }
    }
    Ok(Start { position: segments.get(low).map_or(Position::ZERO, |segment| segment.start), held_from })
}

/// What stands at a position arrived at this time or earlier, Unix nanoseconds; `None`: there is no close after it.
fn begun<D: Disk>(
    journal: &GroupLog<D>,
    from: Position,
    settings: &RawSettings,
) -> Result<Option<i64>, ReadError> {
    let (mut reader, mut record, mut bytes) = (journal.read(from), Vec::new(), 0);
    while bytes < SEARCH_BYTES {
        match reader.next(&mut record)? {
            ReadEvent::Record(_) => {
                bytes += record.len();
                if let Ok(Entry::Close(close)) = Entry::decode(&record)
                    && close.watermark_ns > i64::MIN
                {
                    return Ok(Some(close.watermark_ns.saturating_add(settings.close_lag)));
                }
            }
            ReadEvent::Damage(_) => bytes += SEARCH_BYTES / 64,
            ReadEvent::End => break,
        }
    }
    Ok(None)
}
