//! What a session's worker and its accept loop may do to it: see when it was heard last, and end it.
//!
//! The worker looks at its sessions in turn for those that have been idle for too long, a few at a time: a timer for
//! each would cost an idle session more memory than all else that is kept here.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Bound,
    rc::{Rc, Weak},
    time::Duration,
};

use catchment_settings::connection_slots::ConnectionSlot;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Context, End, unfinished::Unfinished};
use crate::{
    config::{Config, Patience},
    device::SessionId,
};

/// How often each session is looked at within the time that it may be idle.
const LOOKS: u32 = 8;
/// Sessions looked at in one turn.
const SLICE: usize = 512;
/// How often the worker looks.
const LOOK_MIN: Duration = Duration::from_millis(25);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// A session, seen from outside.
#[derive(Debug)]
pub struct Vitals {
    /// Cancelled when the session must end.
    pub end: CancellationToken,
    heard: Cell<Instant>,
    why: Cell<Option<End>>,
    delivered: Cell<bool>,
    /// It counts among the connections of its device, or was refused: a message has come.
    pub(super) admitted: Cell<bool>,
    /// The device closed its side when it was told that the session ends: its program lives.
    answered: Cell<bool>,
    /// The device has said that it will be heard within this.
    promise: Cell<Option<Duration>>,
    slot: Option<ConnectionSlot>,
}

impl Vitals {
    /// A session that begins. When its slot is taken away it ends.
    pub fn new(end: CancellationToken, slot: Option<ConnectionSlot>) -> Rc<Self> {
        if let Some(slot) = &slot {
            let end = end.clone();
            slot.on_evict(move || end.cancel());
        }
        let heard = Cell::new(Instant::now());
        let (why, promise) = (Cell::default(), Cell::default());
        let (delivered, admitted, answered) = (Cell::default(), Cell::default(), Cell::default());
        Rc::new(Self { end, heard, why, delivered, admitted, answered, promise, slot })
    }

    /// The session must end, for this reason unless there was one before.
    pub(super) fn end_as(&self, why: End) {
        if self.why.get().is_none() {
            self.why.set(Some(why));
        }
        self.end.cancel();
    }

    /// Why the session must end, if this was the reason.
    pub(super) fn why(&self) -> Option<End> {
        let evicted = || self.slot.as_ref().is_some_and(ConnectionSlot::is_evicted);
        self.why.get().or_else(|| evicted().then_some(End::GaveWay))
    }

    /// The device's last message ended then.
    pub(super) fn hear(&self, now: Instant) {
        self.heard.set(now);
    }

    /// When the device's last message ended, or the session began.
    pub(super) fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// The device has closed its side in order, or sent something, after its last answer.
    pub(super) fn answer(&self) {
        self.answered.set(true);
    }

    /// How long a session was silent that has ended and whose program lives all the same.
    pub fn silence_of_the_living(&self) -> Option<Duration> {
        self.answered.get().then(|| self.heard.get().elapsed())
    }

    /// The device has said how long it may be silent; `None` for any time.
    pub(super) fn promise(&self, silence_max: Option<Duration>) {
        self.promise.set(silence_max);
    }

    /// The device has delivered something: it gives its slot to nobody.
    pub(super) fn deliver(&self) {
        if !self.delivered.replace(true)
            && let Some(slot) = &self.slot
        {
            slot.mark_used();
        }
    }
}

/// What the sessions of a worker may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    patience: Patience,
    silent_after: Duration,
    unfinished_bytes: usize,
}

impl Bounds {
    /// Those of one of so many workers. Its share of the bytes of unfinished messages has room for two messages at
    /// least, and for what was read with them.
    pub fn of(config: &Config, workers: u32) -> Self {
        const BESIDE: usize = 256 << 10;
        let share = config.unfinished_bytes_max / usize::try_from(workers.max(1)).unwrap_or(1);
        let unfinished_bytes = share.max(2 * config.message_bytes_max + BESIDE);
        Self { patience: config.patience, silent_after: config.sessions_silent_after, unfinished_bytes }
    }
}

/// The sessions of a worker.
#[derive(Debug)]
pub struct Sitting {
    /// How long a device may take.
    pub(super) patience: Patience,
    /// Without a message for so long, a session does not count as alive.
    silent_after: Duration,
    /// What they hold of messages that are not whole.
    pub(super) unfinished: Unfinished,
    sessions: RefCell<BTreeMap<SessionId, Weak<Vitals>>>,
    /// Up to here they were looked at in this round.
    last: Cell<SessionId>,
}

impl Sitting {
    /// Nobody, yet.
    pub fn new(bounds: Bounds) -> Self {
        let Bounds { patience, silent_after, unfinished_bytes } = bounds;
        let (sessions, last) = (RefCell::default(), Cell::default());
        Self { patience, silent_after, unfinished: Unfinished::new(unfinished_bytes), sessions, last }
    }

    /// A session begins.
    pub fn enter(&self, id: SessionId, vitals: &Rc<Vitals>) {
        self.sessions.borrow_mut().insert(id, Rc::downgrade(vitals));
    }

