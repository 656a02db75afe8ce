//! What all delivery streams share.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    bytes::IngestBytes,
    stream_registry::StreamRegistry,
    waiting::{TOO_MANY_EPOCHS, TOO_MANY_SERIES},
};
use crate::{clock, clock_bound::ClockBound, metrics::Metrics, store::IngestStore};

/// State shared by all streams.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn IngestStore>,
    pub(crate) streams: Arc<StreamRegistry>,
    pub(crate) metrics: Arc<Metrics>,
    /// How far ahead of the aggregator's clock a gateway is believed.
    pub(crate) clock_tolerance: Duration,
    /// Most batches of a stream in flight to the store.
    pub(crate) in_flight_max: usize,
    /// Memory of everything that waits.
    pub(crate) bytes: Arc<IngestBytes>,
    /// Turns true when streams must end.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shared {
    /// The clock bound at this moment.
    pub(super) fn clock_bound(&self) -> ClockBound {
        ClockBound::new(clock::now_ms(), self.clock_tolerance)
    }

    /// Publishes at `/readyz` which gateways' batches wait for room.
    pub(super) fn publish_waiting(&self) {
        self.metrics.conditions.set("series_full", self.streams.waiting.summary(TOO_MANY_SERIES));
        self.metrics.conditions.set("epochs_full", self.streams.waiting.summary(TOO_MANY_EPOCHS));
    }
}
