//! Counters of retention.

use std::sync::atomic::AtomicU64;

use catchment_partial::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use crate::store::Retained;

/// What retention has removed since the start, and its last round.
#[derive(Debug, Default)]
pub(crate) struct RetentionMetrics {
    rounds: Counter,
    rows: Counter,
    bytes: Counter,
    series: Counter,
    time_seconds: Gauge<f64, AtomicU64>,
    pub(crate) failures: Counter,
    pub(crate) round_seconds: Gauge<f64, AtomicU64>,
}

impl RetentionMetrics {
    /// Counts a completed round, which counted ages from a time.
    pub(crate) fn completed(&self, time: Timestamp, removed: &Retained) {
        self.rounds.inc();
        self.rows.inc_by(removed.rows);
        self.bytes.inc_by(removed.bytes);
        self.series.inc_by(removed.series);
        self.time_seconds.set(time.as_millis() as f64 / 1_000.0);
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("retention_rounds", "Rounds of retention completed", self.rounds.clone());
        r.register("retention_failures", "Rounds of retention that failed", self.failures.clone());
        r.register(
            "retention_removed_rows",
            "Rows that retention removed, of all resolutions",
            self.rows.clone(),
        );
        r.register(
            "retention_freed_bytes",
            "Bytes that retention gave back to the file system",
            self.bytes.clone(),
        );
        r.register(
            "retention_removed_series",
            "Series that retention removed with their last row",
            self.series.clone(),
        );
        r.register(
            "retention_round_seconds",
            "Duration of the last round of retention",
            self.round_seconds.clone(),
        );
        r.register(
            "retention_time_seconds",
            "Time from which the last round of retention counted ages, Unix seconds",
            self.time_seconds.clone(),
        );
    }
}
