//! Works on the subscriptions of an operator whose rounds are due: one after the other, as one query that takes turns with
//! those of other operators. It holds a slot only while there is work.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use catchment_proto::OperatorId;

use super::{
    error::WatchError,
    hub::Hub,
    round::{self, Shared},
    subscription::Subscription,
};
use crate::query::{
    error::QueryError,
    task::Task,
    workers::{OnComplete, TimeSlice},
};

/// Least and longest time between two rounds of a subscription; in between, so many times as long as a round took.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const PAUSE_ROUNDS: u32 = 9;
/// When a round that found no memory tries again.
pub(super) const POSTPONED: Duration = Duration::from_millis(200);
/// Longest life of one piece of work: the subscriptions within it have deadlines of their own.
const LONG: Duration = Duration::from_secs(365 * 86_400);

/// Work for an operator.
struct Pump {
    hub: Arc<Hub>,
    operator: OperatorId,
    /// The subscription that it works on.
    working: Mutex<Option<Arc<Subscription>>>,
}

impl Hub {
    /// Submits work for an operator, who is marked to be worked for.
    pub(super) fn pump(self: &Arc<Self>, operator: &OperatorId) {
        let pump =
            Arc::new(Pump { hub: Arc::clone(self), operator: operator.clone(), working: Mutex::default() });
        let submitted =
            self.workers.submit(operator, Arc::clone(&pump) as Arc<dyn OnComplete>, |id, slice| {
                let task = self.task(id, slice);
                Box::pin(async move {
                    pump.run(&task).await;
                    Ok(())
                })
            });
        if submitted.is_err()
            && let Some(operator) = self.lock().operators.get_mut(operator)
        {
            // Tried again soon.
            operator.pumping = false;
        }
    }

    fn task(&self, id: u64, slice: Arc<TimeSlice>) -> Task {
        Task {
            workers: Arc::clone(&self.workers),
            slice,
            id,
            deadline: tokio::time::Instant::now() + LONG,
            timeout: self.queries.timeout,
            cancelled: Arc::default(),
            parts: Arc::default(),
            is_part: false,
        }
    }

    /// The next subscription of an operator to work on; `None`: there is no more.
    fn next_ready(&self, operator: &OperatorId) -> Option<Arc<Subscription>> {
        let mut state = self.lock();
        let known = state.operators.get_mut(operator)?;
        let next = known.ready.pop_front();
        if next.is_none() {
            known.pumping = false;
            if known.is_gone() {
                state.operators.remove(operator);
            }
        }
        next
    }

    /// Ends a piece of work for a subscription, and schedules the next if there is any.
    fn worked(self: &Arc<Self>, subscription: &Arc<Subscription>, took: Duration) {
        {
            let mut pending = subscription.pending();
            pending.scheduled = false;
            if pending.round.is_none() {
                let pause = took.saturating_mul(PAUSE_ROUNDS).clamp(PAUSE_MIN, PAUSE_MAX);
                pending.not_before = Some(Instant::now() + pause);
            }
            if !pending.has_work() || subscription.outbox.is_unread() {
                return;
            }
            pending.scheduled = true;
        }
        self.schedule(subscription);
    }
}

impl Pump {
    fn working(&self) -> MutexGuard<'_, Option<Arc<Subscription>>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, task: &Task) {
        let hub = &self.hub;
        let mut shared = Shared::default();
        while let Some(subscription) = hub.next_ready(&self.operator) {
            *self.working() = Some(Arc::clone(&subscription));
            let begun = Instant::now();
            let own = Task {
                deadline: tokio::time::Instant::now() + task.timeout,
                cancelled: Arc::clone(&subscription.ended),
                ..task.clone()
            };
            match round::work(hub, &subscription, &mut shared, &own).await {
                Ok(()) => hub.worked(&subscription, begun.elapsed()),
                Err(error) => hub.fail(&subscription, error),
            }
            *self.working() = None;
            // Never fails: its deadline is far, and nobody cancels it.
            let _ = task.yield_point().await;
        }
    }
}

impl OnComplete for Pump {
    fn complete(self: Arc<Self>, result: Result<(), QueryError>) -> bool {
        let Err(error) = result else { return false };
        // It panicked, or the threads stop.
        if let Some(subscription) = self.working().take() {
            self.hub.fail(&subscription, WatchError::Query(error));
        }
        if let Some(operator) = self.hub.lock().operators.get_mut(&self.operator) {
            operator.pumping = false;
        }
        false
    }
}
