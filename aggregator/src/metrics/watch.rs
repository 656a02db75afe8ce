//! Counters of watches.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Reason, reasons::family};
use crate::query::{REFUSED_REASONS, WATCH_REASONS};

/// What watches have done since the start, and what they hold.
#[derive(Debug, Default)]
pub(crate) struct WatchMetrics {
    pub(crate) subscriptions: Gauge,
    pub(crate) refused: Family<Reason, Counter>,
    pub(crate) ended: Family<Reason, Counter>,
    pub(crate) rounds: Counter,
    pub(crate) postponed: Counter,
    pub(crate) points: Counter,
    pub(crate) merged: Counter,
    pub(crate) resets: Counter,
    pub(crate) memory: Gauge,
    memory_max: Gauge,
}

impl WatchMetrics {
    /// Sets the bound of the memory, bytes.
    pub(crate) fn set_memory_max(&self, bytes: usize) {
        self.memory_max.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// With each known reason at 0.
    pub(super) fn new() -> Self {
        let reasons = || family(REFUSED_REASONS.into_iter().chain(WATCH_REASONS));
        Self { refused: reasons(), ended: reasons(), ..Self::default() }
    }

    pub(super) fn register(&self, r: &mut Registry) {
        r.register("watches", "Watches open now", self.subscriptions.clone());
        r.register("watches_refused", "Watches refused, by reason", self.refused.clone());
        r.register("watches_ended", "Watches ended by the aggregator, by reason", self.ended.clone());
        r.register(
            "watch_rounds",
            "Rounds of watches: each reads the points that have changed and sends them",
            self.rounds.clone(),
        );
        r.register(
            "watch_rounds_postponed",
            "Rounds of watches that waited for memory (watch_memory)",
            self.postponed.clone(),
        );
        r.register("watch_points", "Points sent to watches", self.points.clone());
        r.register(
            "watch_merged",
            "Changes of points merged into a later one because the reader of a watch was behind",
            self.merged.clone(),
        );
        r.register(
            "watch_resets",
            "Ranges sent again as a whole, because more had changed than was remembered",
            self.resets.clone(),
        );
        r.register("watch_memory_bytes", "Memory of watches", self.memory.clone());
        r.register("watch_memory_max_bytes", "Bound of watch_memory_bytes", self.memory_max.clone());
    }
}
