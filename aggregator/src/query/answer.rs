//! The messages of an answer between the work and its reader: a bounded queue, and how the work ended.
//!
//! An answer that was cut off never looks whole: how the work ended comes after the last message.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use super::failure::AskError;

/// Bytes of an answer that wait for its reader, beside one message.
const UNREAD_BYTES_MAX: usize = 256 << 10;
/// Messages that wait for the reader.
const UNREAD_MAX: usize = 1_024;

#[derive(Debug)]
struct State<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
    end: Option<Result<(), AskError>>,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

/// What the reader finds.
#[derive(Debug)]
pub(super) enum Read<T> {
    /// A message, and the bytes that it was counted with.
    Message(T, usize),
    /// The work has ended and everything was read.
    End(Result<(), AskError>),
}

/// The queue of one answer.
#[derive(Debug)]
pub(super) struct Answer<T> {
    state: Mutex<State<T>>,
    /// Nobody reads any more.
    gone: AtomicBool,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        let state = State { messages: VecDeque::new(), bytes: 0, end: None, writer: None, reader: None };
        Self { state: Mutex::new(state), gone: AtomicBool::new(false) }
    }
}

impl<T> Answer<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Puts a message as soon as there is room.
    pub(super) fn poll_put(
        &self,
        context: &mut Context<'_>,
        message: &mut Option<(T, usize)>,
    ) -> Poll<Result<(), AskError>> {
        let mut state = self.lock();
        if self.is_gone() {
            return Poll::Ready(Err(AskError::Gone));
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
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<Read<T>> {
        let mut state = self.lock();
        let Some((message, bytes)) = state.messages.pop_front() else {
            if let Some(end) = state.end.take() {
                return Poll::Ready(Read::End(end));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        state.bytes = state.bytes.saturating_sub(bytes);
        // A writer that is woken for each message is given a turn for each.
        let low = state.bytes <= UNREAD_BYTES_MAX / 2 && state.messages.len() <= UNREAD_MAX / 2;
        let writer = if low { state.writer.take() } else { None };
        drop(state);
        wake(writer);
        Poll::Ready(Read::Message(message, bytes))
    }

    /// The work has ended; true if messages wait for the reader.
    pub(super) fn end(&self, result: Result<(), AskError>) -> bool {
        let mut state = self.lock();
        state.end = Some(result);
        let waiting = !state.messages.is_empty();
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        waiting
    }

    /// Drops what waits for a reader that does not read, who finds this in place of it.
    pub(super) fn give_up(&self, error: AskError) {
        let mut state = self.lock();
        let dropped = std::mem::take(&mut state.messages);
        state.bytes = 0;
        state.end = Some(Err(error));
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        drop(dropped);
    }

    /// Nobody reads any more.
    pub(super) fn abandon(&self) {
        self.gone.store(true, Ordering::Release);
        let mut state = self.lock();
        let dropped = std::mem::take(&mut state.messages);
        state.bytes = 0;
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        drop(dropped);
    }
}

/// Outside of the lock: a waker takes others.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
