//! Entries of a shard's journal, and how they stand on disk.
//!
//! They are protobuf messages without a .proto file: no other program reads them. Tags are never reused.

use catchment_proto::wire::Label;
use prost::Message;

/// One record of the journal.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Entry {
    /// How windows are made from here on.
    #[prost(message, tag = "1")]
    Configure(ConfigureEntry),
    /// A device's first appearance.
    #[prost(message, tag = "2")]
    Device(DeviceEntry),
    /// A series' first appearance.
    #[prost(message, tag = "3")]
    Series(SeriesEntry),
    /// Messages of a device that were taken.
    #[prost(message, tag = "4")]
    Intake(IntakeEntry),
    /// Windows are closed, as one batch.
    #[prost(message, tag = "5")]
    Close(CloseEntry),
}

/// How windows are made from here on.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ConfigureEntry {
    /// Width of new windows in milliseconds.
    #[prost(uint32, tag = "1")]
    pub width_ms: u32,
}

/// A device's first appearance.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeviceEntry {
    /// Its index in the shard from here on.
    #[prost(uint32, tag = "1")]
    pub index: u32,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
}

/// A series' first appearance.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SeriesEntry {
    /// The device's index.
    #[prost(uint32, tag = "1")]
    pub device: u32,
    /// The series' index in its device from here on.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// Name of the metric.
    #[prost(string, tag = "3")]
    pub metric: String,
    /// Labels, sorted by name.
    #[prost(message, repeated, tag = "4")]
    pub labels: Vec<Label>,
}

/// Messages of a device that were taken together.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IntakeEntry {
    /// The device's index.
    #[prost(uint32, tag = "1")]
    pub device: u32,
    /// Epoch of the sequence number; empty without one.
    #[prost(string, tag = "2")]
    pub epoch: String,
    /// Highest sequence number of the messages; 0 without one.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// Series index of each reading.
    #[prost(uint32, repeated, tag = "4")]
    pub series: Vec<u32>,
    /// Event time of each reading: Unix nanoseconds, from the second on the difference to its predecessor.
    #[prost(sint64, repeated, tag = "5")]
    pub time: Vec<i64>,
    /// Value of each reading.
    #[prost(double, repeated, tag = "6")]
    pub value: Vec<f64>,
    /// Highest sequence number of the epoch before: where the journal is damaged, it tells what is lost.
    #[prost(uint64, tag = "7")]
    pub previous: u64,
}

/// Windows are closed: those due, in order, up to a count, as one batch.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct CloseEntry {
    /// Number of the batch, if there is anything to close.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Windows that end at or before this are due; the new watermark once none of them is left. Unix nanoseconds.
    #[prost(sint64, tag = "2")]
    pub watermark_ns: i64,
    /// Windows for late readings that were opened before this position are due.
    #[prost(uint64, tag = "3")]
    pub late_before: u64,
    /// All windows are due, late ones first: there are too many.
    #[prost(bool, tag = "4")]
    pub all: bool,
    /// At most so many windows are closed.
    #[prost(uint32, tag = "5")]
    pub take: u32,
}

/// Bytes that are no [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal holds an entry that cannot be read: {0}")]
pub struct EntryError(String);

#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(oneof = "Entry", tags = "1, 2, 3, 4, 5")]
    entry: Option<Entry>,
}

impl Entry {
    /// Encodes the entry into an emptied buffer.
    pub fn encode_into(self, buffer: &mut Vec<u8>) -> Self {
        buffer.clear();
        let record = Record { entry: Some(self) };
        record.encode_raw(buffer);
        record.entry.expect("put there above")
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// When the bytes are not an entry that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let record = Record::decode(bytes).map_err(|e| EntryError(e.to_string()))?;
        record.entry.ok_or_else(|| EntryError("an entry of a kind that this version does not know".into()))
    }
}
