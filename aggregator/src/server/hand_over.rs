//! Hands an accepted connection to tonic, within the limit of its identity.

use std::sync::Arc;

use catchment_certs::Accepted;
use tokio::sync::{mpsc, watch};

use super::when_set;
use crate::{
    metrics::Metrics,
    transport::{Connection, Deadlines, PeerLimit},
};

/// Counts an accepted connection under its identity and passes it to tonic.
#[derive(Clone)]
pub(super) struct HandOver {
    pub(super) limit: Arc<PeerLimit>,
    pub(super) deadlines: Deadlines,
    pub(super) metrics: Arc<Metrics>,
    pub(super) cutting: watch::Receiver<bool>,
    pub(super) connections: mpsc::Sender<Connection>,
}

impl HandOver {
    pub(super) async fn take(self, accepted: Accepted) {
        let Some(slot) = self.limit.acquire(&accepted.peer.identity) else {
            Metrics::count(&self.metrics.connections_refused, "too_many_of_identity");
            tracing::warn!(peer = %accepted.peer.identity, addr = %accepted.addr, "too many connections from one identity");
            return;
        };
        let connection =
            Connection::new(accepted, slot, self.deadlines, when_set(self.cutting), self.metrics);
        // Fails when the server has ended; the connection is then closed.
        let _ = self.connections.send(connection).await;
    }
}
