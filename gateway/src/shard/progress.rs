//! What a shard reports: its progress to the uplink, its values for the metrics.

use std::sync::Arc;

use catchment_journal::Position;
use catchment_partial::Timestamp;
use catchment_proto::History;

/// How far a shard has closed its windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Windows that end at or before this are closed, durably; it may go back when the clock is put back.
    pub watermark: Option<Timestamp>,
    /// Their batches are in the outbox before this position.
    pub outbox_end: Position,
    /// Number of the last of these batches; 0: there was none yet.
    pub number: u64,
    /// Which times these batches cover.
    pub history: Arc<History>,
}

/// Values of a shard for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observation {
    /// Open windows.
    pub open_windows: usize,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// Of these, bytes that stay for raw readings alone.
    pub raw_kept_bytes: u64,
    /// Bytes of the outbox on disk that wait for the aggregator.
    pub outbox_bytes: u64,
    /// Bytes of the outbox on disk that hold nothing but delivered batches.
    pub outbox_kept_bytes: u64,
    /// The watermark in Unix milliseconds.
    pub watermark_ms: Option<i64>,
}
