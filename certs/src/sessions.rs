//! The sessions of a server, by serial number, end of validity, address and identity: one mechanism for everything that
//! ends a session from outside.
//!
//! The accept loop registers each peer after its handshake ([`SessionRegistry::register`]); the guard is part of
//! [`crate::Accepted`] and lives as long as the session. What must happen at the end of a session is a hook that its
//! server sets ([`SessionGuard::on_end`]); it is called once, from any thread, with the reason.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use crate::certificate::Peer;

/// Why a session was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its certificate, or that of its issuer, is revoked.
    Revoked,
    /// Its certificate, or that of its issuer, has expired.
    Expired,
    /// Its root is no longer among the trust anchors.
    Untrusted,
    /// It has reached the maximum age of a connection.
    MaxAge,
    /// Another session of the same identity took its place.
    TakenOver,
}

impl EndReason {
    /// All reasons, so that counters begin at 0.
    pub const ALL: [Self; 5] = [Self::Revoked, Self::Expired, Self::Untrusted, Self::MaxAge, Self::TakenOver];

    /// A label for counters and logs.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Untrusted => "untrusted",
            Self::MaxAge => "connection_age",
            Self::TakenOver => "taken_over",
        }
    }
}

/// The sessions of a server. Clones share them. Bounded by the server's maximum of connections.
#[derive(Clone, Debug, Default)]
pub struct SessionRegistry {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
}

/// What the registry knows of a session.
struct Session {
    peer: Peer,
    addr: SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: Option<EndReason>,
    hook: Option<Box<dyn FnOnce(EndReason) + Send>>,
}

impl SessionRegistry {
    /// Registers a session until the guard is dropped.
    pub fn register(&self, peer: &Peer, addr: SocketAddr) -> SessionGuard {
        let id = self.inner.next.fetch_add(1, Relaxed);
        let session = Arc::new(Session { peer: peer.clone(), addr, state: Mutex::default() });
        self.lock().insert(id, Arc::clone(&session));
        SessionGuard { inner: Arc::clone(&self.inner), id, session }
    }

    /// Ends every session for which `why` has a reason. Returns how many.
    pub fn end_where(&self, why: impl Fn(&Peer, SocketAddr) -> Option<EndReason>) -> usize {
        let found: Vec<_> = self
            .lock()
            .values()
            .filter_map(|session| Some((Arc::clone(session), why(&session.peer, session.addr)?)))
            .collect();
        found.into_iter().filter(|(session, reason)| session.end(*reason)).count()
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Ends every session whose certificate is no longer valid at `now`.
    pub fn end_expired(&self, now: SystemTime) -> usize {
        self.end_where(|peer, _| (peer.not_after < now).then_some(EndReason::Expired))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Session>>> {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether it had not been ended before.
    fn end(&self, reason: EndReason) -> bool {
        let hook = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.ended.is_some() {
                return false;
            }
            state.ended = Some(reason);
            state.hook.take()
        };
        if let Some(hook) = hook {
            hook(reason);
        }
        true
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("peer", &self.peer).field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// A registered session; it leaves the registry when this is dropped.
#[derive(Debug)]
pub struct SessionGuard {
    inner: Arc<Inner>,
    id: u64,
    session: Arc<Session>,
}

impl SessionGuard {
    /// Sets what happens when the session is ended from outside; happens at once if it already was.
    pub fn on_end(&self, hook: impl FnOnce(EndReason) + Send + 'static) {
        let ended = {
            let mut state = self.session.state.lock().unwrap_or_else(PoisonError::into_inner);
            match state.ended {
                Some(reason) => reason,
                None => {
                    state.hook = Some(Box::new(hook));
                    return;
                }
            }
        };
        hook(ended);
    }

    /// Why the session was ended from outside, if it was.
    pub fn ended(&self) -> Option<EndReason> {
        self.session.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }

    /// Ends the session.
    pub fn end(&self, reason: EndReason) {
        self.session.end(reason);
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
