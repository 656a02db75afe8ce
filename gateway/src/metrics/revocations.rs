//! Revocation lists that came from an aggregator or from the data folder.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::register::{ReasonLabel, add};

/// Why lists are refused: all labels.
pub(crate) const REFUSED_REASONS: [&str; 6] =
    ["damaged", "malformed", "rolled_back", "signature", "too_large", "unreadable"];

/// Counts revocation lists.
#[derive(Debug)]
pub struct RevocationMetrics {
    /// Times that lists of an aggregator brought news.
    pub taken: Counter,
    refused: Family<ReasonLabel, Counter>,
}

impl RevocationMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let help = "Revocation lists of an aggregator or of the data folder that were refused, by reason";
        let refused: Family<ReasonLabel, Counter> = add(r, "revocation_lists_refused", help);
        for reason in REFUSED_REASONS {
            let _ = refused.get_or_create(&ReasonLabel { reason });
        }
        let help = "Times that an aggregator sent a revocation list that is newer than the known one";
        Self { taken: add(r, "revocation_lists_taken", help), refused }
    }

    /// Counts a list that was refused.
    pub fn refuse(&self, reason: &'static str) {
        debug_assert!(REFUSED_REASONS.contains(&reason), "{reason}");
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}
