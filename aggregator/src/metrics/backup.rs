//! Counters of backups.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Reason, reasons::family};
use crate::backup::END_REASONS;

/// Backups since the start, and the last of them.
#[derive(Debug, Default)]
pub(crate) struct BackupMetrics {
    sent: Counter,
    bytes: Counter,
    time_seconds: Gauge<f64, AtomicU64>,
    pub(crate) failed: Family<Reason, Counter>,
}

impl BackupMetrics {
    /// Counts a backup that was sent whole, with the time of the state that it holds.
    pub(crate) fn completed(&self, bytes: u64, taken_ms: i64) {
        self.sent.inc();
        self.bytes.inc_by(bytes);
        self.time_seconds.set(taken_ms as f64 / 1_000.0);
    }

    /// With each known reason at 0.
    pub(super) fn new() -> Self {
        Self { failed: family(END_REASONS), ..Self::default() }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("backups", "Backups sent as a whole", self.sent.clone());
        r.register("backup_bytes", "Bytes of files in them", self.bytes.clone());
        r.register("backups_failed", "Backups that ended early, by reason", self.failed.clone());
        r.register(
            "backup_time_seconds",
            "State that the last backup holds, Unix seconds; 0: none since the start",
            self.time_seconds.clone(),
        );
    }
}
