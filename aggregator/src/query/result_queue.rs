//! The results of a query between its work and its reader: a bounded queue, and the outcome of the work.
//!
//! A truncated answer never looks complete: the outcome comes after the last message.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::error::QueryError;

/// Most bytes of an answer that wait for its reader, apart from one message.
const UNREAD_BYTES_MAX: usize = 256 << 10;
/// Most messages that wait for the reader.
const UNREAD_MAX: usize = 1_024;

#[derive(Debug)]
struct State<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
    end: Option<Result<(), QueryError>>,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

/// Next item for the reader.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// A message, and the bytes it was counted with.
    Message(T, usize),
    /// The work has ended and everything was read.
    End(Result<(), QueryError>),
}

/// The queue of the results of one query.
#[derive(Debug)]
pub(super) struct ResultQueue<T> {
    state: Mutex<State<T>>,
    /// The reader has stopped reading.
    abandoned: Arc<AtomicBool>,
}

impl<T> Default for ResultQueue<T> {
    fn default() -> Self {
        let state = State { messages: VecDeque::new(), bytes: 0, end: None, writer: None, reader: None };
        Self { state: Mutex::new(state), abandoned: Arc::default() }
    }
}

impl<T> ResultQueue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Set once the reader has stopped reading.
    pub(super) fn abandoned(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.abandoned)
    }

    /// Whether the reader has stopped reading.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Puts a message once there is room.
    pub(super) fn poll_put(
        &self,
        context: &mut Context<'_>,
        message: &mut Option<(T, usize)>,
    ) -> Poll<Result<(), QueryError>> {
        let mut state = self.lock();
        if self.is_abandoned() {
            return Poll::Ready(Err(QueryError::Gone));
        }
        let bytes = message.as_ref().map_or(0, |(_, bytes)| *bytes);
        let room = state.bytes.saturating_add(bytes) <= UNREAD_BYTES_MAX && state.messages.len() < UNREAD_MAX;
        if !room && !state.messages.is_empty() {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.messages.extend(message.take());
        state.bytes += bytes;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(()))
    }

    /// The next message, or the end.
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<Next<T>> {
        let mut state = self.lock();
        let Some((message, bytes)) = state.messages.pop_front() else {
            if let Some(end) = state.end.take() {
                return Poll::Ready(Next::End(end));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        state.bytes = state.bytes.saturating_sub(bytes);
        // Wakes the writer only at half: waking it for each message would cost a turn for each.
        let low = state.bytes <= UNREAD_BYTES_MAX / 2 && state.messages.len() <= UNREAD_MAX / 2;
        let writer = if low { state.writer.take() } else { None };
        drop(state);
        wake(writer);
        Poll::Ready(Next::Message(message, bytes))
    }

    /// Records that the work has ended; returns true if messages wait for the reader.
    pub(super) fn finish(&self, result: Result<(), QueryError>) -> bool {
        let mut state = self.lock();
        state.end = Some(result);
        let waiting = !state.messages.is_empty();
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        waiting
    }

    /// Drops the unread messages; a slow reader finds this error in their place.
    pub(super) fn fail(&self, error: QueryError) {
        let mut state = self.lock();
        let dropped = std::mem::take(&mut state.messages);
        state.bytes = 0;
        state.end = Some(Err(error));
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        drop(dropped);
    }

    /// Records that the reader has stopped reading.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        let mut state = self.lock();
        let dropped = std::mem::take(&mut state.messages);
        state.bytes = 0;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        drop(dropped);
    }
}

/// Called outside the lock: a waker takes other locks.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
