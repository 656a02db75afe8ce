//! The sessions of peers, read from their registry at each scrape.

use std::fmt;

use catchment_certs::{Role, SessionRegistry};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

/// Writes how many sessions each role has.
#[derive(Debug)]
pub(super) struct SessionsCollector(pub(super) SessionRegistry);

impl Collector for SessionsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family =
            encoder.encode_descriptor("sessions", "Sessions now, by role of the peer", None, kind)?;
        for (role, count) in Role::ALL.into_iter().zip(self.0.counts().by_role) {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("role", role.as_str())])?)?;
        }
        Ok(())
    }
}
