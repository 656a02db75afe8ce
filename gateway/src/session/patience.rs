//! Until when a session waits for its device: the first byte, the end of a message that has begun, the next message.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

use super::End;
use crate::config::Patience;

/// When a deadline comes that is mostly put off before.
#[derive(Default)]
pub(super) struct Alarm {
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Completes at the deadline; never without one. The alarm is put off, or given up, only when it rings: a busy
    /// device does not touch it, and one that is idle soon has none.
    pub(super) async fn rings(&mut self, due: Option<Instant>) {
        loop {
            let alarm = match (&mut self.alarm, due) {
                (None, None) => return std::future::pending().await,
                (Some(alarm), _) => alarm,
                (alarm, Some(due)) => alarm.insert(Box::pin(sleep_until(due))),
            };
            if let Some(due) = due.filter(|due| alarm.deadline() > *due) {
                alarm.as_mut().reset(due);
            }
            alarm.as_mut().await;
            match due {
                Some(due) if alarm.deadline() >= due => return,
                Some(due) => alarm.as_mut().reset(due),
                None => self.alarm = None,
            }
        }
    }
}

/// What of a session its deadlines count from, beside when it was heard last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    /// When the message began that is not finished.
    begun: Option<Instant>,
    /// A whole message has come.
    heard: bool,
}

/// What a slice of decoding did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// A message ended in it.
    pub(super) finished: bool,
    /// The beginning of another is there.
    pub(super) within: bool,
}

impl Times {
    /// Notes what a slice did. Returns whether another message has begun in it.
    pub(super) fn note(&mut self, slice: Slice, now: Instant) -> bool {
        self.heard |= slice.finished;
        let anew = slice.within && (slice.finished || self.begun.is_none());
        if anew {
            self.begun = Some(now);
        } else if !slice.within {
            self.begun = None;
        }
        anew
    }

    /// Whether the message that is not finished has taken too long.
    pub(super) fn is_late(&self, patience: &Patience, now: Instant) -> bool {
        self.begun.is_some_and(|begun| now >= begun + patience.message)
    }

    /// The next deadline, and why the session ends then. `heard`: when the last message ended, or the session began.
    /// `opening`: an MQTT client whose CONNECT is not there. `keep_alive`: how long the client has said that it may be
    /// silent.
    pub(super) fn due(
        &self,
        heard: Instant,
        patience: &Patience,
        opening: bool,
        keep_alive: Option<Duration>,
    ) -> Option<(Instant, End)> {
        let first = opening || (!self.heard && self.begun.is_none());
        let first = first.then(|| (heard + patience.first_byte, End::NoFirst));
        let message = self.begun.map(|begun| (begun + patience.message, End::Unfinished));
        let keep_alive = keep_alive.map(|most| (heard + most, End::Silent));
        [first, message, keep_alive].into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        Patience { first_byte: 10 * SECOND, message: 30 * SECOND, idle: 90_000 * SECOND }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_put_off_when_it_rings_and_given_up_when_there_is_none() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        assert!(tokio::time::timeout(SECOND, alarm.rings(Some(start + 10 * SECOND))).await.is_err());
        // Later: the timer is as it was.
        assert!(tokio::time::timeout(SECOND, alarm.rings(Some(start + 30 * SECOND))).await.is_err());
        assert_eq!(alarm.alarm.as_ref().unwrap().deadline(), start + 10 * SECOND);
        alarm.rings(Some(start + 30 * SECOND)).await;
        assert_eq!(start.elapsed(), 30 * SECOND);
        // Earlier: it must ring earlier.
        assert!(tokio::time::timeout(SECOND, alarm.rings(Some(start + 90 * SECOND))).await.is_err());
        alarm.rings(Some(start + 40 * SECOND)).await;
        assert_eq!(start.elapsed(), 40 * SECOND);
        assert!(tokio::time::timeout(SECOND, alarm.rings(Some(start + 60 * SECOND))).await.is_err());
        assert!(tokio::time::timeout(90 * SECOND, alarm.rings(None)).await.is_err());
        assert!(alarm.alarm.is_none(), "an idle session holds no timer");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_do_not_put_the_end_of_a_message_off() {
        let (start, patience) = (Instant::now(), patience());
        let mut times = Times::default();
        let due = |times: &Times| times.due(start, &patience, false, None);
        assert_eq!(due(&times), Some((start + 10 * SECOND, End::NoFirst)));
        assert!(times.note(Slice { finished: false, within: true }, start + 9 * SECOND));
        for second in 10..39 {
            assert!(!times.note(Slice { finished: false, within: true }, start + second * SECOND));
            assert_eq!(due(&times), Some((start + 39 * SECOND, End::Unfinished)));
        }
        // One ends and another begins with the same read.
        assert!(times.note(Slice { finished: true, within: true }, start + 38 * SECOND));
        assert_eq!(due(&times), Some((start + 68 * SECOND, End::Unfinished)));
        assert!(!times.note(Slice { finished: true, within: false }, start + 40 * SECOND));
        assert_eq!(due(&times), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_connect_and_its_keep_alive() {
        let (start, patience) = (Instant::now(), patience());
        let mut times = Times::default();
        times.note(Slice { finished: false, within: true }, start + SECOND);
        assert_eq!(times.due(start, &patience, true, None), Some((start + 10 * SECOND, End::NoFirst)));
        times.note(Slice { finished: true, within: false }, start + 2 * SECOND);
        let due = times.due(start + 2 * SECOND, &patience, false, Some(9 * SECOND));
        assert_eq!(due, Some((start + 11 * SECOND, End::Silent)));
    }
}
