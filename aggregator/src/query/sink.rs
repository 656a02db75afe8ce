//! Interface of a query's work: where it sends messages, and where it yields.
//!
//! Work calls [`Sink::yield_point`] after every bounded step, even if the step found nothing. There it yields to
//! other operators' queries, and ends when its deadline has passed or its caller is gone. While it waits for its
//! reader, it has neither a turn nor a thread.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{
    error::QueryError,
    result_queue::ResultQueue,
    scheduler::QueryId,
    workers::{TimeSlice, Workers},
};

/// Memory is reserved in pieces of this many bytes, so that small queries rarely reserve again.
const MEMORY_PIECE: usize = 64 << 10;

/// Output of a query's work, with its deadline and memory.
pub(crate) struct Sink<T> {
    pub(super) queue: Arc<ResultQueue<T>>,
    pub(super) workers: Arc<Workers>,
    pub(super) slice: Arc<TimeSlice>,
    pub(super) id: QueryId,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    pub(super) read_timeout: Duration,
    /// Memory reserved for the work, bytes.
    pub(super) reserved: AtomicUsize,
}

impl<T> Sink<T> {
    /// Sends a message that takes `bytes` of memory; waits for a slow reader.
    ///
    /// # Errors
    /// The deadline has passed, the caller is gone, memory is used up, or nothing was read for too long.
    pub(crate) async fn send(&self, message: T, bytes: usize) -> Result<(), QueryError> {
        self.check()?;
        if !self.workers.reserve_memory(self.id, bytes) {
            return Err(self.no_memory());
        }
        let mut message = Some((message, bytes));
        let read_deadline = Instant::now() + self.read_timeout;
        let put = poll_fn(|context| self.queue.poll_put(context, &mut message));
        match timeout_at(read_deadline.min(self.deadline), put).await {
            Ok(put) => put,
            Err(_) if read_deadline < self.deadline => Err(QueryError::Unread(self.read_timeout)),
            Err(_) => Err(QueryError::Deadline(self.timeout)),
        }
    }

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

    /// Sets how much memory the work holds now.
    ///
    /// # Errors
    /// The operator may not have that much.
    pub(crate) fn set_memory(&self, bytes: usize) -> Result<(), QueryError> {
        let wanted = bytes.div_ceil(MEMORY_PIECE).saturating_mul(MEMORY_PIECE);
        let reserved = self.reserved.load(Ordering::Relaxed);
        if wanted > reserved && !self.workers.reserve_memory(self.id, wanted - reserved) {
            return Err(self.no_memory());
        }
        if wanted < reserved {
            self.workers.release_memory(self.id, reserved - wanted);
        }
        self.reserved.store(wanted, Ordering::Relaxed);
        Ok(())
    }

    fn no_memory(&self) -> QueryError {
        QueryError::Memory(self.workers.limits.memory)
    }

    fn check(&self) -> Result<(), QueryError> {
        if Instant::now() >= self.deadline {
            return Err(QueryError::Deadline(self.timeout));
        }
        if self.queue.is_abandoned() {
            return Err(QueryError::Gone);
        }
        Ok(())
    }
}
