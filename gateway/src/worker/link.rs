//! A worker's shard as the uplink sees it: the outbox, how far windows are closed, the state of open ones.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use catchment_journal::Position;
use catchment_proto::wire;
use tokio::sync::{mpsc, watch};

use crate::{
    raw::SeriesLookup,
    shard::{Progress, ShardLog},
};

/// A shard as the uplink sees it.
#[derive(Clone)]
pub struct ShardLink {
    /// Number of the shard.
    pub index: u32,
    /// Batches in order.
    pub outbox: ShardLog,
    /// Readings in the order in which they were taken.
    pub journal: ShardLog,
    /// Asks for the numbers of series.
    pub lookups: mpsc::Sender<SeriesLookup>,
    /// How far windows are closed.
    pub progress: watch::Receiver<Progress>,
    /// Latest state of open windows, taken by the uplink.
    pub live: Arc<LiveSlot>,
    /// Set by the uplink: everything in the outbox before this position is acknowledged.
    pub acknowledged: watch::Sender<Position>,
}

impl ShardLink {
    /// Waits until every batch in the outbox is acknowledged, and every closed window is in it. Cancel safe.
    pub async fn delivered(&self) {
        let _ = self.acknowledged.subscribe().wait_for(|end| *end >= self.progress.borrow().outbox_end).await;
    }
}

/// The newest live batches of a shard, until the uplink takes them.
#[derive(Debug, Default)]
pub struct LiveSlot {
    batches: Mutex<Vec<wire::Batch>>,
    /// A stream has begun: its receiver knows of no open window.
    full_requested: AtomicBool,
    /// Signalled when there are batches.
    pub changed: tokio::sync::Notify,
}

impl LiveSlot {
    /// Takes the batches.
    pub fn take(&self) -> Vec<wire::Batch> {
        std::mem::take(&mut *self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for all open windows, not only those that changed.
    pub fn request_full(&self) {
        self.full_requested.store(true, Ordering::Release);
    }

    /// Whether all open windows were asked for since the last call.
    pub(super) fn take_full_request(&self) -> bool {
        self.full_requested.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn put(&self, batches: Vec<wire::Batch>) {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) = batches;
        self.changed.notify_one();
    }
}
