//! Use of ingest memory, each number with its bound.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::counter::ConstCounter,
};

use super::stats::encode_gauges;
use crate::ingest::IngestBytes;

/// Encodes a snapshot at each scrape.
#[derive(Debug)]
pub(super) struct IngestCollector(pub(super) Arc<IngestBytes>);

impl Collector for IngestCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counts, bounds) = (self.0.counts(), self.0.bounds());
        let gauges = [
            ("ingest_bytes", "Memory of everything that waits in ingest", counts.used),
            ("ingest_bytes_max", "Bound of ingest_bytes", bounds.max),
            (
                "ingest_bytes_gateway_most",
                "Ingest memory of the gateway that uses the most",
                counts.gateway_most,
            ),
            ("ingest_bytes_per_gateway_max", "Bound of one gateway's ingest memory", bounds.per_gateway_max),
            ("ingest_names_bytes", "Memory of series names, part of ingest_bytes", counts.names),
            ("ingest_streams_waiting", "Streams that wait for memory", counts.waiting),
        ];
        encode_gauges(gauges.map(|(name, help, value)| (name, help, value as u64)), &mut encoder)?;
        let kind = ConstCounter::new(0_u64).metric_type();
        let help = "Times that a stream was not read, by reason: its gateway's share of memory, the whole, or a backlog that waits for tables";
        let mut waits = encoder.encode_descriptor("ingest_waits", help, None, kind)?;
        let reasons =
            [("share", counts.share_waits), ("whole", counts.waits), ("tables", counts.tables_waits)];
        for (reason, value) in reasons {
            ConstCounter::new(value).encode(waits.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}
