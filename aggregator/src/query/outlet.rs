//! What the work of a query sees of the world: where its messages go, and whether it may go on.
//!
//! Work calls [`Outlet::turn`] after every bounded piece, also where it finds nothing. That is where it passes its turn on to
//! other operators' queries, and where it ends when its time is over or its caller gone. While it waits for its reader
//! it has neither turn nor thread.

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
    answer::Answer,
    failure::AskError,
    turns::QueryId,
    workers::{Slice, Workers},
};

/// Memory is taken in pieces of this many bytes, so that small queries rarely ask.
const MEMORY_PIECE: usize = 64 << 10;

/// See the module.
pub(crate) struct Outlet<T> {
    pub(super) answer: Arc<Answer<T>>,
    pub(super) workers: Arc<Workers>,
    pub(super) slice: Arc<Slice>,
    pub(super) id: QueryId,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    pub(super) read_timeout: Duration,
    /// Memory taken for the work.
    pub(super) held: AtomicUsize,
}

impl<T> Outlet<T> {
    /// Sends a message of so many bytes in memory; waits for a slow reader.
    ///
    /// # Errors
    /// When the time is over, the caller gone, or nothing was read for too long.
    pub(crate) async fn send(&self, message: T, bytes: usize) -> Result<(), AskError> {
        self.check()?;
        if !self.workers.take(self.id, bytes) {
            return Err(self.no_memory());
        }
        let mut message = Some((message, bytes));
        let patience = Instant::now() + self.read_timeout;
        let put = poll_fn(|context| self.answer.poll_put(context, &mut message));
        match timeout_at(patience.min(self.deadline), put).await {
            Ok(put) => put,
            Err(_) if patience < self.deadline => Err(AskError::Unread(self.read_timeout)),
            Err(_) => Err(AskError::Deadline(self.timeout)),
        }
    }

    /// Goes on in this turn or the next.
    ///
    /// # Errors
    /// When the time is over or the caller gone.
    pub(crate) async fn turn(&self) -> Result<(), AskError> {
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
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), AskError> {
        let wanted = bytes.div_ceil(MEMORY_PIECE).saturating_mul(MEMORY_PIECE);
        let held = self.held.load(Ordering::Relaxed);
        if wanted > held && !self.workers.take(self.id, wanted - held) {
            return Err(self.no_memory());
        }
        if wanted < held {
            self.workers.give(self.id, held - wanted);
        }
        self.held.store(wanted, Ordering::Relaxed);
        Ok(())
    }

    fn no_memory(&self) -> AskError {
        AskError::Memory(self.workers.limits.memory)
    }

    fn check(&self) -> Result<(), AskError> {
        if Instant::now() >= self.deadline {
            return Err(AskError::Deadline(self.timeout));
        }
        if self.answer.is_gone() {
            return Err(AskError::Gone);
        }
        Ok(())
    }
}
