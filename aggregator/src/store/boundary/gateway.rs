//! Gateways: their epochs and runs, what they delivered, what is lost.

use std::sync::Arc;

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, History};

use crate::store::catalog::hourly::HourlyCounts;

/// One epoch of a gateway: the lifetime of one data folder, which numbers its batches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayEpoch {
    /// The gateway, from its certificate.
    pub gateway: GatewayId,
    /// Identity of its data folder.
    pub id: u64,
    /// When that folder was created, Unix milliseconds.
    pub created_ms: i64,
    /// Number of its shards.
    pub shards: u32,
    /// The gateway's run that delivers; 0: not reported.
    pub run: u64,
    /// Previous runs on that folder.
    pub previous_runs: PreviousRuns,
}

impl GatewayEpoch {
    /// Whether both deliver from the same lifetime of a folder.
    pub fn is_same_folder(&self, other: &Self) -> bool {
        (self.id, &self.gateway) == (other.id, &other.gateway)
    }
}

/// Previous runs, the newest first; 0: none known.
pub type PreviousRuns = [u64; 16];

/// The first runs of a list, as many as are kept.
pub fn previous_runs(runs: &[u64]) -> PreviousRuns {
    let mut previous = PreviousRuns::default();
    previous.iter_mut().zip(runs).for_each(|(to, from)| *to = *from);
    previous
}

/// A run of a gateway and its progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunDelivered {
    /// The run; 0: not reported.
    pub run: u64,
    /// Previous runs on its data folder.
    pub previous: PreviousRuns,
    /// Highest batch number that it delivered.
    pub number: u64,
}

/// What a shard has delivered, and by which runs of its gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Highest durable batch number; 0: none.
    pub number: u64,
    /// The last runs that delivered, in order.
    pub runs: Vec<RunDelivered>,
}

/// Progress of a shard that has delivered everything, as its gateway reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressReport {
    /// The shard.
    pub shard: u32,
    /// Its windows are closed up to here; `None`: the reported watermark is not believed.
    pub watermark: Option<Timestamp>,
    /// The last batch that it made; 0: not reported.
    pub last: u64,
    /// The times that its batches up to that one cover, as far as reported.
    pub history: History,
}

/// A gateway and its progress.
#[derive(Clone, Debug)]
pub struct GatewayEntry {
    /// The gateway with its present epoch (the newest created).
    pub epoch: GatewayEpoch,
    /// All of its shards have closed and delivered everything up to here; `None`: not yet. Never goes back within an
    /// epoch.
    pub watermark: Option<Timestamp>,
    /// Known losses before the watermark, in order of time, at most 64.
    pub gaps: Vec<Gap>,
    /// Number of its series in the store, from whichever data folder.
    pub series: u64,
    /// The series budget last sent to it; `None`: none yet, or the store gives none.
    pub series_max: Option<u64>,
    /// It was retired: it does not count in completeness.
    pub retired: bool,
    /// Its late corrections and refused readings.
    pub hours: Arc<HourlyCounts>,
}

/// Windows of a gateway that were closed, but are missing from the store, all or some of them. Late readings of
/// earlier windows may be lost with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// They end after this; `None`: from the beginning.
    pub from: Option<Timestamp>,
    /// They end at or before this; `None`: not known yet.
    pub to: Option<Timestamp>,
    /// Number of missing batches; 0: unknown.
    pub batches: u64,
}
