//! What goes back to the device, in order: acknowledgements once they are durable, welcomes, refusals.
//!
//! Bounded: acknowledgements behind one another become one, and who makes any other answer waits for room first
//! (see `room`).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    task::Waker,
    time::Duration,
};

use catchment_journal::Position;
use tokio::sync::Notify;

/// Answers that wait to be written; beyond, no more is read from the device.
const ANSWERS_MAX: usize = 256;
/// Likewise their bytes.
const ANSWER_BYTES_MAX: usize = 32 << 10;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Everything up to the number is durable once the journal is synced up to the position.
    Ack {
        /// Durable once the journal is synced up to here.
        durable_at: Position,
        /// The number.
        ack: u64,
        /// When the message was read, by the clock that does not jump.
        read_at: Duration,
    },
    /// An encoded answer that may leave once the journal is synced up to the position.
    Encoded {
        /// Durable once the journal is synced up to here.
        durable_at: Position,
        /// What is written.
        bytes: Vec<u8>,
        /// When the message was read that is acknowledged, if one is.
        read_at: Option<Duration>,
    },
}

impl Answer {
    /// It may leave once the journal is synced up to here.
    const fn durable_at(&self) -> Position {
        let (Self::Ack { durable_at, .. } | Self::Encoded { durable_at, .. }) = self;
        *durable_at
    }
}

/// The answers of a session, between the half that reads and the half that writes.
///
/// Both run in one task and the writing half is polled after the reading half, so new answers wake nobody; a sync of
/// the journal does ([`super::syncs`]).
#[derive(Debug, Default)]
pub struct Answers {
    queue: RefCell<VecDeque<Answer>>,
    ended: Cell<bool>,
    /// Bytes of encoded answers that wait.
    bytes: Cell<usize>,
    /// A sync is waited for.
    waits: Cell<bool>,
    /// The session's task.
    waker: RefCell<Option<Waker>>,
    /// Told when answers were taken.
    pub taken: Notify,
}

impl Answers {
    /// An acknowledgement; takes the place of one that waits right before it when many wait.
    pub fn ack(&self, durable_at: Position, ack: u64, read_at: Duration) {
        let mut queue = self.queue.borrow_mut();
        let full = queue.len() >= ANSWERS_MAX / 2;
        match queue.back_mut() {
            Some(Answer::Ack { durable_at: at, ack: last, .. }) if full => (*at, *last) = (durable_at, ack),
            _ => queue.push_back(Answer::Ack { durable_at, ack, read_at }),
        }
    }

    /// An answer of another kind. Whoever makes it has waited for [`Answers::has_room`], but for one last word.
    pub fn push(&self, durable_at: Position, bytes: Vec<u8>) {
        self.put(durable_at, bytes, None);
    }

    /// Replies that acknowledge messages; whoever makes them waits for [`Answers::has_room`] afterwards.
    pub fn replies(&self, durable_at: Position, bytes: Vec<u8>, read_at: Duration) {
        self.put(durable_at, bytes, Some(read_at));
    }

    fn put(&self, durable_at: Position, bytes: Vec<u8>, read_at: Option<Duration>) {
        self.bytes.set(self.bytes.get() + bytes.len());
        self.queue.borrow_mut().push_back(Answer::Encoded { durable_at, bytes, read_at });
    }

    /// Whether more answers may be made: few gather for a device that does not read.
    pub fn has_room(&self) -> bool {
        self.bytes.get() < ANSWER_BYTES_MAX && self.queue.borrow().len() < ANSWERS_MAX
    }

    /// How many answers wait that say what was not taken.
    pub fn untold(&self) -> usize {
        let tells = |answer: &&Answer| matches!(answer, Answer::Encoded { read_at: None, .. });
        self.queue.borrow().iter().filter(tells).count()
    }

    /// No more answers will come.
    pub fn end(&self) {
        self.ended.set(true);
    }

