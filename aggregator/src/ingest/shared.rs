//! What all delivery streams share.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    bytes::IngestBytes,
    stream_registry::StreamRegistry,
    waiting::{TOO_MANY_EPOCHS, TOO_MANY_SERIES},
};
use crate::{clock, clock_bound::ClockBound, metrics::Metrics, store::Store};

/// What all streams share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) streams: Arc<StreamRegistry>,
    pub(crate) metrics: Arc<Metrics>,
    /// How far ahead of the aggregator's clock a gateway is believed.
    pub(crate) clock_tolerance: Duration,
    /// Most batches of a stream at the store.
    pub(crate) in_flight_max: usize,
    /// Memory of what waits.
    pub(crate) bytes: Arc<IngestBytes>,
    /// Turns true when streams are to end.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Shared {
    /// What is believed now.
    pub(super) fn clock_bound(&self) -> ClockBound {
        ClockBound::new(clock::now_ms(), self.clock_tolerance)
    }

    /// Updates the conditions that `/readyz` shows of gateways whose batches wait for room.
    pub(super) fn publish_waiting(&self) {
        self.metrics.conditions.set("series_full", self.streams.waiting.summary(TOO_MANY_SERIES));
        self.metrics.conditions.set("epochs_full", self.streams.waiting.summary(TOO_MANY_EPOCHS));
    }
}
