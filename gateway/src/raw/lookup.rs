//! A question for the numbers of series in a shard; its worker answers (`crate::worker`).

use std::sync::Arc;

use catchment_proto::SeriesKey;
use tokio::sync::oneshot;

/// Asks a shard for the numbers of series.
#[derive(Debug)]
pub struct SeriesLookup {
    /// The series, at most 1,000.
    pub series: Arc<[SeriesKey]>,
    /// Number of the device, number of the series in it, index in `series`. Those that the shard does not know are left
    /// out.
    pub found: oneshot::Sender<Vec<(u32, u32, usize)>>,
}
