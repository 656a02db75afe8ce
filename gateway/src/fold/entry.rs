//! Entries of a shard's journal, and their format on disk.
//!
//! They are protobuf messages without a .proto file: no other program reads them. Tags are never reused.

use catchment_partial::Width;
use catchment_proto::wire::Label;
use prost::Message;

use super::metric_parts::MetricParts;

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
    /// Accepted messages of a device.
    #[prost(message, tag = "4")]
    Intake(IntakeEntry),
    /// Closes windows, as one batch.
    #[prost(message, tag = "5")]
    Close(CloseEntry),
    /// A progress snapshot: how far the sequence numbers of devices have got.
    #[prost(message, tag = "6")]
    ProgressSnapshot(ProgressSnapshotEntry),
    /// Batch numbers continue here.
    #[prost(message, tag = "7")]
    Numbers(NumbersEntry),
    /// A client's session begins or ends.
    #[prost(message, tag = "8")]
    Client(ClientEntry),
    /// Forgets what was unused for long.
    #[prost(message, tag = "9")]
    Forget(ForgetEntry),
}

/// How windows are made from here on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfigureEntry {
    /// Width of new windows in milliseconds.
    #[prost(uint32, tag = "1")]
    pub width_ms: u32,
    /// Optional parts of new windows by metric. None in entries of earlier versions, which had no optional parts.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<MetricEntry>,
}

/// Optional parts of a metric's windows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct MetricEntry {
    /// Its name, or the beginning of several names and `*`.
    #[prost(string, tag = "1")]
    pub pattern: String,
    /// The parts as bits: `catchment_partial::Parts::bits`.
    #[prost(uint32, tag = "2")]
    pub parts: u32,
}

impl ConfigureEntry {
    /// Windows of this width, with these optional parts.
    pub fn new(width: Width, metric_parts: &MetricParts) -> Self {
        Self { width_ms: width.as_millis(), metrics: metric_parts.entries() }
    }
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

/// Messages of a device, accepted together.
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
    /// Event time of each reading: Unix nanoseconds for the first, then the difference to the reading before.
    #[prost(sint64, repeated, tag = "5")]
    pub time: Vec<i64>,
    /// Value of each reading.
    #[prost(double, repeated, tag = "6")]
    pub value: Vec<f64>,
    /// Highest sequence number of the epoch before this entry; without an epoch, how many readings without number the
    /// device had sent. It reveals what damage to the journal took.
    #[prost(uint64, tag = "7")]
    pub previous: u64,
    /// Client (MQTT) whose session outlives its connections; empty without one.
    #[prost(string, tag = "8")]
    pub client: String,
    /// Packet identifiers that the client must release before it may reuse them.
    #[prost(uint32, repeated, tag = "9")]
    pub received: Vec<u32>,
    /// Packet identifiers that the client has released.
    #[prost(uint32, repeated, tag = "10")]
    pub released: Vec<u32>,
    /// The client's session is kept no longer.
    #[prost(bool, tag = "11")]
    pub forget: bool,
    /// Series index of each state. Entries without states, and those of earlier versions, have none of these columns.
    #[prost(uint32, repeated, tag = "12")]
    pub state_series: Vec<u32>,
    /// Event time of each state, as `time`.
    #[prost(sint64, repeated, tag = "13")]
    pub state_time: Vec<i64>,
    /// The text of each state: twice its place in `text_bytes`, and one more if it stands beside no number.
    #[prost(uint32, repeated, tag = "14")]
    pub state_text: Vec<u32>,
    /// The different texts, one after the other.
    #[prost(string, tag = "15")]
    pub texts: String,
    /// Length of each of them in bytes.
    #[prost(uint32, repeated, tag = "16")]
    pub text_bytes: Vec<u32>,
    /// How many of the states are readings of their own. The others stand beside a number: those of booleans.
    #[prost(uint32, tag = "17")]
    pub states_alone: u32,
}

/// Readings of an intake for which memory is kept.
const KEPT_READINGS: usize = 32_768;

impl IntakeEntry {
    /// The entry without content; keeps its memory, up to a bound.
    pub fn emptied(mut self) -> Self {
        self.clear();
        self.series.shrink_to(KEPT_READINGS);
        self.time.shrink_to(KEPT_READINGS);
        self.value.shrink_to(KEPT_READINGS);
        self.state_series.shrink_to(KEPT_READINGS);
        self.state_time.shrink_to(KEPT_READINGS);
        self.state_text.shrink_to(KEPT_READINGS);
        self.texts.shrink_to(KEPT_READINGS);
        self.text_bytes.shrink_to(KEPT_READINGS);
        self
    }

    /// How many readings it holds: a boolean is one.
    pub fn readings(&self) -> u64 {
        (self.value.len() as u64).saturating_add(self.states_alone.into())
    }

    /// Series indexes of all readings; twice of a boolean.
    pub fn series_indexes(&self) -> impl Iterator<Item = u32> {
        self.series.iter().chain(&self.state_series).copied()
    }
}

/// A client's (MQTT) session is kept from now on, or no longer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClientEntry {
    /// The device's index.
    #[prost(uint32, tag = "1")]
    pub device: u32,
    /// The client's identifier.
    #[prost(string, tag = "2")]
    pub client: String,
    /// Forgets the session kept before.
    #[prost(bool, tag = "3")]
    pub forget: bool,
    /// Keeps its session from here on.
    #[prost(bool, tag = "4")]
    pub keep: bool,
}