    /// Whether all is written and no more will come.
    pub fn is_done(&self) -> bool {
        self.ended.get() && self.queue.borrow().is_empty()
    }

    /// What the answer in front waits for, unless that is being waited for already.
    pub fn awaits(&self) -> Option<Position> {
        let queue = self.queue.borrow();
        let until = queue.front()?.durable_at();
        (!self.waits.replace(true)).then_some(until)
    }

    /// The task to wake by [`Answers::synced`].
    pub fn register(&self, task: &Waker) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(task)) {
            *waker = Some(task.clone());
        }
    }

    /// The sync has come, or will not come any more.
    pub fn synced(&self) {
        self.waits.set(false);
        if let Some(task) = &*self.waker.borrow() {
            task.wake_by_ref();
        }
    }

    /// Takes the answers in front that may leave; of acknowledgements behind one another only the last. Returns
    /// whether there were any.
    pub fn ready(&self, durable: Position, mut take: impl FnMut(Answer)) -> bool {
        let mut queue = self.queue.borrow_mut();
        let (mut any, mut last): (bool, Option<Answer>) = (false, None);
        while let Some(answer) = queue.pop_front_if(|front| front.durable_at() <= durable) {
            any = true;
            if let Answer::Encoded { bytes, .. } = &answer {
                self.bytes.set(self.bytes.get().saturating_sub(bytes.len()));
            }
            match (&mut last, &answer) {
                (Some(Answer::Ack { ack: last, .. }), Answer::Ack { ack, .. }) => *last = *ack,
                _ => {
                    if let Some(before) = last.replace(answer) {
                        take(before);
                    }
                }
            }
        }
        if let Some(last) = last {
            take(last);
        }
        if any {
            self.taken.notify_one();
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

    fn ready(answers: &Answers, durable: Position) -> Vec<Answer> {
        let mut ready = Vec::new();
        let any = answers.ready(durable, |answer| ready.push(answer));
        assert_eq!(any, !ready.is_empty());
        ready
    }

    fn ack(position: u64, ack: u64) -> Answer {
        Answer::Ack { durable_at: at(position), ack, read_at: Duration::ZERO }
    }

    #[test]
    fn nothing_leaves_before_it_is_durable_and_acks_become_one() {
        let answers = Answers::default();
        answers.ack(at(10), 1, Duration::ZERO);
        answers.ack(at(20), 2, Duration::ZERO);
        answers.push(at(0), b"refusal".to_vec());
        answers.ack(at(30), 3, Duration::ZERO);
        assert_eq!(ready(&answers, at(9)), []);
        let refusal = Answer::Encoded { durable_at: at(0), bytes: b"refusal".to_vec(), read_at: None };
        assert_eq!(ready(&answers, at(20)), [ack(10, 2), refusal]);
        answers.end();
        assert!(!answers.is_done());
        assert_eq!(ready(&answers, at(30)), [ack(30, 3)]);
        assert!(answers.is_done());
    }

    #[test]
    fn a_device_that_does_not_read_holds_bounded_memory() {
        let answers = Answers::default();
        for number in 0..10_000 {
            answers.ack(at(number), number, Duration::ZERO);
        }
        assert!(answers.queue.borrow().len() <= ANSWERS_MAX);
        while answers.has_room() {
            answers.push(at(0), Vec::new());
            answers.ack(at(9_999), 9_999, Duration::ZERO);
        }
        assert!(answers.queue.borrow().len() <= ANSWERS_MAX + 1);
        let ready = ready(&answers, at(10_000));
        assert_eq!(ready.first().map(|a| matches!(a, Answer::Ack { ack: 9_999, .. })), Some(true));
        let answers = Answers::default();
        while answers.has_room() {
            answers.push(at(0), vec![0; 1000]);
        }
        assert!(answers.bytes.get() < ANSWER_BYTES_MAX + 1000 && answers.untold() < ANSWERS_MAX);
    }
}
