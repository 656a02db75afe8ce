//! Runs queries: fairly between operators, each under one deadline for its waiting, its work and a slow reader.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    task::{Context, Poll},
};

use catchment_proto::OperatorId;
use catchment_settings::supervise::Supervisor;
use futures_util::{StreamExt as _, stream};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, Sleep, timeout, timeout_at},
};
use tokio_stream::Stream;
use tonic::{Response, Status};

use super::{
    answer::{Answer, Read},
    failure::AskError,
    outlet::Outlet,
    turns::{Bounds, QueryId},
    workers::{Ending, QueryCounts, Threads, Workers},
};
use crate::{
    access::{Asker, HangUp},
    config::QueryLimits,
    metrics::Metrics,
};

/// A streamed answer.
pub(crate) type AnswerStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Bounds all queries of an aggregator.
#[derive(Clone)]
pub(crate) struct Runner {
    threads: Arc<Threads>,
    limits: QueryLimits,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

impl Runner {
    /// Starts the threads; the queries' timers are those of the runtime of this call.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn new(
        limits: QueryLimits,
        metrics: Arc<Metrics>,
        supervisor: &Arc<Supervisor>,
    ) -> std::io::Result<Self> {
        let bounds = Bounds {
            places: limits.queries_max,
            places_each: limits.per_operator_max,
            waiting: limits.waiting_max,
            waiting_each: limits.waiting_per_operator_max,
            memory: limits.memory_max,
        };
        let runtime = Handle::current();
        let threads = Arc::new(Threads::start(bounds, limits.threads, &runtime, supervisor)?);
        Ok(Self { threads, limits, metrics, runtime })
    }

    /// Whether queries wait for others to end.
    pub(crate) fn is_full(&self) -> bool {
        self.threads.0.counts().waiting > 0
    }

    /// Bounds of a query.
    pub(crate) fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// Reads the counts of queries.
    pub(crate) fn counts(&self) -> impl Fn() -> QueryCounts + Send + Sync + use<> {
        // Weak: metrics outlive the server, and must not keep its threads.
        let workers = Arc::downgrade(&self.threads.0);
        move || workers.upgrade().map(|workers| workers.counts()).unwrap_or_default()
    }

    /// Waits for a place, then for the first message of `work`, and streams what it sends.
    ///
    /// # Errors
    /// Where the work ends before its first message, why; also when there are too many queries.
    pub(crate) async fn run<T, F, W>(
        &self,
        asker: &Asker,
        work: F,
    ) -> Result<Response<AnswerStream<T>>, Status>
    where
        T: Send + 'static,
        F: FnOnce(Outlet<T>) -> W + Send + 'static,
        W: Future<Output = Result<(), AskError>> + Send + 'static,
    {
        let QueryLimits { timeout: longest, read_timeout, .. } = self.limits;
        let deadline = Instant::now() + longest;
        let workers = &self.threads.0;
        let answer = Arc::new(Answer::default());
        let last = Arc::new(Last {
            answer: Arc::clone(&answer),
            workers: Arc::clone(workers),
            id: OnceLock::new(),
            read: Notify::new(),
            start: Instant::now(),
            deadline,
            limits: self.limits,
            metrics: Arc::clone(&self.metrics),
            runtime: self.runtime.clone(),
            hang_up: asker.hang_up.clone(),
            operator: asker.operator.clone(),
        });
        let submitted = workers.submit(&asker.operator, Arc::clone(&last) as Arc<dyn Ending>, |id, slice| {
            // The only time that it is set.
            let _ = last.id.set(id);
            let outlet = Outlet {
                answer: Arc::clone(&answer),
                workers: Arc::clone(workers),
                slice,
                id,
                deadline,
                timeout: longest,
                read_timeout,
                held: AtomicUsize::new(0),
            };
            let metrics = Arc::clone(&self.metrics);
            Box::pin(async move {
                metrics.queries.inc();
                work(outlet).await
            })
        });
        let id = submitted.map_err(|error| self.refuse(error))?;
        let late = Box::pin(tokio::time::sleep_until(deadline));
        let mut reading = Reading { last, id, late, over: false };
        let first = timeout_at(deadline, poll_fn(|context| Pin::new(&mut reading).poll_next(context))).await;
        match first {
            Ok(Some(Ok(first))) => {
                Ok(Response::new(Box::pin(stream::once(async { Ok(first) }).chain(reading))))
            }
            Ok(Some(Err(status))) => Err(status),
            Ok(None) => Ok(Response::new(Box::pin(stream::empty()))),
            Err(_) if workers.has_begun(id) => Err(AskError::Deadline(longest).into()),
            Err(_) => Err(self.refuse(AskError::Busy(longest))),
        }
    }

