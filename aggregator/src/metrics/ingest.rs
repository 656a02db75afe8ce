//! What the memory of ingest is used for, each number with its bound beside it.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use crate::ingest::IngestBytes;

/// Encodes a snapshot at each scrape.
#[derive(Debug)]
pub(super) struct IngestCollector(pub(super) Arc<IngestBytes>);

impl Collector for IngestCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counts, bounds) = (self.0.counts(), self.0.bounds());
        let gauges = [
            ("ingest_bytes", "Memory of all that waits in ingest", counts.used),
            ("ingest_bytes_max", "Bound of this", bounds.max),
            ("ingest_bytes_gateway_most", "Of the gateway that takes the most", counts.gateway_most),
            ("ingest_bytes_per_gateway_max", "Bound of this", bounds.per_gateway_max),
            ("ingest_names_bytes", "Memory of names of series, which is part of ingest_bytes", counts.names),
            ("ingest_streams_waiting", "Streams that wait for memory", counts.waiting),
        ];
        for (name, help, value) in gauges {
            // Beyond 2^53 a double rounds, which no gauge minds.
            let gauge = ConstGauge::new(value as f64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Times that a stream was not read for want of memory, its gateway's share or the whole";
        let mut waits = encoder.encode_descriptor("ingest_waits", help, None, kind)?;
        for (reason, value) in [("share", counts.share_waits), ("whole", counts.waits)] {
            ConstCounter::new(value).encode(waits.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}
