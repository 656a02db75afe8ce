//! Work of a request before it is a query: checking a text or a plan may take milliseconds, and a caller may ask for that
//! often. It is done on a query thread, in a slot of the operator, so the threads that take batches stay free.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use catchment_proto::OperatorId;
use tokio::{sync::oneshot, time::timeout};

use super::{
    error::QueryError,
    scheduler::QueryId,
    workers::{OnComplete, Workers},
};

/// Longer texts are parsed on a query thread: the cost grows with the square of the length.
const SHORT_BYTES: usize = 1 << 10;

/// Whether texts are parsed so quickly that it may be done at once: they are short together, and have no regular
/// expression.
pub(crate) fn are_quick<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let mut left = SHORT_BYTES;
    for text in texts {
        if text.len() > left || text.contains('~') {
            return false;
        }
        left -= text.len();
    }
    true
}

/// Passes on what was computed. The slot is free before: the query that follows may need it.
struct Computation<T> {
    workers: Arc<Workers>,
    id: OnceLock<QueryId>,
    state: Mutex<State<T>>,
}

struct State<T> {
    computed: Option<T>,
    sender: Option<oneshot::Sender<Result<T, QueryError>>>,
}

impl<T: Send> OnComplete for Computation<T> {
    fn complete(self: Arc<Self>, result: Result<(), QueryError>) -> bool {
        if let Some(id) = self.id.get() {
            self.workers.release_slot(*id);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { computed, sender } = &mut *state;
        let result = result.and_then(|()| computed.take().ok_or(QueryError::Panicked));
        if let Some(sender) = sender.take() {
            // Otherwise nobody waits any more.
            let _ = sender.send(result);
        }
        true
    }
}

/// Frees the slot if nobody waits any more.
struct Waiting<'a> {
    workers: &'a Workers,
    id: QueryId,
    is_done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.workers.cancel(self.id);
        }
    }
}

/// Does work on a query thread, in a slot of an operator; waits for one at most as long as a query may take.
///
/// # Errors
/// The operator has too many queries, or the work panicked.
pub(super) async fn compute<T: Send + 'static>(
    workers: &Arc<Workers>,
    operator: &OperatorId,
    longest: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, QueryError> {
    let (sender, result) = oneshot::channel();
    let state = Mutex::new(State { computed: None, sender: Some(sender) });
    let computation = Arc::new(Computation { workers: Arc::clone(workers), id: OnceLock::new(), state });
    let on_complete = Arc::clone(&computation) as Arc<dyn OnComplete>;
    let id = workers.submit(operator, on_complete, |id, _| {
        // Set only once.
        let _ = computation.id.set(id);
        Box::pin(async move {
            let computed = work();
            computation.state.lock().unwrap_or_else(PoisonError::into_inner).computed = Some(computed);
            Ok(())
        })
    })?;
    let mut waiting = Waiting { workers, id, is_done: false };
    let result = timeout(longest, result).await;
    waiting.is_done = result.is_ok();
    match result {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(QueryError::Gone),
        Err(_) => Err(QueryError::Busy(longest)),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        metrics::Metrics,
        query::QueryCounts,
        testing::{TakenSlot, caller, one_slot_runner},
    };

    #[tokio::test]
    async fn work_takes_a_slot_of_its_operator_and_a_query_thread() {
        let (runner, ada) = (one_slot_runner(&Metrics::new()), caller("ada"));
        let taken = TakenSlot::take(&runner, &ada).await;
        let refused = runner.compute(&ada, || ()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(taken.free().await.starts_with("query-"));
        // The slot is free when the result is there.
        let panicked = runner.compute(&ada, || panic!("on request")).await.unwrap_err();
        assert_eq!(panicked.code(), tonic::Code::Internal);
        assert_eq!(runner.compute(&ada, || 7).await.unwrap(), 7);
        assert_eq!(runner.counts()(), QueryCounts::default());
    }
}
