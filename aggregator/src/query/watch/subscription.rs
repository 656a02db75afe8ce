//! A subscription: what it must still be sent, and what waits for its reader.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use catchment_proto::{
    OperatorId,
    wire::{WatchReset, WatchResponse, watch_response::Kind},
};
use tonic::Status;

use super::{
    dirty::{Dirty, DirtyRange},
    request::{FROM_MS, TO_MS},
    shares::{Held, Share},
    token::Token,
    watched::Watched,
};
use crate::{
    access::Disconnect,
    query::{groups::Group, read::Piece},
};

/// Most dirty ranges of a subscription, besides some for each group.
const DIRTY_MAX: usize = 512;
const DIRTY_PER_GROUP: usize = 2;

/// What a subscription was opened with, and where its messages go.
pub(super) struct Subscription {
    /// Never reused.
    pub(super) id: u64,
    pub(super) operator: OperatorId,
    pub(super) disconnect: Disconnect,
    pub(super) share: Arc<Share>,
    pub(super) watched: Arc<Watched>,
    /// Start of its first point, Unix milliseconds.
    pub(super) from_ms: i64,
    pub(super) open_windows: bool,
    /// Its reader is gone, or it has ended.
    pub(super) ended: Arc<AtomicBool>,
    pending: Mutex<Pending>,
    pub(super) outbox: Outbox,
}

/// What has to be sent.
#[derive(Default)]
pub(super) struct Pending {
    /// It has not been started: the token that it continues from, if any.
    pub(super) start: Option<Option<Token>>,
    pub(super) dirty: Dirty,
    /// All points of this range, after a message that says why, if there is a reason.
    pub(super) span: Option<Span>,
    /// The round in progress: what it still has to read.
    pub(super) round: Option<Round>,
    /// It waits for its round, or has it.
    pub(super) scheduled: bool,
    /// No round before this time.
    pub(super) not_before: Option<Instant>,
    /// Number of changes that were merged because the reader was behind.
    pub(super) merged: u64,
    /// The last progress sent.
    pub(super) sent: Option<Sent>,
    /// Memory of its series.
    pub(super) held: Option<Held>,
    /// Stored rows are damaged from this time on, Unix milliseconds.
    pub(super) damaged_from_ms: Option<i64>,
}

/// A range of which all points are to be sent, Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    /// Announced with this reason.
    pub(super) reason: Option<&'static str>,
}

/// A round in progress.
pub(super) struct Round {
    pub(super) pieces: VecDeque<Piece>,
    /// Changes before this place are in the round, or were sent before.
    pub(super) cursor: u64,
}

/// What was last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) cursor: u64,
    pub(super) complete_until_ms: Option<i64>,
    pub(super) merged: u64,
    pub(super) at: Instant,
}

/// Who opens a subscription.
pub(super) struct Opener {
    pub(super) operator: OperatorId,
    pub(super) disconnect: Disconnect,
    pub(super) share: Arc<Share>,
}

impl Subscription {
    pub(super) fn new(
        id: u64,
        opener: Opener,
        watched: Arc<Watched>,
        (from_ms, open_windows): (i64, bool),
        resume: Option<Token>,
    ) -> Arc<Self> {
        let Opener { operator, disconnect, share } = opener;
        let pending = Pending { start: Some(resume), scheduled: true, ..Pending::default() };
        Arc::new(Self {
            id,
            operator,
            disconnect,
            share,
            watched,
            from_ms,
            open_windows,
            ended: Arc::default(),
            pending: Mutex::new(pending),
            outbox: Outbox::default(),
        })
    }

    /// Locked last of all.
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that whole points have changed; returns true if it has to be scheduled, which the caller then does.
    pub(super) fn mark(&self, group: u32, (from_ms, to_ms): (i64, i64), groups: usize) -> bool {
        let range = DirtyRange { group, from_ms: from_ms.max(self.from_ms), to_ms };
        if range.from_ms >= range.to_ms {
            return false;
        }
        let pending = &mut *self.pending();
        // Under the lock: a reader that reads the last message meanwhile then finds what is added here.
        let behind = self.outbox.is_unread();
        let covers = |span: &Span| span.from_ms <= range.from_ms && range.to_ms <= span.to_ms;
        let merged = match &pending.span {
            Some(span) if covers(span) => Some((range.from_ms, range.to_ms)),
            _ => pending.dirty.add(range),
        };
        if let (true, Some((from_ms, to_ms))) = (behind, merged) {
            let points = self.watched.range(from_ms, to_ms).points();
            pending.merged = pending.merged.saturating_add(points);
        }
        if pending.dirty.len() > DIRTY_MAX + DIRTY_PER_GROUP * groups
            && let Some((from_ms, to_ms)) = pending.dirty.hull()
        {
            drop(pending.dirty.take());
            pending.reset(Span { from_ms, to_ms, reason: Some(TOO_SLOW) });
        }
        !behind && !std::mem::replace(&mut pending.scheduled, true)
    }

    /// Notes that any point may have changed.
    pub(super) fn reset_all(&self, reason: &'static str) -> bool {
        let pending = &mut *self.pending();
        drop(pending.dirty.take());
        pending.reset(Span { from_ms: self.from_ms, to_ms: TO_MS, reason: Some(reason) });
        !self.outbox.is_unread() && !std::mem::replace(&mut pending.scheduled, true)
    }

