//! Connections: their bounds, and why they ended.

use catchment_certs::HandshakeFailure;
use catchment_settings::http::CLOSED_REASONS;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::register::{ReasonLabel, add};
use crate::{listener::REFUSED_REASONS, session::CloseReason};

/// Bounds of connections, handshakes and unfinished messages, and why connections ended.
#[derive(Debug)]
pub(super) struct ConnectionMetrics {
    pub(super) unfinished_bytes_max: Gauge,
    pub(super) connections_max: Gauge,
    pub(super) handshakes: Gauge,
    pub(super) handshakes_max: Gauge,
    pub(super) handshakes_waiting: Gauge,
    pub(super) accept_errors: Counter,
    pub(super) at_capacity: Counter,
    pub(super) handshakes_failed: Family<ReasonLabel, Counter>,
    pub(super) sessions_ended: Family<ReasonLabel, Counter>,
    pub(super) displaced_alive: Counter,
    pub(super) http_closed: Family<ReasonLabel, Counter>,
}

impl ConnectionMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let sessions_ended: Family<ReasonLabel, Counter> =
            add(r, "sessions_ended", "Device connections that ended, by reason");
        for end in CloseReason::ALL {
            let _ = sessions_ended.get_or_create(&ReasonLabel { reason: end.reason() });
        }
        let handshakes_failed: Family<ReasonLabel, Counter> =
            add(r, "handshakes_failed", "Connections refused, by reason");
        for reason in HandshakeFailure::reasons().chain(REFUSED_REASONS) {
            let _ = handshakes_failed.get_or_create(&ReasonLabel { reason });
        }
        let displaced_alive =
            "Connections displaced by a newer one of their device although their program is alive";
        let closed = "Connections of the plain HTTP endpoint that the gateway closed, by reason";
        let http_closed: Family<ReasonLabel, Counter> = add(r, "http_connections_closed", closed);
        for reason in CLOSED_REASONS {
            let _ = http_closed.get_or_create(&ReasonLabel { reason });
        }
        Self {
            unfinished_bytes_max: add(
                r,
                "unfinished_bytes_max",
                "Maximum of unfinished_bytes and of waiting_bytes",
            ),
            connections_max: add(r, "connections_max", "Maximum of connections"),
            handshakes: add(r, "handshakes", "TLS handshakes in progress"),
            handshakes_max: add(r, "handshakes_max", "Maximum of handshakes"),
            handshakes_waiting: add(r, "handshakes_waiting", "Connections that wait for their TLS handshake"),
            accept_errors: add(r, "accept_errors", "Errors while accepting TCP connections"),
            at_capacity: add(r, "at_capacity", "Times that no slot was free for a handshake or a connection"),
            handshakes_failed,
            sessions_ended,
            displaced_alive: add(r, "sessions_displaced_alive", displaced_alive),
            http_closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn every_reason_of_a_refused_connection_is_there_from_the_start() {
        let page = Metrics::new().text();
        for reason in
            ["wrong_role", "wrong_site", "revoked", "wrong_issuer", "no_revocation_list", "identity"]
        {
            let line = format!("catchment_gateway_handshakes_failed_total{{reason=\"{reason}\"}} 0\n");
            assert!(page.contains(&line), "{line} is not in {page}");
        }
    }
}
