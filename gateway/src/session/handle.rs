//! A session, seen from outside: when it was heard last, and how to end it.

use std::{cell::Cell, rc::Rc, time::Duration};

use catchment_settings::connection_slots::ConnectionSlot;
use tokio::time::Instant;

use super::{close_reason::CloseReason, end_signal::EndSignal};

/// A session, seen from outside.
#[derive(Debug)]
pub struct SessionHandle {
    end: EndSignal,
    last_message: Cell<Instant>,
    /// How long the session was held back since that was asked last.
    held_back: Cell<Duration>,
    delivered: Cell<bool>,
    /// The device closed its side after the error that ends the session: its program lives.
    alive_after_close: Cell<bool>,
    /// The connection was found broken while the session waited.
    broken: Cell<bool>,
    /// The device has said that it will be heard within this.
    silence_max: Cell<Option<Duration>>,
    slot: Option<ConnectionSlot>,
}

impl SessionHandle {
    /// A session that begins. When its slot is taken away it ends.
    pub fn new(end: EndSignal, slot: Option<ConnectionSlot>) -> Rc<Self> {
        if let Some(slot) = &slot {
            let end = end.clone();
            slot.on_evict(move || end.end(CloseReason::GaveWay));
        }
        let last_message = Cell::new(Instant::now());
        let (silence_max, held_back) = (Cell::default(), Cell::default());
        let (delivered, alive_after_close, broken) = (Cell::default(), Cell::default(), Cell::default());
        Rc::new(Self {
            end,
            last_message,
            held_back,
            delivered,
            alive_after_close,
            broken,
            silence_max,
            slot,
        })
    }

    /// The session must end, for this reason unless there was one before.
    pub(super) fn close_as(&self, why: CloseReason) {
        self.end.end(why);
    }

    /// Why the session must end, if it was ended from outside; not when the gateway stops.
    pub(super) fn why(&self) -> Option<CloseReason> {
        self.end.why()
    }

    /// Resolves when the session must end, with the reason.
    pub(super) async fn ended(&self) -> CloseReason {
        self.end.ended().await;
        self.why().unwrap_or(CloseReason::Stopping)
    }

    /// Notes when the device's last message ended.
    pub(super) fn record_message(&self, now: Instant) {
        self.last_message.set(now);
    }

    /// The session is not read for so long, from now on: no deadline of the device runs meanwhile.
    pub(super) fn hold_back(&self, pause: Duration) {
        self.last_message.set(self.last_message.get() + pause);
        self.held_back.set(self.held_back.get() + pause);
    }

    /// How long the session was held back since the last call.
    pub(super) fn take_held_back(&self) -> Duration {
        self.held_back.take()
    }

    /// When the device's last message ended, or the session began.
    pub(super) fn last_message_at(&self) -> Instant {
        self.last_message.get()
    }

    /// The connection is broken. The session may wait on with what it has read, but its place is free for another one.
    pub(super) fn record_broken(&self) {
        self.broken.set(true);
    }

    /// The connection was found broken.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// The device has closed its side in order, or sent something, after its last answer.
    pub(super) fn record_alive(&self) {
        self.alive_after_close.set(true);
    }

    /// How long the session had been silent when it ended, if its program turned out to live.
    pub fn silence_if_alive(&self) -> Option<Duration> {
        self.alive_after_close.get().then(|| self.last_message.get().elapsed())
    }

    /// The device has said how long it may be silent; `None` for any time.
    pub(super) fn set_silence_max(&self, silence_max: Option<Duration>) {
        self.silence_max.set(silence_max);
    }

    /// How long the device has said that it may be silent.
    pub(super) fn silence_max(&self) -> Option<Duration> {
        self.silence_max.get()
    }

    /// The device has delivered something: its slot is not given away.
    pub(super) fn mark_delivered(&self) {
        if !self.delivered.replace(true)
            && let Some(slot) = &self.slot
        {
            slot.mark_used();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn a_place_is_kept_from_the_first_delivery_on() {
        let slots = catchment_settings::connection_slots::ConnectionSlots::new(1, 1);
        let addr = std::net::Ipv4Addr::LOCALHOST.into();
        let silent =
            SessionHandle::new(EndSignal::new(CancellationToken::new()), slots.try_acquire(addr).ok());
        let next = SessionHandle::new(EndSignal::new(CancellationToken::new()), slots.try_acquire(addr).ok());
        assert!(silent.end.is_ended());
        assert_eq!((silent.why(), next.why()), (Some(CloseReason::GaveWay), None));
        next.mark_delivered();
        assert!(slots.try_acquire(addr).is_err());
        drop((silent, next));
        assert_eq!(slots.taken(), 0);
    }
}
