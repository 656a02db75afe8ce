//! What a peer makes of its connection: whether it has asked for anything, and since when nothing is under way.
//!
//! The transport decides by this how long a connection is kept. HTTP/2's own probes cannot tell: a peer that answers
//! them and asks for nothing is alive, and of no use.

pub(crate) mod layer;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The requests of a connection.
#[derive(Debug)]
pub(crate) struct Usage(Mutex<State>);

#[derive(Debug)]
struct State {
    /// A request has come.
    requested: bool,
    /// Requests under way.
    open: usize,
    /// When the last one ended, or the connection began.
    since: Instant,
}

impl Usage {
    /// A connection that begins.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { requested: false, open: 0, since: Instant::now() })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a request has come.
    pub(crate) fn has_requested(&self) -> bool {
        self.with(|state| state.requested)
    }

    /// How long nothing has been under way.
    pub(crate) fn idle(&self) -> Duration {
        self.with(|state| if state.open > 0 { Duration::ZERO } else { state.since.elapsed() })
    }

    /// A request begins; it ends when what is returned is dropped.
    fn begin(self: &Arc<Self>) -> RequestGuard {
        self.with(|state| {
            state.requested = true;
            state.open += 1;
        });
        RequestGuard(Arc::clone(self))
    }
}

/// A request under way.
#[derive(Debug)]
struct RequestGuard(Arc<Usage>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.open = state.open.saturating_sub(1);
            state.since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_is_under_way() {
        let usage = Usage::new();
        let second = Duration::from_secs(1);
        tokio::time::sleep(second).await;
        assert_eq!((usage.has_requested(), usage.idle()), (false, second));
        let (first, other) = (usage.begin(), usage.begin());
        drop(first);
        tokio::time::sleep(second).await;
        assert_eq!((usage.has_requested(), usage.idle()), (true, Duration::ZERO));
        drop(other);
        tokio::time::sleep(2 * second).await;
        assert_eq!(usage.idle(), 2 * second);
    }
}
