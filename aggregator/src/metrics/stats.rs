//! Metrics read at each scrape: the conditions, and the embedded store's own counters.

use std::{fmt, sync::Arc};

use catchment_settings::Conditions;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::StatsSource;
use crate::store::StoreStats;

/// The conditions, each known one from the start.
#[derive(Debug)]
pub(super) struct ConditionsCollector(pub(super) Arc<Conditions>);

impl Collector for ConditionsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 while the condition holds; see /readyz or the log for the reason";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("condition", help, None, kind)?;
        for (name, holds) in self.0.states() {
            ConstGauge::new(i64::from(holds)).encode(family.encode_family(&[("name", name)])?)?;
        }
        Ok(())
    }
}

/// Encodes a snapshot at each scrape.
pub(super) struct StoreCollector(pub(super) StatsSource);

impl fmt::Debug for StoreCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCollector").finish_non_exhaustive()
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = (self.0)();
        let gauges = [
            ("store_series", "Series known", stats.series as u64),
            ("store_series_max", "Most series", stats.series_max as u64),
            ("store_origins", "Gateway epochs known", stats.epochs as u64),
            ("store_origins_max", "Most gateway epochs", stats.epochs_max as u64),
            (
                "store_origins_gateway_most",
                "Epochs of the gateway that has the most",
                stats.epochs_of_gateway_most,
            ),
            ("store_origins_per_gateway_max", "Most epochs of one gateway", stats.epochs_per_gateway_max),
            // The names are older than the code's: `recent` is the memtable, `pack` a flush.
            ("store_recent_partials", "Partials in memory, not flushed yet", stats.memtable_partials as u64),
            (
                "store_recent_bytes",
                "Memory of partials that are not flushed yet",
                stats.memtable_bytes as u64,
            ),
            ("store_live_partials", "Partials of open windows", stats.live_partials as u64),
            ("store_live_bytes", "Memory of partials of open windows", stats.live_bytes as u64),
            ("store_live_bytes_max", "Bound of store_live_bytes", stats.live_bytes_max as u64),
            (
                "store_live_bytes_gateway_most",
                "Memory of partials of open windows of the gateway that has the most",
                stats.live_bytes_of_gateway_most as u64,
            ),
            (
                "store_live_bytes_per_gateway_max",
                "Most memory of partials of open windows of one gateway",
                stats.live_bytes_per_gateway_max as u64,
            ),
            ("store_journal_bytes", "Journal bytes that are not flushed yet", stats.journal_bytes),
            (
                "store_journal_damage",
                "Damaged places in journal and catalog, found at the start",
                stats.journal_damage,
            ),
            (
                "store_damaged_tables",
                "Tables missing, or of another length, at the start",
                stats.damaged_tables,
            ),
            (
                "store_lost_batches",
                "Batches that gateways made and this store lacks, since its folder was created",
                stats.lost_batches,
            ),
            ("store_damaged_series", "Series with damaged or missing blocks", stats.damaged_series),
            ("store_index_bytes", "Memory of the label index", stats.index_bytes as u64),
            ("retired_gateways", "Gateways that do not count in completeness", stats.retired_gateways),
        ];
        encode_gauges(gauges, &mut encoder)?;
        encode_counters(&stats, &mut encoder)?;
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut dropped =
            encoder.encode_descriptor("store_dropped_partials", "Partials dropped, by reason", None, kind)?;
        for (reason, value) in stats.dropped {
            ConstCounter::new(value).encode(dropped.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

fn encode_counters(stats: &StoreStats, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let counters = [
        ("store_pack_rounds", "Flush rounds", stats.flush_rounds),
        ("store_packed_partials", "Partials flushed", stats.flushed_partials),
        (
            "store_damaged_reads",
            "Reads of stored rows that failed because they are damaged",
            stats.damaged_reads,
        ),
        ("store_forgotten_partials", "Partials forgotten because of their age", stats.forgotten_partials),
        (
            "late_corrections",
            "Windows corrected after their gateway had delivered them",
            stats.late_and_refused.late,
        ),
        (
            "gateway_refused_readings",
            "Refused readings that gateways reported",
            stats.late_and_refused.refused,
        ),
    ];
    for (name, help, value) in counters {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
    }
    Ok(())
}

/// Writes gauges: name, help text and value.
pub(super) fn encode_gauges(
    gauges: impl IntoIterator<Item = (&'static str, &'static str, u64)>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    for (name, help, value) in gauges {
        // Beyond 2^53 a double rounds, which does not matter for a gauge of bytes.
        let gauge = ConstGauge::new(value as f64);
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
    }
    Ok(())
}