    /// Whether it has to be scheduled because nothing was reported for so long; the caller then does it.
    pub(super) fn wants_heartbeat(&self, now: Instant, every: Duration) -> bool {
        let pending = &mut *self.pending();
        let silent = pending.sent.is_none_or(|sent| now.saturating_duration_since(sent.at) >= every);
        (silent || pending.has_work())
            && !self.outbox.is_unread()
            && !std::mem::replace(&mut pending.scheduled, true)
    }

    /// Whether it has to be scheduled now that its reader has read everything; the caller then does it.
    pub(super) fn wants_round(&self) -> bool {
        let pending = &mut *self.pending();
        pending.has_work() && !std::mem::replace(&mut pending.scheduled, true)
    }
}

/// Why a range is sent again.
const TOO_SLOW: &str = "more points have changed than are remembered for a reader that is this slow";

impl Pending {
    /// Adds a range of which all points are to be sent.
    pub(super) fn reset(&mut self, span: Span) {
        self.span = Some(match self.span.take() {
            None => span,
            Some(known) => Span {
                from_ms: known.from_ms.min(span.from_ms),
                to_ms: known.to_ms.max(span.to_ms),
                reason: span.reason.or(known.reason),
            },
        });
    }

    /// Whether there is something to send.
    pub(super) fn has_work(&self) -> bool {
        self.start.is_some() || self.round.is_some() || self.span.is_some() || !self.dirty.is_empty()
    }

    /// Begins a round that includes all changes before a place in the log. Returns the announcement of a reset.
    pub(super) fn begin_round(
        &mut self,
        (watched, groups): (&Watched, &[Arc<Group>]),
        cursor: u64,
        now_ms: i64,
    ) -> Option<WatchReset> {
        let mut pieces = VecDeque::new();
        let mut announced = None;
        if let Some(Span { from_ms, to_ms, reason }) = self.span.take() {
            let range = watched.range(from_ms, to_ms);
            pieces
                .extend(groups.iter().map(|group| Piece { group: Arc::clone(group), range: range.clone() }));
            // Points of the future are sent too, but nobody has to expect them.
            let known_ms = watched.points(now_ms, now_ms).1;
            announced = reason.map(|reason| WatchReset {
                from_ms: from_ms.max(FROM_MS),
                to_ms: to_ms.min(known_ms.max(from_ms)),
                reason: reason.to_owned(),
            });
        }
        pieces.extend(self.dirty.take().filter_map(|DirtyRange { group, from_ms, to_ms }| {
            let group = Arc::clone(groups.get(group as usize)?);
            Some(Piece { group, range: watched.range(from_ms, to_ms) })
        }));
        self.round = Some(Round { pieces, cursor });
        announced
    }
}

/// The messages that wait for the reader, and the end.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Messages>);

#[derive(Default)]
struct Messages {
    queue: VecDeque<WatchResponse>,
    /// Memory of the queue.
    held: Option<Held>,
    end: Option<Status>,
    /// The end was read, or nobody reads any more.
    over: bool,
    reader: Option<Waker>,
    /// Since when the reader has read nothing although there is something.
    unread_since: Option<Instant>,
}

/// What the reader gets.
pub(super) enum Next {
    /// A message; `drained`: it was the last one for now.
    Message { message: WatchResponse, drained: bool },
    /// The end.
    End(Option<Status>),
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages wait for the reader.
    pub(super) fn is_unread(&self) -> bool {
        !self.lock().queue.is_empty()
    }

    /// Puts messages, and what they hold.
    pub(super) fn put(&self, kinds: impl IntoIterator<Item = Kind>, held: Option<Held>) {
        let mut messages = self.lock();
        if messages.over || messages.end.is_some() {
            return;
        }
        messages.queue.extend(kinds.into_iter().map(|kind| WatchResponse { kind: Some(kind) }));
        if messages.queue.is_empty() {
            return;
        }
        messages.held = held.or(messages.held.take());
        messages.unread_since.get_or_insert_with(Instant::now);
        wake(messages);
    }

    /// Ends the messages: with this status after those that wait, or in their place.
    pub(super) fn end(&self, status: Status, in_place: bool) {
        let mut messages = self.lock();
        if in_place {
            messages.queue.clear();
            messages.held = None;
        }
        if !messages.over {
            messages.end.get_or_insert(status);
            // The end has as long to be read as messages have.
            messages.unread_since = Some(Instant::now());
        }
        wake(messages);
    }

    /// Nobody reads any more.
    pub(super) fn abandon(&self) {
        let mut messages = self.lock();
        *messages = Messages { over: true, ..Messages::default() };
    }

    /// How long the reader has read nothing although there is something.
    pub(super) fn unread(&self, now: Instant) -> Option<Duration> {
        self.lock().unread_since.map(|since| now.saturating_duration_since(since))
    }

    /// Whether the end was read, or nobody reads any more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// The next message, or the end.
    pub(super) fn poll_read(&self, context: &mut Context<'_>) -> Poll<Next> {
        let messages = &mut *self.lock();
        if let Some(message) = messages.queue.pop_front() {
            let drained = messages.queue.is_empty();
            if drained {
                messages.held = None;
            }
            let more = !drained || messages.end.is_some();
            messages.unread_since = more.then(Instant::now);
            return Poll::Ready(Next::Message { message, drained });
        }
        if messages.over || messages.end.is_some() {
            messages.over = true;
            messages.unread_since = None;
            return Poll::Ready(Next::End(messages.end.take()));
        }
        messages.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Wakes the reader outside the lock: a waker takes other locks.
fn wake(mut messages: MutexGuard<'_, Messages>) {
    let reader = messages.reader.take();
    drop(messages);
    if let Some(reader) = reader {
        reader.wake();
    }
}
