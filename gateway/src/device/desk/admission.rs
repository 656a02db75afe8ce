//! Which sessions of a device may be: `sessions_max` of those that have said something, and as many that have not.
//!
//! A session that says its first thing when all places are in use gets one from another that was left behind: of the
//! same client, which has come back; else of the one that was silent for longest, if it does not count as alive. If all
//! are alive, it is the new one that ends. Taking the place of the oldest, programs that share an identity would end each
//! other for ever.
//!
//! Silence does not prove that a program is gone: it may report less often than a session counts as alive. One that closes its
//! side in order, or sends something, after the error `displaced` lives. From then on sessions of the device count as alive for twice as long a
//! silence as that one's, so such programs displace each other a few times and then the newest is refused.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Desk, Known, Session};
use crate::device::SessionId;

/// Who speaks on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// A client of MQTT, by its identifier. The session of the same one ends when this opens.
    Client(&'a str),
    /// A program that numbers its messages, by its epoch.
    Epoch(&'a str),
    /// It has not said so.
    Unknown,
}

/// Whether a session has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It has one.
    Admitted,
    /// It has that of another session, which must end.
    Displaces(SessionId),
    /// There is none: the session must end.
    Full,
}

impl Desk {
    /// A session begins, of which nothing is known. When there are too many such, the oldest is told to end.
    pub fn attach(&mut self, session: SessionId, end: CancellationToken) {
        let mut unknown = self.sessions.iter().enumerate().filter(|(_, known)| !known.admitted);
        if let Some((oldest, _)) = unknown.next()
            && unknown.count() + 1 >= self.sessions_max
        {
            let oldest = self.sessions.remove(oldest);
            tracing::debug!(device = %self.name, session = oldest.id, "ended by a newer session");
            oldest.end.cancel();
        }
        self.sessions.reserve_exact(1);
        self.sessions.push(Session {
            id: session,
            end,
            epoch: None,
            succeeded: None,
            client: None,
            admitted: false,
            series: Known::default(),
        });
    }

    /// A session says its first thing. `silence`: how long another one has been silent, `None` for one that counts as
    /// alive.
    pub fn admit(
        &mut self,
        session: SessionId,
        who: Who<'_>,
        silence: impl Fn(SessionId) -> Option<Duration>,
    ) -> Admission {
        let others = || self.sessions.iter().filter(|known| known.admitted && !known.gives_way_to(who));
        let mut displaced = None;
        if others().count() >= self.sessions_max {
            let silent = others().filter_map(|known| {
                let silent = silence(known.id);
                let silent = silent.filter(|silent| *silent >= self.silent_for);
                let silent = if known.is_epoch(who) { Some(Duration::MAX) } else { silent };
                Some((silent?, known.id))
            });
            // Of several the oldest, which stands first.
            let Some((_, id)) = silent.reduce(|best, next| if next.0 > best.0 { next } else { best }) else {
                return Admission::Full;
            };
            displaced = Some(id);
        }
        let Some(this) = self.sessions.iter_mut().find(|known| known.id == session) else {
            // Ended by another one meanwhile, as its next message is told.
            return Admission::Admitted;
        };
        this.admitted = true;
        if let Some(id) = displaced {
            self.sessions.retain(|known| known.id != id);
        }
        displaced.map_or(Admission::Admitted, Admission::Displaces)
    }

    /// The program of a session lives that was displaced because it was silent for so long.
    pub fn lives(&mut self, silent: Duration) {
        self.silent_for = self.silent_for.max(silent.saturating_mul(2));
    }
}

impl Session {
    /// It ends when this client opens its session.
    fn gives_way_to(&self, who: Who<'_>) -> bool {
        matches!(who, Who::Client(client) if self.client.as_ref().is_some_and(|known| known.is(client)))
    }

