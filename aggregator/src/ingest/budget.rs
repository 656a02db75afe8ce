//! What a stream tells its gateway of series: the newest budget, when it changes.
//!
//! Budgets change with what any gateway delivers. They are computed over all gateways, so a stream asks for its own only so often.

use std::time::Duration;

use catchment_proto::wire::SeriesBudget;
use tokio::time::Instant;

use crate::store::{GatewayEpoch, Store};

/// Shortest time between two questions for the budget.
const COMPUTE_EVERY: Duration = Duration::from_millis(100);
/// So often a budget is looked at when nothing is acknowledged.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The budget of a stream's gateway.
#[derive(Debug)]
pub(super) struct Budget {
    sent: Option<u64>,
    computed_at: Instant,
}

impl Budget {
    /// The first one, for the answer to the Start.
    pub(super) fn begin(store: &dyn Store, epoch: &GatewayEpoch) -> (Self, Option<SeriesBudget>) {
        let sent = store.series_budget(epoch);
        (Self { sent, computed_at: Instant::now() }, sent.map(|series_max| SeriesBudget { series_max }))
    }

    /// The budget, if it is another one than before.
    pub(super) fn changed(&mut self, store: &dyn Store, epoch: &GatewayEpoch) -> Option<SeriesBudget> {
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
