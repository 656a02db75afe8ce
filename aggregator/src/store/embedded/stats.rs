//! Counters and sizes of the embedded store.

use std::sync::atomic::Ordering;

use catchment_journal::Disk;

use crate::store::{
    EmbeddedStore, StoreStats,
    embedded::locks::{lock, read},
};

impl<D: Disk> EmbeddedStore<D> {
    /// Current sizes, and counters since the store was opened.
    pub fn stats(&self) -> StoreStats {
        let inner = &self.inner;
        inner.apply_durable();
        let progress = inner.progress.borrow().clone();
        let duplicates = lock(&inner.admission).duplicates;
        let state = read(&inner.state);
        let flushed_to = inner.flushed_to.load(Ordering::Acquire);
        StoreStats {
            series: state.catalog.series.len(),
            series_max: inner.config.series_max,
            epochs: state.catalog.epochs.len(),
            epochs_max: inner.config.epochs_max,
            epochs_of_gateway_most: state.catalog.epochs_most(),
            epochs_per_gateway_max: inner.config.epoch_bounds().gateway,
            memtable_partials: state.memtable.len(),
            memtable_bytes: state.memtable.bytes(),
            live_partials: state.live.len(),
            live_bytes: state.live.bytes(),
            live_bytes_max: inner.live_limits.total,
            live_bytes_of_gateway_most: state.live.bytes_most(),
            live_bytes_per_gateway_max: inner.live_limits.gateway,
            batches: state.counts.batches,
            duplicates,
            gaps: state.counts.gaps,
            flush_rounds: progress.rounds,
            flushed_partials: progress.flushed,
            forgotten_partials: inner.forgotten.load(Ordering::Relaxed),
            dropped: vec![
                ("series_limit", state.counts.series_limit),
                ("live_limit", state.counts.live_limit),
                ("live_gateway_limit", state.counts.live_gateway_limit),
                ("live_lookup_limit", state.counts.live_lookup_limit),
                ("expired", inner.expired.load(Ordering::Relaxed)),
            ],
            journal_bytes: state.applied_to.get().saturating_sub(flushed_to),
            journal_damage: inner.damage.saturating_sub(inner.damaged_tables),
            damaged_tables: inner.damaged_tables,
            damaged_reads: inner.tables.cache.damaged.count(),
            lost_batches: state.catalog.lost_batches(),
            damaged_series: inner.damaged_series.load(Ordering::Relaxed),
            late_and_refused: state.counts.late_and_refused,
            retired_gateways: state.catalog.retired(),
            index_bytes: state.catalog.index.bytes(),
        }
    }
}
