//! Wakes the flusher's thread: on request, at its time, and to stop.

use std::{
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use super::locks::lock;

/// After a round that found no space the next is tried this soon.
const RETRY: Duration = Duration::from_secs(1);

/// What the flusher is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FlushRequest {
    /// A round.
    pub(super) flush: bool,
    /// A last round, then stop.
    pub(super) close: bool,
    /// Stop at once.
    pub(super) stop: bool,
    /// The last round found no space.
    retry: bool,
}

/// A request that can be waited for.
#[derive(Debug, Default)]
pub(super) struct FlushSignal {
    request: Mutex<FlushRequest>,
    changed: Condvar,
}

impl FlushSignal {
    /// Asks for something.
    pub(super) fn request(&self, change: impl FnOnce(&mut FlushRequest)) {
        change(&mut lock(&self.request));
        self.changed.notify_all();
    }

    /// Says whether the last round is to be tried again soon; until then requests for a round wait. Returns what was
    /// said before.
    pub(super) fn retry(&self, retry: bool) -> bool {
        std::mem::replace(&mut lock(&self.request).retry, retry)
    }

    /// What is asked for now; takes the request for a round.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn take(&self) -> FlushRequest {
        let mut request = lock(&self.request);
        let taken = *request;
        request.flush = false;
        taken
    }

    /// Whether something is asked for.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_requested(&self) -> bool {
        let request = lock(&self.request);
        request.flush || request.close
    }

    /// Waits for a request, or until it is time; takes the request for a round.
    pub(super) fn wait(&self, every: Duration) -> FlushRequest {
        let mut request = lock(&self.request);
        let every = if request.retry { RETRY.min(every) } else { every };
        let until = Instant::now().checked_add(every);
        loop {
            if request.close || request.stop || (request.flush && !request.retry) {
                break;
            }
            let left = until.map_or(every, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            request = match self.changed.wait_timeout(request, left) {
                Ok((request, _)) => request,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        let taken = *request;
        request.flush = false;
        taken
    }
}
