//! The response queue: what goes back to the device, in order. Acknowledgements once they are durable, welcomes,
//! refusals.
//!
//! Bounded: consecutive acknowledgements are merged, and any other response waits for room first
//! (see `room`).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    task::Waker,
    time::Duration,
};

use catchment_journal::Position;
use tokio::sync::Notify;

/// Most responses that wait to be written; beyond, the device is not read.
const RESPONSES_MAX: usize = 256;
/// Likewise their bytes.
const RESPONSE_BYTES_MAX: usize = 32 << 10;

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Everything up to the number is durable once the journal is synced up to the position.
    Ack {
        /// Durable once the journal is synced up to here.
        durable_at: Position,
        /// The number.
        ack: u64,
        /// When the message was read, by the monotonic clock.
        read_at: Duration,
    },
    /// An encoded response that may leave once the journal is synced up to the position.
    Encoded {
        /// Durable once the journal is synced up to here.
        durable_at: Position,
        /// What is written.
        bytes: Vec<u8>,
        /// When the message was read that is acknowledged, if one is.
        read_at: Option<Duration>,
    },
}

impl Response {
    /// It may leave once the journal is synced up to here.
    const fn durable_at(&self) -> Position {
        let (Self::Ack { durable_at, .. } | Self::Encoded { durable_at, .. }) = self;
        *durable_at
    }
}

/// The responses of a session, between the half that reads and the half that writes.
///
/// Both run in one task and the writing half is polled after the reading half, so new responses wake nobody; a sync of
/// the journal does ([`super::commit_waiters`]).
#[derive(Debug, Default)]
pub struct ResponseQueue {
    queue: RefCell<VecDeque<Response>>,
    ended: Cell<bool>,
    /// Bytes of encoded responses that wait.
    bytes: Cell<usize>,
    /// A sync is waited for.
    waiting: Cell<bool>,
    /// The session's task.
    waker: RefCell<Option<Waker>>,
    /// Notified when responses were taken.
    pub drained: Notify,
}

impl ResponseQueue {
    /// Queues an acknowledgement; when many wait, it replaces the one right before it.
    pub fn ack(&self, durable_at: Position, ack: u64, read_at: Duration) {
        let mut queue = self.queue.borrow_mut();
        let full = queue.len() >= RESPONSES_MAX / 2;
        match queue.back_mut() {
            Some(Response::Ack { durable_at: at, ack: last, .. }) if full => (*at, *last) = (durable_at, ack),
            _ => queue.push_back(Response::Ack { durable_at, ack, read_at }),
        }
    }

    /// Queues a response of another kind. The caller has waited for [`ResponseQueue::has_room`], except for the close
    /// reason.
    pub fn push(&self, durable_at: Position, bytes: Vec<u8>) {
        self.put(durable_at, bytes, None);
    }

    /// Queues replies that acknowledge messages; the caller waits for [`ResponseQueue::has_room`] afterwards.
    pub fn replies(&self, durable_at: Position, bytes: Vec<u8>, read_at: Duration) {
        self.put(durable_at, bytes, Some(read_at));
    }

    fn put(&self, durable_at: Position, bytes: Vec<u8>, read_at: Option<Duration>) {
        self.bytes.set(self.bytes.get() + bytes.len());
        self.queue.borrow_mut().push_back(Response::Encoded { durable_at, bytes, read_at });
    }

    /// Whether more responses may be queued: few accumulate for a device that does not read.
    pub fn has_room(&self) -> bool {
        self.bytes.get() < RESPONSE_BYTES_MAX && self.queue.borrow().len() < RESPONSES_MAX
    }

    /// How many refusals wait.
    pub fn unsent_refusals(&self) -> usize {
        let is_refusal = |response: &&Response| matches!(response, Response::Encoded { read_at: None, .. });
        self.queue.borrow().iter().filter(is_refusal).count()
    }

    /// Drops what waits: nobody will write it.
    pub fn clear(&self) {
        *self.queue.borrow_mut() = VecDeque::new();
        self.bytes.set(0);
    }

