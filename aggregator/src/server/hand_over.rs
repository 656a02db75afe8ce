//! Hands an accepted connection to tonic, within the limit of its identity.

use std::sync::Arc;

use catchment_certs::Accepted;
use catchment_settings::when_set;
use tokio::sync::{mpsc, watch};

use crate::{
    config::Config,
    metrics::Metrics,
    transport::{Connection, Deadlines},
};

/// Passes an accepted connection to tonic, unless its identity has too many.
#[derive(Clone)]
pub(super) struct HandOver {
    /// Most connections of one identity.
    per_peer_max: usize,
    deadlines: Deadlines,
    metrics: Arc<Metrics>,
    cutting: watch::Receiver<bool>,
    connections: mpsc::Sender<Connection>,
}

impl HandOver {
    /// Connections go to `connections`, and end when `cutting` is set.
    pub(super) fn new(
        config: &Config,
        metrics: Arc<Metrics>,
        cutting: watch::Receiver<bool>,
        connections: mpsc::Sender<Connection>,
    ) -> Self {
        let deadlines = Deadlines { first_request: config.first_request_timeout, idle: config.idle_timeout };
        Self { per_peer_max: config.connections_per_peer_max, deadlines, metrics, cutting, connections }
    }

    pub(super) async fn take(self, accepted: Accepted) {
        if accepted.session.of_identity() > self.per_peer_max {
            Metrics::count(&self.metrics.connections_refused, "too_many_of_identity");
            tracing::warn!(peer = %accepted.peer.identity, addr = %accepted.addr, "too many connections from one identity");
            return;
        }
        let connection = Connection::new(accepted, self.deadlines, when_set(self.cutting), self.metrics);
        // Fails when the server has ended; the connection is then closed.
        let _ = self.connections.send(connection).await;
    }
}
