//! Revocation lists that the data folder keeps.

use catchment_certs::{
    kept_revocations::{ListEvents, REFUSED_REASONS},
    trust::REVOCATIONS_NOT_KEPT,
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{Metrics, Reason, reasons::family};

/// Counts lists that were refused.
pub(super) struct RevocationMetrics(Family<Reason, Counter>);

impl Default for RevocationMetrics {
    fn default() -> Self {
        Self(family(REFUSED_REASONS))
    }
}

impl RevocationMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "Revocation lists of the data folder that were refused at the start, by reason";
        r.register("revocation_lists_refused", help, self.0.clone());
    }
}

impl ListEvents for Metrics {
    fn refused(&self, reason: &'static str) {
        Self::count(&self.revocations.0, reason);
    }

    fn not_kept(&self, reason: Option<String>) {
        self.conditions.report(REVOCATIONS_NOT_KEPT.name, reason);
    }
}