    /// No more responses will come.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// Whether all is written and no more will come.
    pub fn is_done(&self) -> bool {
        self.ended.get() && self.queue.borrow().is_empty()
    }

    /// The position that the first response waits for, unless it is being waited for already.
    pub fn next_awaited(&self) -> Option<Position> {
        let queue = self.queue.borrow();
        let until = queue.front()?.durable_at();
        (!self.waiting.replace(true)).then_some(until)
    }

    /// The task to wake by [`ResponseQueue::synced`].
    pub fn register(&self, task: &Waker) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(task)) {
            *waker = Some(task.clone());
        }
    }

    /// The commit has come, or never will.
    pub fn synced(&self) {
        self.waiting.set(false);
        if let Some(task) = &*self.waker.borrow() {
            task.wake_by_ref();
        }
    }

    /// Takes the responses at the front that may leave; of consecutive acknowledgements only the last. Returns whether
    /// there were any.
    pub fn drain_ready(&self, durable: Position, mut take: impl FnMut(Response)) -> bool {
        let mut queue = self.queue.borrow_mut();
        let (mut any, mut last): (bool, Option<Response>) = (false, None);
        while let Some(response) = queue.pop_front_if(|front| front.durable_at() <= durable) {
            any = true;
            if let Response::Encoded { bytes, .. } = &response {
                self.bytes.set(self.bytes.get().saturating_sub(bytes.len()));
            }
            match (&mut last, &response) {
                (Some(Response::Ack { ack: last, .. }), Response::Ack { ack, .. }) => *last = *ack,
                _ => {
                    if let Some(before) = last.replace(response) {
                        take(before);
                    }
                }
            }
        }
        if let Some(last) = last {
            take(last);
        }
        if any {
            self.drained.notify_one();
        }
        if queue.is_empty() {
            // An idle session holds no queue.
            *queue = VecDeque::new();
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(position: u64) -> Position {
        Position::new(position)
    }

    fn ready(responses: &ResponseQueue, durable: Position) -> Vec<Response> {
        let mut ready = Vec::new();
        let any = responses.drain_ready(durable, |response| ready.push(response));
        assert_eq!(any, !ready.is_empty());
        ready
    }

    fn ack(position: u64, ack: u64) -> Response {
        Response::Ack { durable_at: at(position), ack, read_at: Duration::ZERO }
    }

    #[test]
    fn nothing_leaves_before_it_is_durable_and_acks_become_one() {
        let responses = ResponseQueue::default();
        responses.ack(at(10), 1, Duration::ZERO);
        responses.ack(at(20), 2, Duration::ZERO);
        responses.push(at(0), b"refusal".to_vec());
        responses.ack(at(30), 3, Duration::ZERO);
        assert_eq!(ready(&responses, at(9)), []);
        let refusal = Response::Encoded { durable_at: at(0), bytes: b"refusal".to_vec(), read_at: None };
        assert_eq!(ready(&responses, at(20)), [ack(10, 2), refusal]);
        responses.end();
        assert!(!responses.is_done());
        assert_eq!(ready(&responses, at(30)), [ack(30, 3)]);
        assert!(responses.is_done());
    }

    #[test]
    fn a_device_that_does_not_read_holds_bounded_memory() {
        let responses = ResponseQueue::default();
        for number in 0..10_000 {
            responses.ack(at(number), number, Duration::ZERO);
        }
        assert!(responses.queue.borrow().len() <= RESPONSES_MAX);
        while responses.has_room() {
            responses.push(at(0), Vec::new());
            responses.ack(at(9_999), 9_999, Duration::ZERO);
        }
        assert!(responses.queue.borrow().len() <= RESPONSES_MAX + 1);
        let ready = ready(&responses, at(10_000));
        assert_eq!(ready.first().map(|a| matches!(a, Response::Ack { ack: 9_999, .. })), Some(true));
        let responses = ResponseQueue::default();
        while responses.has_room() {
            responses.push(at(0), vec![0; 1000]);
        }
        assert!(
            responses.bytes.get() < RESPONSE_BYTES_MAX + 1000 && responses.unsent_refusals() < RESPONSES_MAX
        );
    }
}
