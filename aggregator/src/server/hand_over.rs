//! What becomes of an accepted connection: counted by its identity, then tonic's.

use std::sync::Arc;

use catchment_certs::Accepted;
use tokio::sync::{mpsc, watch};

use super::told;
use crate::{
    metrics::Metrics,
    transport::{Connection, Patience, PeerLimit},
};

/// What becomes of an accepted connection.
#[derive(Clone)]
pub(super) struct HandOver {
    pub(super) limit: Arc<PeerLimit>,
    pub(super) patience: Patience,
    pub(super) metrics: Arc<Metrics>,
    pub(super) cutting: watch::Receiver<bool>,
    pub(super) connections: mpsc::Sender<Connection>,
}

impl HandOver {
    pub(super) async fn take(self, accepted: Accepted) {
        let Some(place) = self.limit.take(&accepted.peer.identity) else {
            Metrics::count(&self.metrics.connections_refused, "too_many_of_identity");
            tracing::warn!(peer = %accepted.peer.identity, addr = %accepted.addr, "too many connections of one identity");
            return;
        };
        let connection = Connection::new(accepted, place, self.patience, told(self.cutting), self.metrics);
        // Fails when the server has ended; the connection closes then.
        let _ = self.connections.send(connection).await;
    }
}
