//! The query threads, and the time slices that keep one operator's queries from blocking another's.
//!
//! A query is a future, polled for a few milliseconds at a time while others wait. It may split off parts, futures that
//! take turns of their own, so that several threads work for it. A query that waits for its reader or its parts occupies no
//! thread. While batches arrive, one processor is left to ingest: so many turns fewer are taken at once.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use catchment_proto::OperatorId;
use catchment_settings::supervise::Supervisor;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use super::{
    error::QueryError,
    ingest_watch::{IngestWatch, SAMPLE},
    scheduler::{Arrival, Bounds, QueryId, Scheduler},
};

/// How long a query works before it yields to another that waits.
const TIME_SLICE: Duration = Duration::from_millis(3);

/// A query's work.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<(), QueryError>> + Send>>;

/// Called when the work of a query has ended.
pub(super) trait OnComplete: Send + Sync {
    /// Takes the result; returns true if the query keeps its slot until its reader has read the rest.
    fn complete(self: Arc<Self>, result: Result<(), QueryError>) -> bool;
}

/// Measures a query's turn.
#[derive(Debug)]
pub(super) struct TimeSlice {
    base: Instant,
    /// Microseconds since `base`.
    began: AtomicU64,
    /// Whether the query yielded with work left.
    passed: AtomicBool,
}

impl TimeSlice {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { base: Instant::now(), began: AtomicU64::new(0), passed: AtomicBool::new(false) })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn begin(&self) {
        self.began.store(self.now(), Ordering::Relaxed);
        self.passed.store(false, Ordering::Relaxed);
    }

    /// Length of the turn so far, microseconds, at least 1.
    fn used(&self) -> u64 {
        self.now().saturating_sub(self.began.load(Ordering::Relaxed)).max(1)
    }

    /// Whether the query must yield now.
    pub(super) fn is_over(&self, others_wait: bool) -> bool {
        if self.used() < TIME_SLICE.as_micros() as u64 {
            return false;
        }
        if !others_wait {
            // Time that nobody else wanted is not charged to the operator.
            self.began.store(self.now(), Ordering::Relaxed);
            return false;
        }
        self.passed.store(true, Ordering::Relaxed);
        true
    }
}

struct Task {
    /// `None` while it is polled.
    work: Option<Work>,
    on_complete: Arc<dyn OnComplete>,
    slice: Arc<TimeSlice>,
}

struct State {
    scheduler: Scheduler<OperatorId>,
    tasks: HashMap<QueryId, Task>,
    stopped: bool,
    ingest: IngestWatch,
}

/// Counts of queries, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueryCounts {
    /// With a slot.
    pub(crate) running: usize,
    /// Waiting for a slot.
    pub(crate) waiting: usize,
    /// Bytes held.
    pub(crate) memory: usize,
}

/// State shared by the query threads.
pub(crate) struct Workers {
    state: Mutex<State>,
    work: Condvar,
    /// Queries waiting for a turn.
    ready: AtomicUsize,
    /// Turns taken now, and how many may be taken at once.
    running: AtomicUsize,
    permits: AtomicUsize,
    /// Number of threads.
    pub(super) threads: usize,
    pub(super) limits: Bounds,
}

/// Stops the threads on drop.
pub(super) struct Threads(pub(super) Arc<Workers>);

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.stopped = true;
        let tasks = std::mem::take(&mut state.tasks);
        drop(state);
        self.0.work.notify_all();
        for task in tasks.into_values() {
            task.on_complete.complete(Err(QueryError::Gone));
        }
    }
}

