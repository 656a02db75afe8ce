//! Runs questions: few at a time, each on a thread that may block, under one deadline for its waiting, its work
//! and a slow reader.
//!
//! An answer that was cut off never looks whole: how the work ended comes behind the last message, and a
//! worker that vanished is an error.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Response, Status};

use super::{merge::WidthMismatch, plan::PlanError, selector::SelectorError};
use crate::{config::QueryLimits, metrics::Metrics, store::StoreError};

/// Messages that wait for a slow reader.
const MESSAGES_MAX: usize = 4;

/// A streamed answer.
pub(crate) type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Why a question has no whole answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error(transparent)]
    Width(#[from] WidthMismatch),
    #[error(
        "the answer may have {points} points, at most {max} are allowed: use a wider step, a shorter range, or fewer labels in by"
    )]
    TooManyPoints { points: u64, max: u64 },
    #[error("no answer within {}: ask for less, or raise query_timeout", humantime::format_duration(*.0))]
    Deadline(Duration),
    #[error("{0} queries are running and none ended within the time for this one; ask again later")]
    Busy(usize),
    #[error("the caller is gone")]
    Gone,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the query failed unexpectedly; see the aggregator's log")]
    Panicked,
}

impl AskError {
    /// For metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::Plan(_) | Self::Selector(_) => "malformed",
            Self::Width(_) => "step",
            Self::TooManyPoints { .. } => "too_many_points",
            Self::Deadline(_) => "deadline",
            Self::Busy(_) => "busy",
            Self::Gone => "caller_gone",
            Self::Store(_) => "store",
            Self::Panicked => "failed",
        }
    }
}

impl From<AskError> for Status {
    fn from(error: AskError) -> Self {
        let message = error.to_string();
        match error {
            AskError::Plan(_)
            | AskError::Selector(_)
            | AskError::Width(_)
            | AskError::TooManyPoints { .. } => Self::invalid_argument(message),
            AskError::Deadline(_) => Self::deadline_exceeded(message),
            AskError::Busy(_) => Self::resource_exhausted(message),
            AskError::Gone => Self::cancelled(message),
            AskError::Store(StoreError::Poisoned(_)) => Self::unavailable(message),
            AskError::Store(_) | AskError::Panicked => Self::internal(message),
        }
    }
}

/// Where the work puts its messages.
pub(crate) struct Outlet<T> {
    messages: mpsc::Sender<T>,
    runtime: Handle,
    deadline: Instant,
    timeout: Duration,
}

impl<T> Outlet<T> {
    /// Sends a message; waits for a slow reader. Blocks.
    ///
    /// # Errors
    /// When the time is over or the caller gone.
    pub(crate) fn send(&self, message: T) -> Result<(), AskError> {
        match self.runtime.block_on(timeout_at(self.deadline, self.messages.send(message))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(AskError::Gone),
            Err(_) => Err(AskError::Deadline(self.timeout)),
        }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// When the time is over or the caller gone.
    pub(crate) fn check(&self) -> Result<(), AskError> {
        if self.messages.is_closed() {
            return Err(AskError::Gone);
        }
        if Instant::now() >= self.deadline {
            return Err(AskError::Deadline(self.timeout));
        }
        Ok(())
    }
}

/// Bounds all questions of an aggregator.
#[derive(Clone, Debug)]
pub(crate) struct Runner {
    permits: Arc<Semaphore>,
    limits: QueryLimits,
    metrics: Arc<Metrics>,
}

impl Runner {
    pub(crate) fn new(limits: QueryLimits, metrics: Arc<Metrics>) -> Self {
        Self { permits: Arc::new(Semaphore::new(limits.queries_max)), limits, metrics }
    }

    /// Whether as many questions run as may.
    pub(crate) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Bounds of a question.
    pub(crate) fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// Counts a question that is refused before it runs.
    pub(crate) fn refuse(&self, error: AskError) -> Status {
        Metrics::count(&self.metrics.queries_refused, error.reason());
        error.into()
    }

    /// Waits for a place, then runs `work` on a thread of its own and streams what it sends.
    ///
    /// # Errors
    /// When there is no place in time.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<Response<AnswerStream<T>>, Status>
    where
        T: Send + 'static,
        F: FnOnce(&Outlet<T>) -> Result<(), AskError> + Send + 'static,
    {
        let timeout = self.limits.timeout;
        let (start, metrics) = (Instant::now(), Arc::clone(&self.metrics));
        let deadline = start + timeout;
        let place = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(self.refuse(AskError::Busy(self.limits.queries_max)));
        };
        let (messages, receiver) = mpsc::channel(MESSAGES_MAX);
        let (done, outcome) = oneshot::channel();
        let outlet = Outlet { messages, runtime: Handle::current(), deadline, timeout };
        tokio::task::spawn_blocking(move || {
            metrics.queries.inc();
            let result = work(&outlet);
            metrics.query_seconds.observe(start.elapsed().as_secs_f64());
            if let Err(error) = &result {
                Metrics::count(&metrics.queries_refused, error.reason());
                tracing::info!(%error, "a query ends without a whole answer");
            }
            // Before the end of the messages, so that their reader finds it there. Fails when nobody listens.
            let _ = done.send(result);
            drop(place);
        });
        let end = stream::once(outcome).filter_map(|outcome| async {
            let result = outcome.unwrap_or(Err(AskError::Panicked));
            result.err().map(|error| Err(Status::from(error)))
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok).chain(end))))
    }
}

#[cfg(test)]
mod tests;
