//! What the work of a query sees of the world: where its messages go, and whether it may go on.
//!
//! Work calls [`Sink::yield_point`] after every bounded piece, also where it finds nothing. That is where it passes its
//! turn on to other operators' queries, and where it ends when its time is over or its caller gone. While it waits for
//! its reader it has neither turn nor thread.

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

/// Memory is taken in pieces of this many bytes, so that small queries rarely ask.
const MEMORY_PIECE: usize = 64 << 10;

/// See the module.
pub(crate) struct Sink<T> {
    pub(super) queue: Arc<ResultQueue<T>>,
    pub(super) workers: Arc<Workers>,
    pub(super) slice: Arc<TimeSlice>,
    pub(super) id: QueryId,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    pub(super) read_timeout: Duration,
    /// Memory taken for the work.
    pub(super) reserved: AtomicUsize,
}

impl<T> Sink<T> {
    /// Sends a message of so many bytes in memory; waits for a slow reader.
    ///
    /// # Errors
    /// When the time is over, the caller gone, or nothing was read for too long.
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

    /// Continues in this turn, or passes the turn on and continues in the next.
    ///
    /// # Errors
    /// When the time is over or the caller gone.
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

    /// Says how much memory the work holds now.
    ///
    /// # Errors
    /// When its operator may not have as much.
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
