//! Reads a shard's outbox in bounded chunks. Blocks on the disk.

use catchment_journal::{Damage, Disk, Position, ReadError, ReadEvent, Reader};

use crate::batch_encoder;

/// Bounds of one chunk: batches (and damaged ranges), and bytes.
const CHUNK_BATCHES: usize = 32;
const CHUNK_BYTES: usize = 1 << 20;

/// A batch as it stands in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// Where it stands.
    pub position: Position,
    /// Its own number.
    pub number: u64,
    /// The encoded batch.
    pub bytes: Vec<u8>,
}

/// A part of the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxChunk {
    /// Batches in the order of the outbox.
    pub batches: Vec<StoredBatch>,
    /// Ranges between them that cannot be read.
    pub damage: Vec<Damage>,
    /// Everything that was durable when the reader was made or extended has been read.
    pub at_end: bool,
}

/// Reads the next chunk: at most so many batches.
///
/// # Errors
/// See [`Reader::next`].
pub fn read_chunk<D: Disk>(reader: &mut Reader<D>, batches_max: usize) -> Result<OutboxChunk, ReadError> {
    let mut chunk = OutboxChunk::default();
    let (mut record, mut bytes) = (Vec::new(), 0);
    while chunk.batches.len() < batches_max.min(CHUNK_BATCHES) && bytes < CHUNK_BYTES {
        match reader.next(&mut record)? {
            ReadEvent::Record(position) => {
                let Some((number, body)) = batch_encoder::split_record(&record) else { continue };
                bytes += body.len();
                chunk.batches.push(StoredBatch { position, number, bytes: body.to_vec() });
            }
            ReadEvent::Damage(damage) => {
                chunk.damage.push(damage);
                if chunk.damage.len() >= CHUNK_BATCHES {
                    break;
                }
            }
            ReadEvent::End => {
                chunk.at_end = true;
                break;
            }
        }
    }
    Ok(chunk)
}
