//! Numbers of queries, each with its bound.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

use crate::{config::QueryLimits, query::QueryCounts};

/// Encodes a snapshot at each scrape.
pub(super) struct QueriesCollector {
    pub(super) limits: QueryLimits,
    pub(super) counts: Box<dyn Fn() -> QueryCounts + Send + Sync>,
}

impl fmt::Debug for QueriesCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueriesCollector").finish_non_exhaustive()
    }
}

impl Collector for QueriesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = (self.counts)();
        let gauges = [
            ("queries_running", "Queries started whose answers are not yet read to the end", counts.running),
            ("queries_running_max", "Bound of queries_running", self.limits.queries_max),
            ("queries_waiting", "Queries waiting for others to end", counts.waiting),
            ("queries_waiting_max", "Bound of queries_waiting", self.limits.waiting_max),
            ("query_memory_bytes", "Memory of queries", counts.memory),
            ("query_memory_max_bytes", "Bound of query_memory_bytes", self.limits.memory_max),
        ];
        for (name, help, value) in gauges {
            // Beyond 2^53 a double rounds, which does not matter for a gauge.
            let gauge = ConstGauge::new(value as f64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
