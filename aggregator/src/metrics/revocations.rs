//! Revocation lists that the data folder keeps, and the ends of certificates that gateways tell.

use catchment_certs::{
    kept_revocations::{ListEvents, REFUSED_REASONS},
    trust::REVOCATIONS_NOT_KEPT,
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{Metrics, Reason, reasons::family};
use crate::certificates;

/// Counts what was refused.
pub(super) struct RevocationMetrics {
    lists: Family<Reason, Counter>,
    certificates: Family<Reason, Counter>,
}

impl Default for RevocationMetrics {
    fn default() -> Self {
        Self { lists: family(REFUSED_REASONS), certificates: family(certificates::REFUSED_REASONS) }
    }
}

impl RevocationMetrics {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "Revocation lists of the data folder that were refused at the start, by reason";
        r.register("revocation_lists_refused", help, self.lists.clone());
        let help = "Ends of devices' certificates that a gateway told and that are not shown, by reason";
        r.register("device_certificates_refused", help, self.certificates.clone());
    }
}

impl Metrics {
    /// Counts the end of a device's certificate that was not taken.
    pub(crate) fn refuse_certificate(&self, reason: &'static str) {
        Self::count(&self.revocations.certificates, reason);
    }
}

impl ListEvents for Metrics {
    fn refused(&self, reason: &'static str) {
        Self::count(&self.revocations.lists, reason);
    }

    fn not_kept(&self, reason: Option<String>) {
        self.conditions.report(REVOCATIONS_NOT_KEPT.name, reason);
    }
}
