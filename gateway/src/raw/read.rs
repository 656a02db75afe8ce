//! Reads a journal in bounded chunks. Blocks on the disk.

use catchment_journal::{Disk, ReadError, ReadEvent, Reader};

use super::columns::{Readings, Wanted};
use crate::fold::Entry;

/// A chunk ends after this many bytes of the journal, or readings. It may hold one entry more.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_READINGS: u64 = 2_048;

/// What a part of the journal holds of the wanted readings.
#[derive(Debug, Default)]
pub(super) struct RawChunk {
    pub(super) readings: Readings,
    /// There are more than the number allowed.
    pub(super) more: bool,
    /// Some of what was held is damaged, or was removed meanwhile.
    pub(super) lost: bool,
    /// Everything that was durable when the reader was made has been read.
    pub(super) at_end: bool,
}

/// Reads the next chunk: at most `most` readings.
///
/// # Errors
/// The journal cannot be read.
pub(super) fn read_chunk<D: Disk>(
    reader: &mut Reader<D>,
    wanted: &Wanted,
    most: u64,
) -> Result<RawChunk, ReadError> {
    let (mut chunk, mut record, mut bytes) = (RawChunk::default(), Vec::new(), 0);
    while bytes < CHUNK_BYTES && chunk.readings.count() < CHUNK_READINGS && !chunk.more {
        match reader.next(&mut record) {
            Ok(ReadEvent::Record(_)) => {
                bytes += record.len();
                // Entries of a later version hold no readings that this one knows.
                if let Ok(Entry::Intake(entry)) = Entry::decode(&record) {
                    chunk.more = !chunk.readings.add(&entry, wanted, most);
                }
            }
            Ok(ReadEvent::Damage(_)) => {
                bytes += CHUNK_BYTES / 64;
                chunk.lost = true;
            }
            Ok(ReadEvent::End) => {
                chunk.at_end = true;
                break;
            }
            // The next call continues at the journal's start.
            Err(ReadError::Released { .. }) => chunk.lost = true,
            Err(error) => return Err(error),
        }
    }
    Ok(chunk)
}