    /// It is of a program that numbers its messages in this epoch.
    fn is_epoch(&self, who: Who<'_>) -> bool {
        matches!((who, &self.epoch), (Who::Epoch(epoch), Some(known)) if **known == *epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catchment_proto::Name;

    use super::*;
    use crate::metrics::Metrics;

    /// A desk with so many places, and sessions that each said something.
    fn desk(sessions_max: usize, sessions: &[(SessionId, Who<'_>)]) -> (Desk, Vec<CancellationToken>) {
        let mut desk = Desk::new(Name::new("press").unwrap(), sessions_max, 10, Metrics::new());
        let mut ends = Vec::new();
        for (id, who) in sessions {
            let end = CancellationToken::new();
            desk.attach(*id, end.clone());
            ends.push(end);
            assert_eq!(desk.admit(*id, *who, |_| None), Admission::Admitted);
            if let Who::Epoch(epoch) = who {
                desk.sessions.last_mut().unwrap().epoch = Some(Arc::from(*epoch));
            }
        }
        (desk, ends)
    }

    fn next(desk: &mut Desk, who: Who<'_>, silence: impl Fn(SessionId) -> Option<Duration>) -> Admission {
        desk.attach(9, CancellationToken::new());
        desk.admit(9, who, silence)
    }

    #[test]
    fn while_all_are_alive_the_newest_is_refused() {
        let (mut desk, ends) = desk(3, &[(1, Who::Unknown), (2, Who::Epoch("a")), (3, Who::Unknown)]);
        assert_eq!(next(&mut desk, Who::Unknown, |_| None), Admission::Full);
        assert_eq!(next(&mut desk, Who::Client("x"), |_| None), Admission::Full);
        assert_eq!(next(&mut desk, Who::Epoch("b"), |_| None), Admission::Full);
        assert!(ends.iter().all(|end| !end.is_cancelled()));
        desk.detach(9);
        assert_eq!(desk.sessions.len(), 3);
        // One has ended by itself.
        desk.detach(2);
        assert_eq!(next(&mut desk, Who::Unknown, |_| None), Admission::Admitted);
    }

    #[test]
    fn the_one_silent_for_longest_gives_way() {
        let (mut desk, _) = desk(3, &[(1, Who::Unknown), (2, Who::Unknown), (3, Who::Unknown)]);
        let silence = |id| [None, None, Some(5), Some(7)][id as usize].map(Duration::from_secs);
        assert_eq!(next(&mut desk, Who::Unknown, silence), Admission::Displaces(3));
        assert_eq!(desk.sessions.iter().map(|known| known.id).collect::<Vec<_>>(), [1, 2, 9]);
    }

    #[test]
    fn programs_that_live_although_they_are_silent_do_not_displace_each_other_for_ever() {
        let (mut desk, _) = desk(2, &[(1, Who::Unknown), (2, Who::Unknown)]);
        let silent = |seconds| move |_| Some(Duration::from_secs(seconds));
        assert_eq!(next(&mut desk, Who::Unknown, silent(400)), Admission::Displaces(1));
        // It closes its side, and comes back.
        desk.lives(Duration::from_secs(401));
        desk.attach(10, CancellationToken::new());
        assert_eq!(desk.admit(10, Who::Unknown, silent(410)), Admission::Full);
        desk.detach(10);
        desk.attach(11, CancellationToken::new());
        assert_eq!(desk.admit(11, Who::Unknown, silent(802)), Admission::Displaces(2));
    }

    #[test]
    fn a_program_that_comes_back_has_its_own_place() {
        let (mut desk, _) = desk(2, &[(1, Who::Unknown), (2, Who::Epoch("a"))]);
        assert_eq!(next(&mut desk, Who::Epoch("a"), |_| None), Admission::Displaces(2));
    }

    #[test]
    fn those_that_say_nothing_take_no_place_and_are_bounded() {
        let (mut desk, _) = desk(2, &[(1, Who::Unknown)]);
        let silent: Vec<_> = (10..13).map(|id| (id, CancellationToken::new())).collect();
        silent.iter().for_each(|(id, end)| desk.attach(*id, end.clone()));
        assert_eq!(
            silent.iter().map(|(_, end)| end.is_cancelled()).collect::<Vec<_>>(),
            [true, false, false]
        );
        assert_eq!(desk.admit(11, Who::Unknown, |_| None), Admission::Admitted);
        assert_eq!(desk.admit(12, Who::Unknown, |_| None), Admission::Full);
    }
}