    /// How long a session has been silent, unless it counts as alive: its device was heard within `silent_after`, or
    /// keeps the promise that it made (the keep-alive of MQTT, which ends a session that does not).
    pub fn silence(&self, id: SessionId, now: Instant) -> Option<Duration> {
        let Some(vitals) = self.sessions.borrow().get(&id).and_then(Weak::upgrade) else {
            return Some(Duration::MAX);
        };
        let silent = now.saturating_duration_since(vitals.heard());
        (silent >= vitals.promise.get().unwrap_or(self.silent_after)).then_some(silent)
    }

    /// Ends a session.
    pub fn end(&self, id: SessionId, why: End) {
        if let Some(vitals) = self.sessions.borrow().get(&id).and_then(Weak::upgrade) {
            vitals.end_as(why);
        }
    }

    /// A session has ended.
    pub fn leave(&self, id: SessionId) {
        self.sessions.borrow_mut().remove(&id);
    }

    /// Looks at the share of the sessions that is due after `step`, and ends those that were idle for too long.
    fn look(&self, now: Instant, step: Duration) {
        let idle = self.patience.idle;
        let sessions = self.sessions.borrow();
        let part = step.as_secs_f64() * f64::from(LOOKS) / idle.as_secs_f64().max(1e-3);
        // Rounded up; the cast saturates.
        let count = ((sessions.len() as f64 * part).ceil() as usize).clamp(1, SLICE);
        let from = (Bound::Excluded(self.last.get()), Bound::Unbounded);
        let mut seen = 0;
        for (id, vitals) in sessions.range(from).take(count) {
            seen += 1;
            self.last.set(*id);
            if let Some(vitals) = vitals.upgrade()
                && now.saturating_duration_since(vitals.heard()) >= idle
            {
                vitals.end_as(End::Idle);
            }
        }
        if seen < count {
            self.last.set(0);
        }
    }
}

/// Ends the worker's sessions that are idle for too long, and tells how many bytes of unfinished messages it holds.
pub async fn watch(context: Rc<Context>) {
    let idle = context.sitting.patience.idle;
    let step = (idle / LOOKS).clamp(LOOK_MIN, LOOK_MAX);
    let mut ticks = interval(step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = 0;
    loop {
        ticks.tick().await;
        context.sitting.look(Instant::now(), step);
        let held = i64::try_from(context.sitting.unfinished.held()).unwrap_or(i64::MAX);
        context.metrics.unfinished_bytes.inc_by(held - shown);
        shown = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_idle_end_within_an_eighth_and_the_others_stay() {
        let step = Duration::from_secs(1);
        let patience = Patience { first_byte: step, message: step, idle: 80 * step };
        let sitting = Sitting::new(Bounds { patience, silent_after: step, unfinished_bytes: 1 });
        let sessions: Vec<_> =
            (1..=100).map(|id| (id, Vitals::new(CancellationToken::new(), None))).collect();
        sessions.iter().for_each(|(id, vitals)| sitting.enter(*id, vitals));
        for second in 0..92_u64 {
            tokio::time::sleep(step).await;
            for (id, vitals) in &sessions {
                assert!(second > 77 || !vitals.end.is_cancelled());
                if id % 2 == 0 && second % 40 == 0 {
                    vitals.hear(Instant::now());
                }
            }
            sitting.look(Instant::now(), step);
        }
        for (id, vitals) in &sessions {
            assert_eq!(vitals.why(), (id % 2 == 1).then_some(End::Idle), "{id}");
            sitting.leave(*id);
        }
        assert!(sitting.sessions.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn alive_is_who_was_heard_or_keeps_its_promise() {
        let second = Duration::from_secs(1);
        let patience = Patience { first_byte: second, message: second, idle: 80 * second };
        let sitting = Sitting::new(Bounds { patience, silent_after: 10 * second, unfinished_bytes: 1 });
        let (plain, mqtt) =
            (Vitals::new(CancellationToken::new(), None), Vitals::new(CancellationToken::new(), None));
        sitting.enter(1, &plain);
        sitting.enter(2, &mqtt);
        mqtt.promise(Some(60 * second));
        tokio::time::sleep(9 * second).await;
        let silence = |id| sitting.silence(id, Instant::now());
        assert_eq!((silence(1), silence(2), silence(3)), (None, None, Some(Duration::MAX)));
        tokio::time::sleep(second).await;
        assert_eq!((silence(1), silence(2)), (Some(10 * second), None));
        plain.hear(Instant::now());
        assert_eq!(silence(1), None);
        sitting.end(1, End::Displaced);
        assert_eq!((plain.why(), plain.end.is_cancelled()), (Some(End::Displaced), true));
        tokio::time::sleep(60 * second).await;
        assert_eq!(silence(2), Some(70 * second));
    }

    #[tokio::test]
    async fn a_place_is_kept_from_the_first_delivery_on() {
        let slots = catchment_settings::connection_slots::ConnectionSlots::new(1, 1);
        let addr = std::net::Ipv4Addr::LOCALHOST.into();
        let silent = Vitals::new(CancellationToken::new(), slots.try_acquire(addr).ok());
        let next = Vitals::new(CancellationToken::new(), slots.try_acquire(addr).ok());
        assert!(silent.end.is_cancelled());
        assert_eq!((silent.why(), next.why()), (Some(End::GaveWay), None));
        next.deliver();
        assert!(slots.try_acquire(addr).is_err());
        drop((silent, next));
        assert_eq!(slots.taken(), 0);
    }
}
