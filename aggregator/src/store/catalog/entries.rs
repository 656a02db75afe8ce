//! What the catalog holds: gateways, their epochs and shards, series.

use std::sync::Arc;

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, SharedSeries};

use crate::store::{
    GatewayEpoch,
    catalog::{gaps::ShardGap, hourly::HourlyCounts, run_history::DeliveredRuns},
};

/// A gateway.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) struct Gateway {
    /// Its identity.
    pub(in crate::store) id: GatewayId,
    /// The watermark of its present epoch, or of the previous one until the present one has a watermark.
    pub(in crate::store) watermark: Option<Timestamp>,
    /// Its newest created epoch.
    pub(in crate::store) present: Option<u32>,
    /// It does not count in completeness: an operator has retired it, and it has begun no stream since.
    pub(in crate::store) retired: bool,
    /// Its late corrections and refused readings.
    pub(in crate::store) hours: Arc<HourlyCounts>,
}

impl Gateway {
    /// A gateway that has delivered nothing yet.
    pub(in crate::store) fn new(id: GatewayId) -> Self {
        Self { id, watermark: None, present: None, retired: false, hours: Arc::default() }
    }
}

/// Progress of one shard of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Shard {
    /// Highest batch number applied; 0: none.
    pub(in crate::store) number: u64,
    /// Its windows are closed and delivered up to here.
    pub(in crate::store) watermark: Option<Timestamp>,
    /// Everything delivered up to here is in this store or in one of the gaps. The watermark may be ahead: an older
    /// gateway does not report how many batches its watermark covers.
    pub(in crate::store) whole_to: Option<Timestamp>,
    /// Batches that it made and this store lacks, in order of time.
    pub(in crate::store) gaps: Vec<ShardGap>,
    /// The runs that delivered its newest batches.
    pub(in crate::store) runs: DeliveredRuns,
}

/// One epoch of a gateway: one lifetime of its data folder.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) struct EpochState {
    /// Number of its gateway.
    pub(in crate::store) gateway: u32,
    /// Its identity.
    pub(in crate::store) epoch: GatewayEpoch,
    /// Its known shards; may be fewer or more than the epoch reports.
    pub(in crate::store) shards: Vec<Shard>,
    /// Its delivered numbers were lost by damage: what it delivered before is unknown.
    pub(in crate::store) unknown: bool,
    /// It has a stream now.
    pub(in crate::store) open: bool,
    /// Series that it delivered and that were removed here: its data folder may still hold them.
    pub(in crate::store) forgotten: u64,
    /// It had a stream while its gateway had a newer epoch.
    pub(in crate::store) concurrent: bool,
}

/// A series.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) struct Series {
    /// Number of its gateway.
    pub(in crate::store) gateway: u32,
    /// Device, metric and labels.
    pub(in crate::store) key: SharedSeries,
    /// Start of its first window.
    pub(in crate::store) first: Timestamp,
    /// Start of its last window.
    pub(in crate::store) last: Timestamp,
    /// Latest end of a window.
    pub(in crate::store) end: Timestamp,
    /// Event time of its newest reading.
    pub(in crate::store) newest: Timestamp,
    /// The epoch that delivered it last; `None`: written by a version that did not record it.
    pub(in crate::store) epoch: Option<u32>,
    /// No window in a table starts later. Not stored: after a start it is `last`.
    pub(in crate::store) flushed: Timestamp,
}
