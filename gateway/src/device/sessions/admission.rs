//! Admission: a device may have `sessions_max` sessions that have sent a message, and as many that have not.
//!
//! When all places are in use, the first message of a session displaces another session that was left behind: that of
//! the same client, which has reconnected; else the one that was silent for longest, if it does not count as alive. If
//! all are alive, the new session ends. If it displaced the oldest instead, programs that share an identity would end
//! each other forever.
//!
//! Silence does not prove that a program is gone: it may report less often than a session counts as alive. A program
//! that closes its side in order, or sends something, after the error `displaced` lives. From then on, sessions of the
//! device count as alive for twice as long a silence as that one's, so such programs displace each other a few times
//! and then the newest is refused.

use std::time::Duration;

use super::registry::{DeviceSessions, SessionEntry, SessionId};

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionIdentity<'a> {
    /// A client of MQTT, by its identifier. The session of the same one ends when this opens.
    Client(&'a str),
    /// A program that numbers its messages, by its epoch.
    Epoch(&'a str),
    /// Not known.
    Unknown,
}

/// Whether a session has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It has one.
    Admitted,
    /// It has the place of another session, which must end.
    Displaces(SessionId),
    /// There is none: the session must end.
    Full,
}

impl DeviceSessions {
    /// A session begins that has sent nothing yet. When there are too many such, the oldest must end: it is returned.
    pub fn attach(&mut self, session: SessionId) -> Option<SessionId> {
        let mut oldest_ends = None;
        let mut unknown = self.sessions.iter().enumerate().filter(|(_, known)| !known.admitted);
        if let Some((oldest, _)) = unknown.next()
            && unknown.count() + 1 >= self.sessions_max
        {
            oldest_ends = Some(self.sessions.remove(oldest).id);
        }
        self.sessions.reserve_exact(1);
        self.sessions.push(SessionEntry::new(session));
        oldest_ends
    }

    /// A session sends its first message. `silence`: how long another one has been silent, `None` for one that counts
    /// as alive.
    pub fn admit(
        &mut self,
        session: SessionId,
        identity: SessionIdentity<'_>,
        silence: impl Fn(SessionId) -> Option<Duration>,
    ) -> Admission {
        let others = || self.sessions.iter().filter(|known| known.admitted && !known.yields_to(identity));
        let mut displaced = None;
        if others().count() >= self.sessions_max {
            let silent = others().filter_map(|known| {
                let silent = silence(known.id);
                let silent = silent.filter(|silent| *silent >= self.silent_for);
                let silent = if known.is_epoch(identity) { Some(Duration::MAX) } else { silent };
                Some((silent?, known.id))
            });
            // Of several the oldest, which stands first.
            let Some((_, id)) = silent.reduce(|best, next| if next.0 > best.0 { next } else { best }) else {
                return Admission::Full;
            };
            displaced = Some(id);
        }
        let Some(this) = self.sessions.iter_mut().find(|known| known.id == session) else {
            // Ended by another one meanwhile, which its next message finds out.
            return Admission::Admitted;
        };
        this.admitted = true;
        if let Some(id) = displaced {
            self.sessions.retain(|known| known.id != id);
        }
        displaced.map_or(Admission::Admitted, Admission::Displaces)
    }

    /// The program of a session lives that was displaced because it was silent for so long.
    pub fn extend_silence(&mut self, silent: Duration) {
        self.silent_for = self.silent_for.max(silent.saturating_mul(2));
    }
}

impl SessionEntry {
    /// It ends when this client opens its session.
    fn yields_to(&self, identity: SessionIdentity<'_>) -> bool {
        matches!(identity, SessionIdentity::Client(client) if self.client.as_ref().is_some_and(|known| known.is(client)))
    }

