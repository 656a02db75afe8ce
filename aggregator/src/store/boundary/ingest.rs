//! What the streams of gateways need of a store.

use catchment_proto::{Batch, GatewayId, SeriesKey, SharedSeries};
use futures_util::future::BoxFuture;

use super::{Delivered, GatewayEpoch, ProgressReport, StoreError};

/// Takes what gateways deliver. Whatever is no future answers from memory: it runs on threads that must not wait.
pub trait IngestStore: Send + Sync + 'static {
    /// Stores a batch. `Ok` means that it survives a crash (a live batch: that queries see it). A known number is
    /// `Ok` and changes nothing. `stream_start` marks the first batch of its shard on a stream: its number may skip
    /// ahead (this store lost the previous batches, or never had them), which is counted.
    ///
    /// The future may be dropped at any await: the batch is then either stored or not, and the gateway sends it
    /// again.
    fn put<'a>(
        &'a self,
        epoch: &'a GatewayEpoch,
        batch: Batch,
        stream_start: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// A stream of an epoch has begun; it lives until [`IngestStore::detach`]. A stream without batches leaves no
    /// trace.
    fn attach(&self, epoch: &GatewayEpoch);

    /// A stream of an epoch has ended: nothing of it is in flight. With the last one of an epoch its live state ends.
    fn detach(&self, epoch: &GatewayEpoch);

    /// Begins a run: from now on nothing of another run of the same folder is accepted, until the folder has no stream
    /// any more. Everything accepted before is durable and included in the result; the live state of another run
    /// is dropped.
    fn begin<'a>(&'a self, epoch: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>>;

    /// Records that a shard has closed its windows up to a watermark and delivered all its batches. Not durable by
    /// itself.
    ///
    /// # Errors
    /// [`StoreError::Superseded`].
    fn progress(&self, epoch: &GatewayEpoch, report: &ProgressReport) -> Result<(), StoreError>;

    /// Creation time of a data folder, Unix milliseconds, if this store knows it.
    fn created_ms(&self, epoch: &GatewayEpoch) -> Option<i64>;

    /// The gateway's newest epoch, if it is newer than this one, has no stream, this one never delivered concurrently
    /// with it, and there is room for another epoch.
    fn newer_epoch(&self, _epoch: &GatewayEpoch) -> Option<u64> {
        None
    }

    /// Highest durable batch number of each shard of an epoch.
    fn delivered(&self, epoch: &GatewayEpoch) -> Vec<u64>;

    /// Drops the live state of an epoch's open windows, once the epoch has no stream.
    fn drop_live(&self, epoch: &GatewayEpoch);

    /// Most series that the data folder of an epoch may hold, so that all of them find room here; `None`: this store
    /// has no such limit. The result is reserved for that gateway.
    fn series_budget(&self, epoch: &GatewayEpoch) -> Option<u64>;

    /// Whether deliveries outrun the arrangement of what is stored so far that a backlog should wait for it: queries
    /// would read slowly what is not arranged.
    fn is_behind(&self) -> bool {
        false
    }

    /// Waits while [`IngestStore::is_behind`].
    fn caught_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// A stored series, to be shared by the streams of its gateway; `None`: unknown, or the store does not share.
    fn known_series(&self, _gateway: &GatewayId, _key: &SeriesKey) -> Option<SharedSeries> {
        None
    }
}
