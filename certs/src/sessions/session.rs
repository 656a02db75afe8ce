//! One session in the registry, and the guard that its owner holds.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{reason::EndReason, registry::Inner};
use crate::certificate::Peer;

/// Called once with the reason.
type Hook = Box<dyn FnOnce(EndReason) + Send>;

/// What the registry knows of a session.
pub(super) struct Session {
    pub(super) peer: Peer,
    pub(super) addr: SocketAddr,
    /// When it reaches its maximum age, milliseconds since the registry was made; `u64::MAX`: never.
    pub(super) age_end_ms: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: Option<EndReason>,
    hook: Option<Hook>,
}

impl Session {
    pub(super) fn new(peer: Peer, addr: SocketAddr, age_end_ms: u64) -> Self {
        Self { peer, addr, age_end_ms, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ended(&self) -> Option<EndReason> {
        self.state().ended
    }

    /// Ends the session. Whether it had not been ended before. The hook runs without the lock.
    pub(super) fn end(&self, reason: EndReason) -> bool {
        let hook = {
            let mut state = self.state();
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

    fn on_end(&self, hook: Hook) {
        let ended = {
            let mut state = self.state();
            match state.ended {
                Some(reason) => reason,
                None => {
                    state.hook = Some(hook);
                    return;
                }
            }
        };
        hook(ended);
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
    pub(super) session: Arc<Session>,
    slot: u32,
    of_identity: u32,
}

impl SessionGuard {
    pub(super) fn new(inner: Arc<Inner>, session: Arc<Session>, slot: u32, of_identity: u32) -> Self {
        Self { inner, session, slot, of_identity }
    }

    /// Sets what happens when the session is ended from outside; happens at once if it already was. The hook must not
    /// block: it runs on whatever thread ends the session.
    pub fn on_end(&self, hook: impl FnOnce(EndReason) + Send + 'static) {
        self.session.on_end(Box::new(hook));
    }

    /// Why the session was ended from outside, if it was.
    pub fn ended(&self) -> Option<EndReason> {
        self.session.ended()
    }

    /// Ends the session.
    pub fn end(&self, reason: EndReason) {
        self.inner.end(&self.session, reason);
    }

    /// Number of the identity's sessions when this one was registered, itself included: each of several that register
    /// at once has a number of its own.
    pub fn of_identity(&self) -> usize {
        self.of_identity as usize
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.inner.remove(&self.session, self.slot);
    }
}
