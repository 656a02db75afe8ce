//! The series budget that a stream sends to its gateway whenever it changes.
//!
//! Budgets depend on the deliveries of all gateways, so they change all the time. A stream limits how often it asks for
//! its own, and so how often its gateway hears of small changes.

use std::time::Duration;

use catchment_proto::wire::SeriesBudget;
use tokio::time::Instant;

use crate::store::{GatewayEpoch, IngestStore};

/// Shortest time between two computations of the budget.
const COMPUTE_EVERY: Duration = Duration::from_millis(100);
/// Interval at which the budget is checked when nothing is acknowledged.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The budget of a stream's gateway.
#[derive(Debug)]
pub(super) struct Budget {
    sent: Option<u64>,
    computed_at: Instant,
}

impl Budget {
    /// Computes the first budget, for the answer to the Start.
    pub(super) fn begin(store: &dyn IngestStore, epoch: &GatewayEpoch) -> (Self, Option<SeriesBudget>) {
        let sent = store.series_budget(epoch);
        (Self { sent, computed_at: Instant::now() }, sent.map(|series_max| SeriesBudget { series_max }))
    }

    /// The budget, if it has changed.
    pub(super) fn changed(&mut self, store: &dyn IngestStore, epoch: &GatewayEpoch) -> Option<SeriesBudget> {
        let now = Instant::now();
        if now.saturating_duration_since(self.computed_at) < COMPUTE_EVERY {
            return None;
        }
        self.computed_at = now;
        let budget = store.series_budget(epoch);
        if budget == self.sent {
            return None;
        }
        self.sent = budget;
        budget.map(|series_max| SeriesBudget { series_max })
    }
}
