//! Revocation lists that came from an aggregator or from the data folder, and the ends of devices' certificates.

use catchment_certs::{
    kept_revocations::{ListEvents, REFUSED_REASONS},
    trust::REVOCATIONS_NOT_KEPT,
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{
    Metrics,
    register::{ReasonLabel, add},
};

/// The lists of a stream cannot be put together; the other reasons are those of all lists.
const MALFORMED: &str = "malformed";

/// Counts revocation lists, and ends of certificates.
#[derive(Debug)]
pub struct RevocationMetrics {
    /// Times that lists of an aggregator brought news.
    pub taken: Counter,
    refused: Family<ReasonLabel, Counter>,
    /// Ends of devices' certificates that were forgotten for want of room.
    pub certificates_dropped: Counter,
}

impl RevocationMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let help = "Revocation lists of an aggregator or of the data folder that were refused, by reason";
        let refused: Family<ReasonLabel, Counter> = add(r, "revocation_lists_refused", help);
        for reason in REFUSED_REASONS.into_iter().chain([MALFORMED]) {
            let _ = refused.get_or_create(&ReasonLabel { reason });
        }
        let help = "Times that an aggregator sent a revocation list that is newer than the known one";
        let taken = add(r, "revocation_lists_taken", help);
        let help = "Devices beyond devices_max whose certificate's end is not told to another aggregator";
        Self { taken, refused, certificates_dropped: add(r, "device_certificates_dropped", help) }
    }

    /// Counts a list that was refused.
    pub fn refuse(&self, reason: &'static str) {
        debug_assert!(reason == MALFORMED || REFUSED_REASONS.contains(&reason), "{reason}");
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}

impl ListEvents for Metrics {
    fn taken(&self) {
        self.revocations.taken.inc();
    }

    fn refused(&self, reason: &'static str) {
        self.revocations.refuse(reason);
    }

    fn damaged(&self) {
        self.damage.inc();
    }

    fn not_kept(&self, reason: Option<String>) {
        self.conditions.report(REVOCATIONS_NOT_KEPT.name, reason);
    }
}
