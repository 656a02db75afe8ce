//! A gateway's report on a shard that has delivered everything.

use catchment_partial::Timestamp;
use catchment_proto::History;

/// Progress of a shard, as its gateway reports it.
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