impl Threads {
    /// Starts the threads, whose work may use the timers of `runtime`. A panic in a thread outside of its work
    /// ends the server.
    ///
    /// # Errors
    /// The system refused a thread.
    pub(super) fn start(
        limits: Bounds,
        ingest: IngestWatch,
        runtime: &Handle,
        supervisor: &Arc<Supervisor>,
    ) -> io::Result<Self> {
        let count = ingest.threads;
        let state =
            State { scheduler: Scheduler::new(limits), tasks: HashMap::new(), stopped: false, ingest };
        let workers = Workers {
            state: Mutex::new(state),
            work: Condvar::new(),
            ready: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            permits: AtomicUsize::new(count),
            threads: count,
            limits,
        };
        let threads = Self(Arc::new(workers));
        for number in 0..count {
            let (workers, runtime) = (Arc::clone(&threads.0), runtime.clone());
            let supervised = supervisor.task("query thread", |_| (), async move { workers.run() });
            std::thread::Builder::new().name(format!("query-{number}")).spawn(move || {
                let _timers = runtime.enter();
                // Never waits; it is a future only so that the supervisor can watch it.
                supervised.now_or_never();
            })?;
        }
        Ok(threads)
    }
}

impl Workers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called after every change: publishes how many queries wait for a turn.
    fn publish(&self, state: &State) {
        self.ready.store(state.scheduler.ready_count(), Ordering::Relaxed);
    }

    /// Whether a turn that has lasted long enough should end: others wait for it, or there are too many.
    pub(super) fn others_wait(&self) -> bool {
        self.ready.load(Ordering::Relaxed) > 0
            || self.running.load(Ordering::Relaxed) > self.permits.load(Ordering::Relaxed)
    }

    /// Submits a query; its work is created once its number is known.
    ///
    /// # Errors
    /// The operator has too many queries waiting, or the threads have stopped.
    pub(super) fn submit(
        &self,
        operator: &OperatorId,
        on_complete: Arc<dyn OnComplete>,
        work: impl FnOnce(QueryId, Arc<TimeSlice>) -> Work,
    ) -> Result<QueryId, QueryError> {
        let slice = TimeSlice::new();
        let mut state = self.lock();
        if state.stopped {
            return Err(QueryError::Gone);
        }
        let id = match state.scheduler.submit(operator) {
            Arrival::Started(id) | Arrival::Waiting(id) => id,
            Arrival::Refused(waiting) => return Err(QueryError::TooManyWaiting { waiting }),
        };
        let work = work(id, Arc::clone(&slice));
        state.tasks.insert(id, Task { work: Some(work), on_complete, slice });
        self.publish(&state);
        drop(state);
        self.work.notify_one();
        Ok(id)
    }

    /// Splits off a part of a query that has a slot; false if the query has ended.
    pub(super) fn add_part(
        &self,
        id: QueryId,
        on_complete: Arc<dyn OnComplete>,
        work: impl FnOnce(Arc<TimeSlice>) -> Work,
    ) -> bool {
        let slice = TimeSlice::new();
        let work = work(Arc::clone(&slice));
        let mut state = self.lock();
        let Some(part) = state.scheduler.add_part(id) else { return false };
        state.tasks.insert(part, Task { work: Some(work), on_complete, slice });
        self.publish(&state);
        drop(state);
        self.work.notify_one();
        true
    }

    /// Cancels a query whose caller is gone. A waiting query is removed; a started one ends at its next turn, on a
    /// thread that may free its memory.
    pub(super) fn cancel(&self, id: QueryId) {
        let mut state = self.lock();
        if !state.scheduler.has_slot(id) {
            state.scheduler.remove(id);
            let task = state.tasks.remove(&id);
            drop(state);
            drop(task);
            return;
        }
        if state.tasks.contains_key(&id) {
            state.scheduler.mark_ready(id);
            self.publish(&state);
            drop(state);
            self.work.notify_one();
        } else {
            // Its work had ended already.
            drop(state);
            self.release_slot(id);
        }
    }

    /// Releases a query's slot, which another query may take.
    pub(super) fn release_slot(&self, id: QueryId) {
        let mut state = self.lock();
        state.scheduler.remove(id);
        self.publish(&state);
        drop(state);
        self.work.notify_all();
    }

    /// Whether a query has started.
    pub(super) fn has_started(&self, id: QueryId) -> bool {
        self.lock().scheduler.has_slot(id)
    }

    /// Reserves memory for a query; false if its operator may have no more.
    pub(super) fn reserve_memory(&self, id: QueryId, bytes: usize) -> bool {
        self.lock().scheduler.reserve_memory(id, bytes)
    }

    /// Releases memory.
    pub(super) fn release_memory(&self, id: QueryId, bytes: usize) {
        self.lock().scheduler.release_memory(id, bytes);
    }

    /// Current counts, for metrics.
    pub(super) fn counts(&self) -> QueryCounts {
        let scheduler = &self.lock().scheduler;
        QueryCounts { running: scheduler.slots(), waiting: scheduler.waiting(), memory: scheduler.memory() }
    }

    fn wake(&self, id: QueryId) {
        let mut state = self.lock();
        state.scheduler.mark_ready(id);
        self.publish(&state);
        drop(state);
        self.work.notify_one();
    }

    /// The next query to run; `None` when the threads must stop.
    fn next(&self) -> Option<(QueryId, Work, Arc<TimeSlice>)> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let permits = state.ingest.permits(Instant::now());
            self.permits.store(permits, Ordering::Relaxed);
            while self.running.load(Ordering::Relaxed) < permits
                && let Some(id) = state.scheduler.next_to_run()
            {
                self.publish(&state);
                let task = state.tasks.get_mut(&id);
                if let Some((work, slice)) = task.and_then(|t| Some((t.work.take()?, Arc::clone(&t.slice)))) {
                    self.running.fetch_add(1, Ordering::Relaxed);
                    return Some((id, work, slice));
                }
                // Its work has ended, and it waits for its reader.
                state.scheduler.end_turn(id, 1, false);
            }
            state = match state.scheduler.ready_count() {
                0 => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                // Until ingest pauses; a turn that ends is followed by another on its own thread.
                _ => self.work.wait_timeout(state, SAMPLE).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn run(self: &Arc<Self>) {
        while let Some((id, mut work, slice)) = self.next() {
            let waker = Waker::from(Arc::new(Wakeup { id, workers: Arc::downgrade(self) }));
            slice.begin();
            let poll = || work.as_mut().poll(&mut Context::from_waker(&waker));
            let result = match catch_unwind(AssertUnwindSafe(poll)) {
                Ok(Poll::Pending) => {
                    self.end_turn(id, work, &slice);
                    continue;
                }
                Ok(Poll::Ready(result)) => result,
                Err(_) => Err(QueryError::Panicked),
            };
            // Its memory is freed within its own turn.
            if catch_unwind(AssertUnwindSafe(move || drop(work))).is_err() {
                tracing::error!(condition = "query_panicked", "a query panicked while it was dropped");
            }
            self.finish(id, result, &slice);
        }
    }

    fn end_turn(&self, id: QueryId, work: Work, slice: &TimeSlice) {
        let mut state = self.lock();
        self.running.fetch_sub(1, Ordering::Relaxed);
        let left = match state.tasks.get_mut(&id) {
            Some(task) => {
                task.work = Some(work);
                None
            }
            None => Some(work),
        };
        state.scheduler.end_turn(id, slice.used(), slice.passed.load(Ordering::Relaxed));
        self.publish(&state);
        drop((state, left));
        // Nobody is notified: this thread takes the next turn itself.
    }

    fn finish(&self, id: QueryId, result: Result<(), QueryError>, slice: &TimeSlice) {
        let mut state = self.lock();
        self.running.fetch_sub(1, Ordering::Relaxed);
        state.scheduler.end_turn(id, slice.used(), false);
        let task = state.tasks.remove(&id);
        self.publish(&state);
        drop(state);
        let awaits_reader = task.is_some_and(|task| task.on_complete.complete(result));
        if !awaits_reader {
            self.release_slot(id);
        }
    }
}

/// Waker of a query.
struct Wakeup {
    id: QueryId,
    workers: Weak<Workers>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        if let Some(workers) = self.workers.upgrade() {
            workers.wake(self.id);
        }
    }
}
