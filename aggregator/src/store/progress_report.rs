//! What a gateway reports of a shard when it has delivered everything.

use catchment_partial::Timestamp;
use catchment_proto::History;

/// How far a shard says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressReport {
    /// The shard.
    pub shard: u32,
    /// Its windows are closed up to here; `None`: what it says is not believed.
    pub watermark: Option<Timestamp>,
    /// The last batch that it made; 0: it does not say.
    pub last: u64,
    /// Which times its batches up to that one cover, as far as it says.
    pub history: History,
}
