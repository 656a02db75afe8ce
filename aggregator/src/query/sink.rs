//! Interface of a query's work: where it sends messages, and where it yields.
//!
//! While it waits for its reader, it has neither a turn nor a thread.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    error::QueryError,
    result_queue::ResultQueue,
    task::{Memory, Task},
};

/// Output of a query's work, with its deadline and memory.
pub(crate) struct Sink<T> {
    pub(super) queue: Arc<ResultQueue<T>>,
    pub(super) task: Task,
    pub(super) read_timeout: Duration,
    /// Memory reserved for the work.
    pub(super) memory: Memory,
}

impl<T> Sink<T> {
    /// Sends a message that takes `bytes` of memory; waits for a slow reader.
    ///
    /// # Errors
    /// The deadline has passed, the caller is gone, memory is used up, or nothing was read for too long.
    pub(crate) async fn send(&self, message: T, bytes: usize) -> Result<(), QueryError> {
        let task = &self.task;
        task.check()?;
        if !task.workers.reserve_memory(task.id, bytes) {
            return Err(QueryError::Memory(task.workers.limits.memory));
        }
        let mut message = Some((message, bytes));
        let read_deadline = Instant::now() + self.read_timeout;
        let put = poll_fn(|context| self.queue.poll_put(context, &mut message));
        match timeout_at(read_deadline.min(task.deadline), put).await {
            Ok(put) => put,
            Err(_) if read_deadline < task.deadline => Err(QueryError::Unread(self.read_timeout)),
            Err(_) => Err(QueryError::Deadline(task.timeout)),
        }
    }

    /// As [`Task::yield_point`].
    ///
    /// # Errors
    /// The deadline has passed, or the caller is gone.
    pub(crate) async fn yield_point(&self) -> Result<(), QueryError> {
        self.task.yield_point().await
    }

    /// Sets how much memory the work holds now.
    ///
    /// # Errors
    /// The operator may not have that much.
    pub(crate) fn set_memory(&self, bytes: usize) -> Result<(), QueryError> {
        self.memory.set(bytes)
    }
}
