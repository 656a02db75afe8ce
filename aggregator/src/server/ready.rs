//! Readiness and health, as `/readyz`, `/healthz` and the gRPC health service report them.

use std::{sync::Arc, time::Duration};

use catchment_settings::{http::Endpoints, supervise::Supervisor};
use tokio::sync::watch;

use super::services::Health;
use crate::{conditions, metrics::Metrics, store::MaintenanceStore};

/// Condition: the data folder is gone or was replaced.
const FOLDER_GONE: &str = "folder_gone";
/// Interval at which the health service is updated.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Sources of the health reports.
#[derive(Clone)]
pub(super) struct State {
    metrics: Arc<Metrics>,
    store: Arc<dyn MaintenanceStore>,
    supervisor: Arc<Supervisor>,
    stopping: watch::Receiver<bool>,
}

impl State {
    pub(super) fn new(
        metrics: &Arc<Metrics>,
        store: &Arc<dyn MaintenanceStore>,
        supervisor: &Arc<Supervisor>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let (metrics, store, supervisor) = (Arc::clone(metrics), Arc::clone(store), Arc::clone(supervisor));
        Self { metrics, store, supervisor, stopping }
    }

    /// Fails when the store has failed, or a task that the aggregator cannot run without.
    fn healthy(&self) -> Result<(), String> {
        let failure = self.store.failure();
        if let Some(gone) = failure.as_ref().and_then(|failure| failure.data_gone.as_ref()) {
            self.metrics.conditions.set(FOLDER_GONE, Some(gone.to_string()));
        }
        match (failure, self.supervisor.failure()) {
            (Some(failure), _) => Err(format!("the store has failed: {}", failure.reason)),
            (None, Some(reason)) => Err(reason.to_string()),
            (None, None) => Ok(()),
        }
    }

    /// Everything that blocks work, one line each; the reasons stay while the server stops.
    fn ready(&self) -> Result<(), String> {
        let mut lines: Vec<String> = self.healthy().err().into_iter().collect();
        // After `healthy`, which may raise a condition.
        lines.extend(self.metrics.conditions.ready().err());
        lines.extend(self.stopping.borrow().then(|| "stopping".to_owned()));
        if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
    }

    /// The plain HTTP endpoint.
    pub(super) fn endpoints(&self) -> Endpoints {
        let [shown, healthy, ready] = [self.clone(), self.clone(), self.clone()];
        let counted = Arc::clone(&self.metrics);
        Endpoints {
            closed: Arc::new(move |reason| Metrics::count(&counted.http_closed, reason)),
            metrics: Arc::new(move || {
                let _ = shown.healthy();
                shown.metrics.encode()
            }),
            healthy: Arc::new(move || healthy.healthy()),
            ready: Arc::new(move || ready.ready().map(|()| ready.metrics.conditions.notices())),
        }
    }

    /// Checks conditions and updates the health service; never ends.
    pub(super) async fn watch(&self, health: Health, queries_full: impl Fn() -> bool) {
        let conditions = &self.metrics.conditions;
        tokio::join!(conditions::watch(&self.store, queries_full, conditions), self.follow(&health));
    }

    /// Makes the health service follow `/readyz`.
    async fn follow(&self, health: &Health) {
        let mut serving = true;
        loop {
            if serving != self.ready().is_ok() {
                serving = !serving;
                health.set(serving).await;
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
}
