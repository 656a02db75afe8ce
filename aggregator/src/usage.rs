//! How a peer uses its connection: whether it ever sent a request, and since when none is in progress.
//!
//! The transport decides by this how long to keep a connection. HTTP/2 pings cannot tell: a peer that answers them
//! but requests nothing is alive, yet useless.

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
    /// A request has arrived.
    requested: bool,
    /// Requests that have arrived.
    begun: u64,
    /// Requests in progress.
    open: usize,
    /// When the last request ended, or the connection began.
    since: Instant,
}

impl Usage {
    /// Usage of a new connection.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { requested: false, begun: 0, open: 0, since: Instant::now() })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a request has arrived.
    pub(crate) fn has_requested(&self) -> bool {
        self.with(|state| state.requested)
    }

    /// How many requests have arrived.
    pub(crate) fn begun(&self) -> u64 {
        self.with(|state| state.begun)
    }

    /// How long no request has been in progress.
    pub(crate) fn idle(&self) -> Duration {
        self.with(|state| if state.open > 0 { Duration::ZERO } else { state.since.elapsed() })
    }

    /// Begins a request, which ends when the guard is dropped.
    fn begin(self: &Arc<Self>) -> RequestGuard {
        self.with(|state| {
            state.requested = true;
            state.begun += 1;
            state.open += 1;
        });
        RequestGuard(Arc::clone(self))
    }
}

/// A request in progress.
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
    async fn a_connection_is_idle_while_no_request_is_in_progress() {
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
