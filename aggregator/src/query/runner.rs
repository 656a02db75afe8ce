//! Runs queries fairly between operators, each under one deadline for waiting, work and a slow reader.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
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
    compute::compute,
    error::QueryError,
    ingest_watch::IngestWatch,
    result_queue::{Next, ResultQueue},
    scheduler::{Bounds, QueryId},
    sink::Sink,
    task::Task,
    workers::{OnComplete, QueryCounts, Threads, Workers},
};
use crate::{
    access::{CallingOperator, Disconnect},
    config::QueryLimits,
    metrics::Metrics,
};

/// A streamed answer.
pub(crate) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Runs and limits all queries of an aggregator.
#[derive(Clone)]
pub(crate) struct Runner {
    threads: Arc<Threads>,
    limits: QueryLimits,
    metrics: Arc<Metrics>,
    runtime: Handle,
}

impl Runner {
    /// Starts the threads; queries use the timers of the current runtime.
    ///
    /// # Errors
    /// The system refused a thread.
    pub(crate) fn new(
        limits: QueryLimits,
        metrics: Arc<Metrics>,
        supervisor: &Arc<Supervisor>,
    ) -> std::io::Result<Self> {
        let bounds = Bounds {
            slots: limits.queries_max,
            slots_per_operator: limits.per_operator_max,
            waiting: limits.waiting_max,
            waiting_per_operator: limits.waiting_per_operator_max,
            memory: limits.memory_max,
        };
        let runtime = Handle::current();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Not the metrics themselves: these know the store, which must be closed when the server has stopped.
        let (durable, live) = (metrics.batches.clone(), metrics.live_batches.clone());
        let batches = move || durable.get() + live.get();
        let ingest = IngestWatch::new(limits.threads, processors, batches);
        let threads = Arc::new(Threads::start(bounds, ingest, &runtime, supervisor)?);
        Ok(Self { threads, limits, metrics, runtime })
    }

    /// Whether queries wait for others to end.
    pub(crate) fn is_full(&self) -> bool {
        self.threads.0.counts().waiting > 0
    }

    /// The query threads, for work that is no single query.
    pub(super) fn workers(&self) -> Arc<Workers> {
        Arc::clone(&self.threads.0)
    }

    /// Limits of queries.
    pub(crate) fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// Returns a function that reads the counts of queries.
    pub(crate) fn counts(&self) -> impl Fn() -> QueryCounts + Send + Sync + use<> {
        // Weak: metrics outlive the server, and must not keep its threads alive.
        let workers = Arc::downgrade(&self.threads.0);
        move || workers.upgrade().map(|workers| workers.counts()).unwrap_or_default()
    }

    /// Waits for a slot, then for the first message of `work`, and streams what it sends.
    ///
    /// # Errors
    /// The work ended before its first message, or there are too many queries.
    pub(crate) async fn run<T, F, W>(
        &self,
        caller: &CallingOperator,
        work: F,
    ) -> Result<Response<ResponseStream<T>>, Status>
    where
        T: Send + 'static,
        F: FnOnce(Sink<T>) -> W + Send + 'static,
        W: Future<Output = Result<(), QueryError>> + Send + 'static,
    {
        self.run_within(caller, None, work).await
    }

    /// As [`Runner::run`], within a shorter time than that of the configuration if it says so.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub(super) async fn run_within<T, F, W>(
        &self,
        caller: &CallingOperator,
        within: Option<Duration>,
        work: F,
    ) -> Result<Response<ResponseStream<T>>, Status>
    where
        T: Send + 'static,
        F: FnOnce(Sink<T>) -> W + Send + 'static,
        W: Future<Output = Result<(), QueryError>> + Send + 'static,
    {
        let QueryLimits { timeout: most, read_timeout, .. } = self.limits;
        let longest = within.map_or(most, |within| within.min(most));
        let deadline = Instant::now() + longest;
        let workers = &self.threads.0;
        let queue = Arc::new(ResultQueue::default());
        let completion = Arc::new(Completion {
            queue: Arc::clone(&queue),
            workers: Arc::clone(workers),
            id: OnceLock::new(),
            read: Notify::new(),
            start: Instant::now(),
            deadline,
            limits: QueryLimits { timeout: longest, ..self.limits },
            metrics: Arc::clone(&self.metrics),
            runtime: self.runtime.clone(),
            disconnect: caller.disconnect.clone(),
            operator: caller.operator.clone(),
        });
        let submitted =
            workers.submit(&caller.operator, Arc::clone(&completion) as Arc<dyn OnComplete>, |id, slice| {
                // Set only once.
                let _ = completion.id.set(id);
                let task = Task {
                    workers: Arc::clone(workers),
                    slice,
                    id,
                    deadline,
                    timeout: longest,
                    cancelled: queue.abandoned(),
                    parts: Arc::default(),
                    is_part: false,
                };
                let memory = task.memory();
                let sink = Sink { queue: Arc::clone(&queue), task, read_timeout, memory };
                let metrics = Arc::clone(&self.metrics);
                Box::pin(async move {
                    metrics.queries.inc();
                    work(sink).await
                })
            });
        let id = submitted.map_err(|error| self.refuse(error))?;
        let late = Box::pin(tokio::time::sleep_until(deadline));
        let mut reader = ResponseReader { completion, id, late, over: false };
        let first = timeout_at(deadline, poll_fn(|context| Pin::new(&mut reader).poll_next(context))).await;
        match first {
            Ok(Some(Ok(first))) => {
                Ok(Response::new(Box::pin(stream::once(async { Ok(first) }).chain(reader))))
            }
            Ok(Some(Err(status))) => Err(status),
            Ok(None) => Ok(Response::new(Box::pin(stream::empty()))),
            Err(_) if workers.has_started(id) => Err(QueryError::Deadline(longest).into()),
            Err(_) => Err(self.refuse(QueryError::Busy(longest))),
        }
    }

    /// Does work of a request before it is a query: see [`compute`].
    ///
    /// # Errors
    /// There are too many queries, or the work panicked.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        caller: &CallingOperator,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let done = compute(&self.threads.0, &caller.operator, self.limits.timeout, work).await;
        done.map_err(|error| self.refuse(error))
    }

    /// Counts a query that is refused before it runs.
    pub(crate) fn refuse(&self, error: QueryError) -> Status {
        Metrics::count(&self.metrics.queries_refused, error.reason());
        error.into()
    }
}