    /// It is of a program that numbers its messages in this epoch.
    fn is_epoch(&self, identity: SessionIdentity<'_>) -> bool {
        matches!((identity, &self.epoch), (SessionIdentity::Epoch(epoch), Some(known)) if **known == *epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catchment_proto::Name;

    use super::*;
    use crate::metrics::Metrics;

    /// A device with so many places, and sessions that each said something.
    fn device_sessions(sessions_max: usize, sessions: &[(SessionId, SessionIdentity<'_>)]) -> DeviceSessions {
        let mut device_sessions =
            DeviceSessions::new(Name::new("press").unwrap(), sessions_max, 10, Metrics::new());
        for (id, identity) in sessions {
            assert_eq!(device_sessions.attach(*id), None);
            assert_eq!(device_sessions.admit(*id, *identity, |_| None), Admission::Admitted);
            if let SessionIdentity::Epoch(epoch) = identity {
                device_sessions.sessions.last_mut().unwrap().epoch = Some(Arc::from(*epoch));
            }
        }
        device_sessions
    }

    fn next(
        device_sessions: &mut DeviceSessions,
        identity: SessionIdentity<'_>,
        silence: impl Fn(SessionId) -> Option<Duration>,
    ) -> Admission {
        assert_eq!(device_sessions.attach(9), None);
        device_sessions.admit(9, identity, silence)
    }

    #[test]
    fn while_all_are_alive_the_newest_is_refused() {
        let mut device_sessions = device_sessions(
            3,
            &[(1, SessionIdentity::Unknown), (2, SessionIdentity::Epoch("a")), (3, SessionIdentity::Unknown)],
        );
        assert_eq!(next(&mut device_sessions, SessionIdentity::Unknown, |_| None), Admission::Full);
        assert_eq!(next(&mut device_sessions, SessionIdentity::Client("x"), |_| None), Admission::Full);
        assert_eq!(next(&mut device_sessions, SessionIdentity::Epoch("b"), |_| None), Admission::Full);
        device_sessions.detach(9);
        assert_eq!(device_sessions.sessions.len(), 3);
        // One has ended by itself.
        device_sessions.detach(2);
        assert_eq!(next(&mut device_sessions, SessionIdentity::Unknown, |_| None), Admission::Admitted);
    }

    #[test]
    fn the_one_silent_for_longest_gives_way() {
        let mut device_sessions = device_sessions(
            3,
            &[(1, SessionIdentity::Unknown), (2, SessionIdentity::Unknown), (3, SessionIdentity::Unknown)],
        );
        let silence = |id| [None, None, Some(5), Some(7)][id as usize].map(Duration::from_secs);
        assert_eq!(next(&mut device_sessions, SessionIdentity::Unknown, silence), Admission::Displaces(3));
        assert_eq!(device_sessions.sessions.iter().map(|known| known.id).collect::<Vec<_>>(), [1, 2, 9]);
    }

    #[test]
    fn programs_that_live_although_they_are_silent_do_not_displace_each_other_for_ever() {
        let mut device_sessions =
            device_sessions(2, &[(1, SessionIdentity::Unknown), (2, SessionIdentity::Unknown)]);
        let silent = |seconds| move |_| Some(Duration::from_secs(seconds));
        assert_eq!(
            next(&mut device_sessions, SessionIdentity::Unknown, silent(400)),
            Admission::Displaces(1)
        );
        // It closes its side, and comes back.
        device_sessions.extend_silence(Duration::from_secs(401));
        assert_eq!(device_sessions.attach(10), None);
        assert_eq!(device_sessions.admit(10, SessionIdentity::Unknown, silent(410)), Admission::Full);
        device_sessions.detach(10);
        assert_eq!(device_sessions.attach(11), None);
        assert_eq!(device_sessions.admit(11, SessionIdentity::Unknown, silent(802)), Admission::Displaces(2));
    }

    #[test]
    fn a_program_that_comes_back_has_its_own_place() {
        let mut device_sessions =
            device_sessions(2, &[(1, SessionIdentity::Unknown), (2, SessionIdentity::Epoch("a"))]);
        assert_eq!(
            next(&mut device_sessions, SessionIdentity::Epoch("a"), |_| None),
            Admission::Displaces(2)
        );
    }

    #[test]
    fn those_that_say_nothing_take_no_place_and_are_bounded() {
        let mut device_sessions = device_sessions(2, &[(1, SessionIdentity::Unknown)]);
        let ended: Vec<_> = (10..13).map(|id| device_sessions.attach(id)).collect();
        assert_eq!(ended, [None, None, Some(10)]);
        assert_eq!(device_sessions.admit(11, SessionIdentity::Unknown, |_| None), Admission::Admitted);
        assert_eq!(device_sessions.admit(12, SessionIdentity::Unknown, |_| None), Admission::Full);
    }
}
