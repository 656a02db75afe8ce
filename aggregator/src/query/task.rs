//! What the work of a query needs besides its output: turns, its deadline, memory, and parts on other threads.
//!
//! Work calls [`Task::yield_point`] after every bounded step, even if the step found nothing. There it yields to other
//! operators' queries, and ends when its deadline has passed or its caller is gone.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    error::QueryError,
    scheduler::QueryId,
    workers::{OnComplete, TimeSlice, Workers},
};

/// Memory is reserved in pieces of this many bytes, so that small queries rarely reserve again.
const MEMORY_PIECE: usize = 64 << 10;

/// Memory of all queries for each part of one: beyond a few megabytes only if its points are many and its series differ.
const PART_BYTES: usize = 32 << 20;

/// The work of a query, or a part of it.
#[derive(Clone)]
pub(crate) struct Task {
    pub(super) workers: Arc<Workers>,
    pub(super) slice: Arc<TimeSlice>,
    /// The query, also of a part.
    pub(super) id: QueryId,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    /// Nobody wants the answer any more.
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) parts: Arc<Parts>,
    /// Whether it is one of the parts.
    pub(super) is_part: bool,
}

/// The parts of a query that have not ended.
#[derive(Default)]
pub(super) struct Parts {
    live: AtomicUsize,
    /// Their results are no longer wanted.
    stopped: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Counts a part while it exists.
struct LivePart(Arc<Parts>);

impl LivePart {
    fn new(parts: &Arc<Parts>) -> Self {
        parts.live.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(parts))
    }
}

impl Drop for LivePart {
    fn drop(&mut self) {
        if self.0.live.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Task {
    /// Continues in this turn, or yields and continues in the next.
    ///
    /// # Errors
    /// The deadline has passed, or the caller is gone.
    pub(crate) async fn yield_point(&self) -> Result<(), QueryError> {
        self.check()?;
        if self.slice.is_over(self.workers.others_wait()) {
            let mut passed = false;
            poll_fn(|_| if std::mem::replace(&mut passed, true) { Poll::Ready(()) } else { Poll::Pending })
                .await;
            self.check()?;
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), QueryError> {
        if Instant::now() >= self.deadline {
            return Err(QueryError::Deadline(self.timeout));
        }
        if self.cancelled.load(Ordering::Acquire)
            || (self.is_part && self.parts.stopped.load(Ordering::Acquire))
        {
            return Err(QueryError::Gone);
        }
        Ok(())
    }

    /// How many parts should be at work at once: all threads have some, and memory suffices for them.
    pub(super) fn ahead(&self) -> usize {
        (2 * self.workers.threads).min(self.workers.limits.memory / PART_BYTES).max(2)
    }

    /// Tells the parts to stop, and waits until they have.
    pub(super) async fn stop_parts(&self) {
        self.parts.stopped.store(true, Ordering::Release);
        poll_fn(|context| {
            let mut waker = self.parts.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if self.parts.live.load(Ordering::Acquire) == 0 {
                return Poll::Ready(());
            }
            *waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Memory of the query, none yet.
    pub(super) fn memory(&self) -> Memory {
        Memory { workers: Arc::clone(&self.workers), id: self.id, bytes: AtomicUsize::new(0) }
    }

    /// Splits off a part that runs on whichever query thread is free. A part never waits for anything but turns.
    pub(super) fn split<R, F, W>(&self, work: F) -> Part<R>
    where
        R: Send + 'static,
        F: FnOnce(Self) -> W,
        W: Future<Output = Result<R, QueryError>> + Send + 'static,
    {
        let outcome = Arc::new(Outcome { state: Mutex::new(OutcomeState { result: None, waker: None }) });
        let on_complete: Arc<dyn OnComplete> = Arc::<Outcome<R>>::clone(&outcome);
        let begun = self.workers.add_part(self.id, on_complete, |slice| {
            let task = Self {
                workers: Arc::clone(&self.workers),
                slice,
                id: self.id,
                deadline: self.deadline,
                timeout: self.timeout,
                cancelled: Arc::clone(&self.cancelled),
                parts: Arc::clone(&self.parts),
                is_part: true,
            };
            let (live, work, outcome) = (LivePart::new(&self.parts), work(task), Arc::clone(&outcome));
            Box::pin(async move {
                // Dropped last, with this future.
                let _live = live;
                let result = work.await;
                outcome.lock().result = Some(result);
                Ok(())
            })
        });
        if !begun {
            outcome.lock().result = Some(Err(QueryError::Gone));
        }
        Part(outcome)
    }
}

/// Memory of a query that is in use; released on drop.
pub(crate) struct Memory {
    workers: Arc<Workers>,
    id: QueryId,
    /// Bytes reserved.
    bytes: AtomicUsize,
}

impl Memory {
    /// Sets how much is in use now.
    ///
    /// # Errors
    /// The operator may not have that much.
    pub(super) fn set(&self, bytes: usize) -> Result<(), QueryError> {
        let wanted = bytes.div_ceil(MEMORY_PIECE).saturating_mul(MEMORY_PIECE);
        let reserved = self.bytes.load(Ordering::Relaxed);
        if wanted > reserved && !self.workers.reserve_memory(self.id, wanted - reserved) {
            return Err(QueryError::Memory(self.workers.limits.memory));
        }
        if wanted < reserved {
            self.workers.release_memory(self.id, reserved - wanted);
        }
        self.bytes.store(wanted, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.workers.release_memory(self.id, *self.bytes.get_mut());
    }
}

/// The result of a part, and who waits for it.
struct Outcome<R> {
    state: Mutex<OutcomeState<R>>,
}

struct OutcomeState<R> {
    result: Option<Result<R, QueryError>>,
    waker: Option<Waker>,
}

impl<R> Outcome<R> {
    fn lock(&self) -> MutexGuard<'_, OutcomeState<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Send> OnComplete for Outcome<R> {
    fn complete(self: Arc<Self>, result: Result<(), QueryError>) -> bool {
        let mut state = self.lock();
        if let Err(error) = result {
            // It panicked, or the threads stop.
            state.result.get_or_insert(Err(error));
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        false
    }
}

/// A part of a query.
pub(super) struct Part<R>(Arc<Outcome<R>>);

impl<R> Part<R> {
    /// Waits for the part to end.
    ///
    /// # Errors
    /// Those of its work.
    pub(super) async fn join(self) -> Result<R, QueryError> {
        poll_fn(|context| {
            let mut state = self.0.lock();
            match state.result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