    /// Counts a query that is refused before it runs.
    pub(crate) fn refuse(&self, error: AskError) -> Status {
        Metrics::count(&self.metrics.queries_refused, error.reason());
        error.into()
    }
}

/// What follows the work of a query: its end is told to the reader, who may take a while for the rest.
struct Last<T> {
    answer: Arc<Answer<T>>,
    workers: Arc<Workers>,
    id: OnceLock<QueryId>,
    /// The reader has read everything, or reads no more.
    read: Notify,
    start: Instant,
    deadline: Instant,
    limits: QueryLimits,
    metrics: Arc<Metrics>,
    runtime: Handle,
    hang_up: HangUp,
    operator: OperatorId,
}

impl<T> Last<T> {
    fn count(&self, error: &AskError) {
        Metrics::count(&self.metrics.queries_refused, error.reason());
        tracing::info!(operator = %self.operator, %error, "a query ends without a whole answer");
    }
}

impl<T: Send + 'static> Last<T> {
    /// Waits for the reader, but not for long: what it does not read takes memory, and the query's place.
    async fn linger(self: Arc<Self>, id: QueryId) {
        let patience = Instant::now() + self.limits.read_timeout;
        if timeout_at(patience.min(self.deadline), self.read.notified()).await.is_err() {
            let error = || match patience < self.deadline {
                true => AskError::Unread(self.limits.read_timeout),
                false => AskError::Deadline(self.limits.timeout),
            };
            self.count(&error());
            self.answer.give_up(error());
            self.workers.leave(id);
            return self.cut_off().await;
        }
        self.workers.leave(id);
    }

    /// A reader that does not even take the reason for the end keeps what HTTP/2 holds for it: its connection is cut.
    async fn cut_off(self: Arc<Self>) {
        if timeout(self.limits.read_timeout, self.read.notified()).await.is_err() {
            tracing::info!(operator = %self.operator, "a connection is cut, because it does not read its answers");
            Metrics::count(&self.metrics.connections_cut, "answers_not_read");
            self.hang_up.now();
        }
    }
}

impl<T: Send + 'static> Ending for Last<T> {
    fn end(self: Arc<Self>, result: Result<(), AskError>) -> bool {
        self.metrics.query_seconds.observe(self.start.elapsed().as_secs_f64());
        if let Err(error) = &result {
            self.count(error);
        }
        let rest = match result {
            // Nobody waits for the rest of an answer that was not read in time.
            Err(error @ (AskError::Unread(_) | AskError::Deadline(_))) => {
                self.answer.give_up(error);
                let runtime = self.runtime.clone();
                // Detached: it ends by its own deadline.
                drop(runtime.spawn(Arc::clone(&self).cut_off()));
                false
            }
            result => self.answer.end(result),
        };
        match self.id.get() {
            Some(&id) if rest && !self.answer.is_gone() => {
                let runtime = self.runtime.clone();
                // Detached: it ends by its own deadline.
                drop(runtime.spawn(self.linger(id)));
                true
            }
            _ => false,
        }
    }
}

/// The reader's end of an answer.
struct Reading<T> {
    last: Arc<Last<T>>,
    id: QueryId,
    /// Ends it also while the work cannot, because a disk does not answer.
    late: Pin<Box<Sleep>>,
    over: bool,
}

impl<T> Stream for Reading<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        match this.last.answer.poll_read(context) {
            Poll::Ready(Read::Message(message, bytes)) => {
                this.last.workers.give(this.id, bytes);
                Poll::Ready(Some(Ok(message)))
            }
            Poll::Ready(Read::End(result)) => {
                this.close();
                Poll::Ready(result.err().map(|error| Err(error.into())))
            }
            Poll::Pending => {
                if this.late.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.close();
                Poll::Ready(Some(Err(AskError::Deadline(this.last.limits.timeout).into())))
            }
        }
    }
}

impl<T> Reading<T> {
    /// Reads no more: the work ends if it has not, and the place is free.
    fn close(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.last.answer.abandon();
            self.last.read.notify_one();
            self.last.workers.cancel(self.id);
        }
    }
}

impl<T> Drop for Reading<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
