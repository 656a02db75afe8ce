//! Families of counters by reason, each known reason at 0 from the start: a rate over it is defined before its first
//! event.

use catchment_certs::{EndReason, HandshakeFailure};
use catchment_settings::http;
use prometheus_client::metrics::{counter::Counter, family::Family};

use super::{Metrics, Reason};
use crate::{
    ingest::{END_REASONS, REFUSAL_REASONS},
    query::REFUSED_REASONS,
    transport::CLOSED_REASONS,
};

/// A request that needs a certificate of another role.
const WRONG_ROLE: &str = "wrong_role";
/// Windows of a time that no gateway accepts from its devices.
const TOO_FAR_AHEAD: &str = "too_far_ahead";

/// A family with these reasons.
pub(super) fn family(reasons: impl IntoIterator<Item = &'static str>) -> Family<Reason, Counter> {
    let family = Family::default();
    for reason in reasons {
        drop(family.get_or_create(&Reason { reason }));
    }
    family
}

/// The families of the aggregator.
pub(super) struct Families {
    pub(super) connections_refused: Family<Reason, Counter>,
    pub(super) connections_ended: Family<Reason, Counter>,
    pub(super) requests_refused: Family<Reason, Counter>,
    pub(super) connections_cut: Family<Reason, Counter>,
    pub(super) http_closed: Family<Reason, Counter>,
    pub(super) ingest_ended: Family<Reason, Counter>,
    pub(super) ingest_refused: Family<Reason, Counter>,
    pub(super) ingest_dropped: Family<Reason, Counter>,
    pub(super) queries_refused: Family<Reason, Counter>,
}

impl Families {
    pub(super) fn new() -> Self {
        Self {
            connections_refused: family(
                HandshakeFailure::reasons().chain(["at_capacity", "too_many_of_identity"]),
            ),
            requests_refused: family([WRONG_ROLE]),
            connections_ended: family(
                CLOSED_REASONS.into_iter().chain(EndReason::ALL.map(EndReason::reason)),
            ),
            connections_cut: family(["answers_not_read"]),
            http_closed: family(http::CLOSED_REASONS),
            ingest_ended: family(END_REASONS),
            ingest_refused: family(REFUSAL_REASONS),
            ingest_dropped: family([TOO_FAR_AHEAD]),
            queries_refused: family(REFUSED_REASONS),
        }
    }
}

impl Metrics {
    /// The counter of requests of a role that may not send them.
    pub(crate) fn wrong_role(&self) -> Counter {
        self.requests_refused.get_or_create(&Reason { reason: WRONG_ROLE }).clone()
    }

    /// The counter of partials that were left out of batches, because they are too far ahead of the clock.
    pub(crate) fn too_far_ahead(&self) -> Counter {
        self.ingest_dropped.get_or_create(&Reason { reason: TOO_FAR_AHEAD }).clone()
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn every_known_reason_is_there_from_the_start() {
        let page = Metrics::new().encode();
        for line in [
            r#"ingest_refused_batches_total{reason="too_many_series"} 0"#,
            r#"ingest_refused_batches_total{reason="too_many_epochs"} 0"#,
            r#"ingest_dropped_partials_total{reason="too_far_ahead"} 0"#,
            r#"ingest_streams_ended_total{reason="superseded"} 0"#,
            r#"connections_refused_total{reason="revoked"} 0"#,
            r#"connections_refused_total{reason="too_many_of_identity"} 0"#,
            r#"requests_refused_total{reason="wrong_role"} 0"#,
            r#"connections_refused_total{reason="wrong_issuer"} 0"#,
            r#"connections_ended_total{reason="idle_timeout"} 0"#,
            r#"connections_ended_total{reason="revoked"} 0"#,
            r#"ingest_streams_ended_total{reason="revoked"} 0"#,
            r#"connections_cut_total{reason="answers_not_read"} 0"#,
            r#"http_connections_closed_total{reason="idle"} 0"#,
            r#"queries_refused_total{reason="deadline"} 0"#,
            r#"watches_refused_total{reason="too_many"} 0"#,
            r#"watches_ended_total{reason="stopping"} 0"#,
        ] {
            assert!(page.contains(line), "{line} is not in {page}");
        }
    }
}
