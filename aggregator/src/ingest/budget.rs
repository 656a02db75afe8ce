//! What a stream tells its gateway of series: the newest budget, when it changes.
//!
//! Budgets change with what any gateway delivers. They are computed over all gateways, so a stream asks for its own only so often.

use std::time::Duration;

use catchment_proto::wire::SeriesBudget;
use tokio::time::Instant;

use crate::store::{Origin, Store};

/// Shortest time between two questions for the budget.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// So often a budget is looked at when nothing is acknowledged.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The budget of a stream's gateway.
#[derive(Debug)]
pub(super) struct Budget {
    told: Option<u64>,
    asked: Instant,
}

impl Budget {
    /// The first one, for the answer to the Start.
    pub(super) fn begin(store: &dyn Store, origin: &Origin) -> (Self, Option<SeriesBudget>) {
        let told = store.series_budget(origin);
        (Self { told, asked: Instant::now() }, told.map(|series_max| SeriesBudget { series_max }))
    }

    /// The budget, if it is another one than before.
    pub(super) fn news(&mut self, store: &dyn Store, origin: &Origin) -> Option<SeriesBudget> {
        let now = Instant::now();
        if now.saturating_duration_since(self.asked) < ASK_EVERY {
            return None;
        }
        self.asked = now;
        let budget = store.series_budget(origin);
        if budget == self.told {
            return None;
        }
        self.told = budget;
        budget.map(|series_max| SeriesBudget { series_max })
    }
}