/// Forgets what was unused for long, and says how long the gateway has run.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ForgetEntry {
    /// Seconds that the gateway has run since the journal's beginning: the time of use of what is used from here on.
    #[prost(uint32, tag = "1")]
    pub running_s: u32,
    /// Indexes of devices to forget, with everything of theirs.
    #[prost(uint32, repeated, tag = "2")]
    pub devices: Vec<u32>,
    /// Index of the device of each single series.
    #[prost(uint32, repeated, tag = "3")]
    pub series_device: Vec<u32>,
    /// Index of each single series in its device.
    #[prost(uint32, repeated, tag = "4")]
    pub series: Vec<u32>,
    /// Index of the device of each single client (MQTT).
    #[prost(uint32, repeated, tag = "5")]
    pub client_device: Vec<u32>,
    /// Identifier of each single client.
    #[prost(string, repeated, tag = "6")]
    pub client: Vec<String>,
    /// Indexes of devices that are connected and send nothing: they, and their clients, count as used now.
    #[prost(uint32, repeated, tag = "7")]
    pub used: Vec<u32>,
}

impl ForgetEntry {
    /// Whether it holds nothing but the time.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.series.is_empty() && self.client.is_empty() && self.used.is_empty()
    }
}

/// Closes the windows that are due, in order, up to a bound, as one batch.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CloseEntry {
    /// Number of the batch, if there is anything to close.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Windows that end at or before this are due; it becomes the watermark once none of them is left. Unix
    /// nanoseconds.
    #[prost(sint64, tag = "2")]
    pub watermark_ns: i64,
    /// Windows for late readings that were opened before this position are due.
    #[prost(uint64, tag = "3")]
    pub late_before: u64,
    /// All windows are due, late ones first.
    #[prost(bool, tag = "4")]
    pub all: bool,
    /// Most windows to close, unless `last` is set.
    #[prost(uint32, tag = "5")]
    pub take: u32,
    /// On-time windows that were opened before this position are due whatever their end: a correct clock would not
    /// have left them open.
    #[prost(uint64, tag = "6")]
    pub opened_before: u64,
    /// The last window to close; takes precedence over the count. If the journal lost readings, a count would close
    /// windows that went into the next batch; if it lost a close, a count would leave windows open that were
    /// delivered.
    #[prost(message, optional, tag = "7")]
    pub last: Option<LastClosed>,
    /// Refused readings that the batch reports; with them, there is a batch even without windows.
    #[prost(message, repeated, tag = "8")]
    pub refused: Vec<RefusedEntry>,
}

/// Readings refused in one hour.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RefusedEntry {
    /// Hour of the gateway's clock, in hours since the Unix epoch.
    #[prost(sint64, tag = "1")]
    pub hour: i64,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub readings: u64,
}

/// Rank of the last window of a close.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LastClosed {
    /// 1 on time, 2 late, 3 open for too long.
    #[prost(uint32, tag = "1")]
    pub phase: u32,
    /// Position at which it was opened; of a late one only.
    #[prost(uint64, tag = "2")]
    pub opened: u64,
    /// Index of its device.
    #[prost(uint32, tag = "3")]
    pub device: u32,
    /// Index of its series.
    #[prost(uint32, tag = "4")]
    pub series: u32,
    /// Its window.
    #[prost(sint64, tag = "5")]
    pub window: i64,
    /// Width of the window in milliseconds.
    #[prost(uint32, tag = "6")]
    pub width_ms: u32,
}

/// How far the sequence numbers have got, of devices that advanced since the last snapshot. It bounds what is unknown
/// after damage to the journal.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ProgressSnapshotEntry {
    /// Indexes of the devices.
    #[prost(uint32, repeated, tag = "1")]
    pub device: Vec<u32>,
    /// The epoch of each, or empty for readings without number.
    #[prost(string, repeated, tag = "2")]
    pub epoch: Vec<String>,
    /// Highest sequence number of the epoch, or how many readings without number there were.
    #[prost(uint64, repeated, tag = "3")]
    pub highest: Vec<u64>,
}

/// Batch numbers continue here: lost entries may have used lower numbers.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct NumbersEntry {
    /// Number of the next batch.
    #[prost(uint64, tag = "1")]
    pub next_batch: u64,
    /// This many numbers before `next_batch` belong to batches that are made again.
    #[prost(uint64, tag = "2")]
    pub again: u64,
    /// The least start and the greatest end of their windows, Unix nanoseconds.
    #[prost(sint64, tag = "3")]
    pub from_ns: i64,
    /// See `from_ns`.
    #[prost(sint64, tag = "4")]
    pub to_ns: i64,
    /// Numbers before those are skipped because files are lost. The lost windows may be of any time up to this one,
    /// Unix nanoseconds.
    #[prost(sint64, optional, tag = "5")]
    pub left_out_to_ns: Option<i64>,
}

/// Bytes that are not an [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal holds an entry that cannot be read: {0}")]
pub struct EntryError(String);

#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    #[prost(oneof = "Entry", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    entry: Option<Entry>,
}

impl Entry {
    /// Clears the buffer and encodes the entry into it.
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
