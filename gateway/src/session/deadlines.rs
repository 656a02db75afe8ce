//! Deadlines of a session: its first byte, the end of an unfinished message, the next message.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

use super::close_reason::CloseReason;
use crate::config::Deadlines;

/// A timer for a deadline that is usually extended before it expires.
#[derive(Default)]
pub(super) struct DeadlineTimer {
    timer: Option<Pin<Box<Sleep>>>,
}

impl DeadlineTimer {
    /// Completes at the deadline; never without one. The timer is reset, or dropped, only when it expires: a busy
    /// device does not touch it, and an idle one soon has none.
    pub(super) async fn expires(&mut self, due: Option<Instant>) {
        loop {
            let timer = match (&mut self.timer, due) {
                (None, None) => return std::future::pending().await,
                (Some(timer), _) => timer,
                (timer, Some(due)) => timer.insert(Box::pin(sleep_until(due))),
            };
            if let Some(due) = due.filter(|due| timer.deadline() > *due) {
                timer.as_mut().reset(due);
            }
            timer.as_mut().await;
            match due {
                Some(due) if timer.deadline() >= due => return,
                Some(due) => timer.as_mut().reset(due),
                None => self.timer = None,
            }
        }
    }
}

/// What the deadlines of a session count from, beside its last message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadDeadlines {
    /// When the unfinished message began.
    begun: Option<Instant>,
    /// A whole message has come.
    heard: bool,
}

/// What a slice of decoding did.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecodedSlice {
    /// A message ended in it.
    pub(super) finished: bool,
    /// The beginning of another is there.
    pub(super) within: bool,
}

impl ReadDeadlines {
    /// Notes a slice. Returns whether another message has begun in it.
    pub(super) fn note(&mut self, slice: DecodedSlice, now: Instant) -> bool {
        self.heard |= slice.finished;
        let anew = slice.within && (slice.finished || self.begun.is_none());
        if anew {
            self.begun = Some(now);
        } else if !slice.within {
            self.begun = None;
        }
        anew
    }

    /// The session was not read for so long: the unfinished message has that much longer.
    pub(super) fn hold_back(&mut self, pause: Duration) {
        self.begun = self.begun.map(|begun| begun + pause);
    }

    /// Whether the unfinished message has taken too long.
    pub(super) fn is_late(&self, deadlines: &Deadlines, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now >= begun + deadlines.message)
    }

    /// The next deadline, and why the session ends then. `heard`: when the last message ended, or the session began.
    /// `opening`: an MQTT client whose CONNECT is not there. `keep_alive`: how long the client has said that it may be
    /// silent.
    pub(super) fn due(
        &self,
        heard: Instant,
        deadlines: &Deadlines,
        opening: bool,
        keep_alive: Option<Duration>,
    ) -> Option<(Instant, CloseReason)> {
        let first = opening || (!self.heard && self.begun.is_none());
        let first = first.then(|| (heard + deadlines.first_byte, CloseReason::NoFirst));
        let message = self.begun.map(|begun| (begun + deadlines.message, CloseReason::Unfinished));
        let keep_alive = keep_alive.map(|most| (heard + most, CloseReason::Silent));
        [first, message, keep_alive].into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::{
        super::{end_signal::EndSignal, handle::SessionHandle},
        *,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn deadlines() -> Deadlines {
        Deadlines { first_byte: 10 * SECOND, message: 30 * SECOND, idle: 90_000 * SECOND }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_extended_when_its_timer_expires_and_dropped_when_there_is_none() {
        let (mut timer, start) = (DeadlineTimer::default(), Instant::now());
        assert!(tokio::time::timeout(SECOND, timer.expires(Some(start + 10 * SECOND))).await.is_err());
        // Later: the timer is as it was.
        assert!(tokio::time::timeout(SECOND, timer.expires(Some(start + 30 * SECOND))).await.is_err());
        assert_eq!(timer.timer.as_ref().unwrap().deadline(), start + 10 * SECOND);
        timer.expires(Some(start + 30 * SECOND)).await;
        assert_eq!(start.elapsed(), 30 * SECOND);
        // Earlier: it must expire earlier.
        assert!(tokio::time::timeout(SECOND, timer.expires(Some(start + 90 * SECOND))).await.is_err());
        timer.expires(Some(start + 40 * SECOND)).await;
        assert_eq!(start.elapsed(), 40 * SECOND);
        assert!(tokio::time::timeout(SECOND, timer.expires(Some(start + 60 * SECOND))).await.is_err());
        assert!(tokio::time::timeout(90 * SECOND, timer.expires(None)).await.is_err());
        assert!(timer.timer.is_none(), "an idle session holds no timer");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_do_not_put_the_end_of_a_message_off() {
        let (start, deadlines) = (Instant::now(), deadlines());
        let mut times = ReadDeadlines::default();
        let due = |times: &ReadDeadlines| times.due(start, &deadlines, false, None);
        assert_eq!(due(&times), Some((start + 10 * SECOND, CloseReason::NoFirst)));
        assert!(times.note(DecodedSlice { finished: false, within: true }, start + 9 * SECOND));
        for second in 10..39 {
            assert!(!times.note(DecodedSlice { finished: false, within: true }, start + second * SECOND));
            assert_eq!(due(&times), Some((start + 39 * SECOND, CloseReason::Unfinished)));
        }
        // One ends and another begins with the same read.
        assert!(times.note(DecodedSlice { finished: true, within: true }, start + 38 * SECOND));
        assert_eq!(due(&times), Some((start + 68 * SECOND, CloseReason::Unfinished)));
        assert!(!times.note(DecodedSlice { finished: true, within: false }, start + 40 * SECOND));
        assert_eq!(due(&times), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_connect_and_its_keep_alive() {
        let (start, deadlines) = (Instant::now(), deadlines());
        let mut times = ReadDeadlines::default();
        times.note(DecodedSlice { finished: false, within: true }, start + SECOND);
        assert_eq!(
            times.due(start, &deadlines, true, None),
            Some((start + 10 * SECOND, CloseReason::NoFirst))
        );
        times.note(DecodedSlice { finished: true, within: false }, start + 2 * SECOND);
        let due = times.due(start + 2 * SECOND, &deadlines, false, Some(9 * SECOND));
        assert_eq!(due, Some((start + 11 * SECOND, CloseReason::Silent)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_deadline_runs_while_the_session_is_held_back() {
        let (start, deadlines) = (Instant::now(), deadlines());
        let handle = SessionHandle::new(EndSignal::new(CancellationToken::new()), None);
        let mut times = ReadDeadlines::default();
        times.note(DecodedSlice { finished: true, within: true }, start);
        for _ in 0..50 {
            handle.hold_back(SECOND);
        }
        times.hold_back(handle.take_held_back());
        assert_eq!(handle.take_held_back(), Duration::ZERO);
        let due = |keep_alive| times.due(handle.last_message_at(), &deadlines, false, keep_alive);
        assert_eq!(due(None), Some((start + 80 * SECOND, CloseReason::Unfinished)));
        assert_eq!(due(Some(9 * SECOND)), Some((start + 59 * SECOND, CloseReason::Silent)));
        assert!(!times.is_late(&deadlines, start + 79 * SECOND));
        assert!(times.is_late(&deadlines, start + 80 * SECOND));
    }
}