/// Ends a query after its work: passes the result to the reader, who may take a while for the rest.
struct Completion<T> {
    queue: Arc<ResultQueue<T>>,
    workers: Arc<Workers>,
    id: OnceLock<QueryId>,
    /// The reader has read everything, or stopped reading.
    read: Notify,
    start: Instant,
    deadline: Instant,
    limits: QueryLimits,
    metrics: Arc<Metrics>,
    runtime: Handle,
    disconnect: Disconnect,
    operator: OperatorId,
}

impl<T> Completion<T> {
    fn count(&self, error: &QueryError) {
        Metrics::count(&self.metrics.queries_refused, error.reason());
        tracing::info!(operator = %self.operator, %error, "a query ended without a complete answer");
    }
}

impl<T: Send + 'static> Completion<T> {
    /// Waits for the reader, but not for long: an unread answer holds memory and the query's slot.
    async fn await_reader(self: Arc<Self>, id: QueryId) {
        let read_deadline = Instant::now() + self.limits.read_timeout;
        if timeout_at(read_deadline.min(self.deadline), self.read.notified()).await.is_err() {
            let error = || match read_deadline < self.deadline {
                true => QueryError::Unread(self.limits.read_timeout),
                false => QueryError::Deadline(self.limits.timeout),
            };
            self.count(&error());
            self.queue.fail(error());
            self.workers.release_slot(id);
            return self.cut_unread_connection().await;
        }
        self.workers.release_slot(id);
    }

    /// A reader that does not even read the error keeps HTTP/2 buffers occupied: its connection is cut.
    async fn cut_unread_connection(self: Arc<Self>) {
        if timeout(self.limits.read_timeout, self.read.notified()).await.is_err() {
            tracing::info!(operator = %self.operator, "a connection was cut because it does not read its answers");
            Metrics::count(&self.metrics.connections_cut, "answers_not_read");
            self.disconnect.trigger();
        }
    }
}

impl<T: Send + 'static> OnComplete for Completion<T> {
    fn complete(self: Arc<Self>, result: Result<(), QueryError>) -> bool {
        self.metrics.query_seconds.observe(self.start.elapsed().as_secs_f64());
        if let Err(error) = &result {
            self.count(error);
        }
        let rest = match result {
            // The rest of an answer that was not read in time is dropped.
            Err(error @ (QueryError::Unread(_) | QueryError::Deadline(_))) => {
                self.queue.fail(error);
                let runtime = self.runtime.clone();
                // Detached: ends at its own deadline.
                drop(runtime.spawn(Arc::clone(&self).cut_unread_connection()));
                false
            }
            result => self.queue.finish(result),
        };
        match self.id.get() {
            Some(&id) if rest && !self.queue.is_abandoned() => {
                let runtime = self.runtime.clone();
                // Detached: ends at its own deadline.
                drop(runtime.spawn(self.await_reader(id)));
                true
            }
            _ => false,
        }
    }
}

/// The reader's end of an answer.
struct ResponseReader<T> {
    completion: Arc<Completion<T>>,
    id: QueryId,
    /// Ends the answer even if the work cannot, because a disk does not respond.
    late: Pin<Box<Sleep>>,
    over: bool,
}

impl<T> Stream for ResponseReader<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        match this.completion.queue.poll_read(context) {
            Poll::Ready(Next::Message(message, bytes)) => {
                this.completion.workers.release_memory(this.id, bytes);
                Poll::Ready(Some(Ok(message)))
            }
            Poll::Ready(Next::End(result)) => {
                this.close();
                Poll::Ready(result.err().map(|error| Err(error.into())))
            }
            Poll::Pending => {
                if this.late.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.close();
                Poll::Ready(Some(Err(QueryError::Deadline(this.completion.limits.timeout).into())))
            }
        }
    }
}

impl<T> ResponseReader<T> {
    /// Stops reading: the work ends if it has not, and the slot is released.
    fn close(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.completion.queue.abandon();
            self.completion.read.notify_one();
            self.completion.workers.cancel(self.id);
        }
    }
}

impl<T> Drop for ResponseReader<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
