//! An entry of the store's journal: a batch, the epoch that delivered it, and the batch that it followed.
//!
//! A version byte, then a protobuf message, so that later versions can add fields. After damage to the journal, the
//! number of the predecessor tells exactly which batches are gone.

use bytes::Bytes;
use catchment_partial::Timestamp;
use catchment_proto::{Batch, BatchError, GatewayId, Name, NameError, wire};
use prost::Message;

use crate::store::{GatewayEpoch, previous_runs};

const VERSION: u8 = 2;

/// One batch in the journal.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) struct JournalEntry {
    /// The epoch that delivered it.
    pub(in crate::store) epoch: GatewayEpoch,
    /// Highest number of its shard accepted before; 0: none.
    pub(in crate::store) follows: u64,
    /// Its shard had delivered its windows up to here when it was accepted: those of the batch that end before are late
    /// corrections. `None`: nothing yet, or written by a version that did not record it.
    pub(in crate::store) delivered_to: Option<Timestamp>,
    /// The batch.
    pub(in crate::store) batch: Batch,
}

impl JournalEntry {
    /// The entry of a batch that is not admitted yet.
    pub(in crate::store) fn new(epoch: &GatewayEpoch, batch: Batch) -> Self {
        Self { epoch: epoch.clone(), follows: 0, delivered_to: None, batch }
    }
}

/// Why bytes are not a valid entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::store) enum JournalEntryError {
    /// The entry is empty.
    #[error("the entry is empty")]
    Empty,
    /// Written by another version.
    #[error("the entry has format {0}, this program knows format {VERSION}: use the one that wrote it")]
    Version(u8),
    /// Not a protobuf message.
    #[error(transparent)]
    Message(#[from] prost::DecodeError),
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The batch is invalid.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch is missing.
    #[error("the entry has no batch")]
    Missing,
}

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(string, tag = "1")]
    site: String,
    #[prost(string, tag = "2")]
    gateway: String,
    #[prost(fixed64, tag = "3")]
    epoch: u64,
    #[prost(sint64, tag = "4")]
    epoch_created_ms: i64,
    #[prost(uint32, tag = "5")]
    shards: u32,
    #[prost(uint64, tag = "6")]
    follows: u64,
    /// A message [`wire::Batch`] that names all its series.
    #[prost(bytes = "bytes", optional, tag = "7")]
    batch: Option<Bytes>,
    #[prost(fixed64, tag = "8")]
    run: u64,
    #[prost(fixed64, repeated, tag = "9")]
    previous_runs: Vec<u64>,
    #[prost(sint64, optional, tag = "10")]
    delivered_to: Option<i64>,
}

/// Encodes an entry.
pub(in crate::store) fn encode(entry: &JournalEntry) -> Vec<u8> {
    let JournalEntry { epoch, follows, delivered_to, batch } = entry;
    let mut encoded = Vec::with_capacity(batch.entries.iter().map(|entry| entry.body.len() + 64).sum());
    batch.encode(&mut encoded);
    let record = EntryRecord {
        site: epoch.gateway.site.as_str().to_owned(),
        gateway: epoch.gateway.name.as_str().to_owned(),
        epoch: epoch.id,
        epoch_created_ms: epoch.created_ms,
        shards: epoch.shards,
        follows: *follows,
        batch: Some(encoded.into()),
        run: epoch.run,
        previous_runs: epoch.previous_runs.into_iter().take_while(|run| *run != 0).collect(),
        delivered_to: delivered_to.map(Timestamp::as_nanos),
    };
    let mut out = Vec::with_capacity(1 + record.encoded_len());
    out.push(VERSION);
    record.encode(&mut out).expect("a Vec has room");
    out
}

/// Decodes an entry; the bodies of its batch share the bytes.
///
/// # Errors
/// [`JournalEntryError`] for any bytes that [`encode`] did not make.
pub(in crate::store) fn decode(mut bytes: Bytes) -> Result<JournalEntry, JournalEntryError> {
    match bytes.first() {
        None => return Err(JournalEntryError::Empty),
        Some(&VERSION) => drop(bytes.split_to(1)),
        Some(&version) => return Err(JournalEntryError::Version(version)),
    }
    let record = EntryRecord::decode(bytes)?;
    let gateway = GatewayId { site: Name::new(&record.site)?, name: Name::new(&record.gateway)? };
    Ok(JournalEntry {
        epoch: GatewayEpoch {
            gateway,
            id: record.epoch,
            created_ms: record.epoch_created_ms,
            shards: record.shards,
            run: record.run,
            previous_runs: previous_runs(&record.previous_runs),
        },
        follows: record.follows,
        delivered_to: record.delivered_to.map(Timestamp::from_nanos),
        batch: wire::Batch::decode(record.batch.ok_or(JournalEntryError::Missing)?)?.try_into()?,
    })
}
