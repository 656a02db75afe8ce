//! The sessions of a worker: which of them are alive, and which have been idle for too long.
//!
//! The worker checks its sessions for idle ones in turn, a few at a time: a timer for each would cost an idle session
//! more memory than everything else that is kept here.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ops::Bound,
    rc::{Rc, Weak},
    time::Duration,
};

use catchment_settings::token_bucket::Rate;
use tokio::time::Instant;

use super::{
    close_reason::CloseReason, handle::SessionHandle, unfinished::UnfinishedMessages, waiting::WaitingBytes,
};
use crate::{
    config::{Config, Deadlines},
    device::SessionId,
};

/// How often each session is checked within the time that it may be idle.
pub(super) const IDLE_CHECKS: u32 = 8;
/// Sessions checked in one turn.
const SLICE: usize = 512;

/// What the sessions of a worker may take.
#[derive(Clone, Copy, Debug)]
pub struct SessionBounds {
    deadlines: Deadlines,
    silent_after: Duration,
    unfinished_bytes: usize,
    readings_rate: Option<Rate>,
}

impl SessionBounds {
    /// Those of one of so many workers. Its share of the bytes of unfinished messages has room for two messages at
    /// least, and for what was read with them.
    pub fn of(config: &Config, workers: u32) -> Self {
        const BESIDE: usize = 256 << 10;
        let share = config.unfinished_bytes_max / usize::try_from(workers.max(1)).unwrap_or(1);
        let unfinished_bytes = share.max(2 * config.message_bytes_max + BESIDE);
        let (silent_after, readings_rate) = (config.sessions_silent_after, config.readings_rate);
        Self { deadlines: config.deadlines, silent_after, unfinished_bytes, readings_rate }
    }
}

/// The sessions of a worker.
#[derive(Debug)]
pub struct SessionTable {
    /// How long a device may take.
    pub(super) deadlines: Deadlines,
    /// Without a message for so long, a session does not count as alive.
    silent_after: Duration,
    /// What they hold of messages that are not whole.
    pub(super) unfinished: UnfinishedMessages,
    /// What they hold while they wait. It has the same bound.
    pub(super) waiting: WaitingBytes,
    /// How many readings each of their devices may send.
    pub readings_rate: Option<Rate>,
    sessions: RefCell<BTreeMap<SessionId, Weak<SessionHandle>>>,
    /// Up to here they were looked at in this round.
    last: Cell<SessionId>,
}

impl SessionTable {
    /// Nobody, yet.
    pub fn new(bounds: SessionBounds) -> Self {
        let SessionBounds { deadlines, silent_after, unfinished_bytes, readings_rate } = bounds;
        let (sessions, last) = (RefCell::default(), Cell::default());
        Self {
            deadlines,
            silent_after,
            unfinished: UnfinishedMessages::new(unfinished_bytes),
            waiting: WaitingBytes::new(unfinished_bytes),
            readings_rate,
            sessions,
            last,
        }
    }

    /// A session begins.
    pub fn insert(&self, id: SessionId, handle: &Rc<SessionHandle>) {
        self.sessions.borrow_mut().insert(id, Rc::downgrade(handle));
    }

    /// How long a session has been silent, unless it counts as alive: its connection was not found broken, and its device
    /// was heard within `silent_after`, or keeps the promise that it made (the keep-alive of MQTT, which ends a session
    /// that does not).
    pub fn silence(&self, id: SessionId, now: Instant) -> Option<Duration> {
        let Some(handle) = self.sessions.borrow().get(&id).and_then(Weak::upgrade) else {
            return Some(Duration::MAX);
        };
        if handle.is_broken() {
            return Some(Duration::MAX);
        }
        let silent = now.saturating_duration_since(handle.last_message_at());
        (silent >= handle.silence_max().unwrap_or(self.silent_after)).then_some(silent)
    }

    /// Ends a session.
    pub fn end(&self, id: SessionId, why: CloseReason) {
        if let Some(handle) = self.sessions.borrow().get(&id).and_then(Weak::upgrade) {
            handle.close_as(why);
        }
    }

    /// A session has ended.
    pub fn remove(&self, id: SessionId) {
        self.sessions.borrow_mut().remove(&id);
    }

    /// Looks at the share of the sessions that is due after `step`, and ends those that were idle for too long.
    pub(super) fn end_idle(&self, now: Instant, step: Duration) {
        let idle = self.deadlines.idle;
        let sessions = self.sessions.borrow();
        let part = step.as_secs_f64() * f64::from(IDLE_CHECKS) / idle.as_secs_f64().max(1e-3);
        // Rounded up; the cast saturates.
        let count = ((sessions.len() as f64 * part).ceil() as usize).clamp(1, SLICE);
        let from = (Bound::Excluded(self.last.get()), Bound::Unbounded);
        let mut seen = 0;
        for (id, handle) in sessions.range(from).take(count) {
            seen += 1;
            self.last.set(*id);
            if let Some(handle) = handle.upgrade()
                && now.saturating_duration_since(handle.last_message_at()) >= idle
            {
                handle.close_as(CloseReason::Idle);
            }
        }
        if seen < count {
            self.last.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::session::EndSignal;

    fn handle() -> Rc<SessionHandle> {
        SessionHandle::new(EndSignal::new(CancellationToken::new()), None)
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_end_within_an_eighth_and_the_others_stay() {
        let step = Duration::from_secs(1);
        let deadlines = Deadlines { first_byte: step, message: step, idle: 80 * step };
        let session_table = SessionTable::new(SessionBounds {
            deadlines,
            silent_after: step,
            unfinished_bytes: 1,
            readings_rate: None,
        });
        let sessions: Vec<_> = (1..=100).map(|id| (id, handle())).collect();
        sessions.iter().for_each(|(id, handle)| session_table.insert(*id, handle));
        for second in 0..92_u64 {
            tokio::time::sleep(step).await;
            for (id, handle) in &sessions {
                assert!(second > 77 || handle.why().is_none());
                if id % 2 == 0 && second % 40 == 0 {
                    handle.record_message(Instant::now());
                }
            }
            session_table.end_idle(Instant::now(), step);
        }
        for (id, handle) in &sessions {
            assert_eq!(handle.why(), (id % 2 == 1).then_some(CloseReason::Idle), "{id}");
            session_table.remove(*id);
        }
        assert!(session_table.sessions.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn alive_is_who_was_heard_or_keeps_its_promise() {
        let second = Duration::from_secs(1);
        let deadlines = Deadlines { first_byte: second, message: second, idle: 80 * second };
        let session_table = SessionTable::new(SessionBounds {
            deadlines,
            silent_after: 10 * second,
            unfinished_bytes: 1,
            readings_rate: None,
        });
        let (plain, mqtt) = (handle(), handle());
        session_table.insert(1, &plain);
        session_table.insert(2, &mqtt);
        mqtt.set_silence_max(Some(60 * second));
        tokio::time::sleep(9 * second).await;
        let silence = |id| session_table.silence(id, Instant::now());
        assert_eq!((silence(1), silence(2), silence(3)), (None, None, Some(Duration::MAX)));
        tokio::time::sleep(second).await;
        assert_eq!((silence(1), silence(2)), (Some(10 * second), None));
        plain.record_message(Instant::now());
        assert_eq!(silence(1), None);
        session_table.end(1, CloseReason::Displaced);
        assert_eq!(plain.why(), Some(CloseReason::Displaced));
        tokio::time::sleep(60 * second).await;
        assert_eq!(silence(2), Some(70 * second));
    }
}
