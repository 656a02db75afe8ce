//! Records that stay in outboxes and journals.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::register::add;

/// Delivered batches that stay in the outboxes.
#[derive(Debug)]
#[allow(missing_docs)] // each has its help text below
pub struct KeptMetrics {
    pub bytes: Gauge,
    pub raw_bytes: Gauge,
    pub raw_sent: Counter,
    pub resent: Counter,
    seconds: Gauge,
    /// By shard.
    ages: Mutex<BTreeMap<u32, Duration>>,
}

impl KeptMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            bytes: add(registry, "outbox_kept_bytes", "Bytes of delivered batches that stay in the outboxes"),
            raw_bytes: add(
                registry,
                "raw_kept_bytes",
                "Bytes of the journals that stay for raw readings alone",
            ),
            raw_sent: add(registry, "raw_readings_sent", "Raw readings sent to operators"),
            resent: add(
                registry,
                "batches_resent",
                "Batches sent again although they were delivered, to an aggregator that lost them",
            ),
            seconds: add(
                registry,
                "outbox_kept_seconds",
                "How long ago the oldest batch that stays in an outbox was delivered, counted from the start at most",
            ),
            ages: Mutex::default(),
        }
    }

    /// The oldest kept batch of a shard was delivered so long ago.
    pub fn show_age(&self, shard: u32, age: Duration) {
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        ages.insert(shard, age);
        let oldest = ages.values().max().map_or(0, Duration::as_secs);
        self.seconds.set(i64::try_from(oldest).unwrap_or(i64::MAX));
    }
}
