//! Wakes the flusher's thread: on request, periodically, and to stop.

use std::{
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::store::embedded::locks::lock;

/// Pause before the next round after one that found no space.
const RETRY: Duration = Duration::from_secs(1);

/// What the flusher must do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct FlushRequest {
    /// A round.
    pub(in crate::store) flush: bool,
    /// A last round, then stop.
    pub(in crate::store) close: bool,
    /// Stop at once.
    pub(in crate::store) stop: bool,
    /// The last round found no space.
    retry: bool,
}

impl FlushRequest {
    /// Whether a round is due after so much time since the last one; after one that found no space, only then.
    pub(in crate::store) fn is_due(self, waited: Duration, every: Duration) -> bool {
        if self.retry {
            self.close || waited >= RETRY.min(every)
        } else {
            self.flush || self.close || waited >= every
        }
    }
}

/// A request that the flusher can wait for.
#[derive(Debug, Default)]
pub(in crate::store) struct FlushSignal {
    request: Mutex<FlushRequest>,
    changed: Condvar,
}

impl FlushSignal {
    /// Requests something.
    pub(in crate::store) fn request(&self, change: impl FnOnce(&mut FlushRequest)) {
        change(&mut lock(&self.request));
        self.changed.notify_all();
    }

    /// Sets whether the last round must be retried soon; until then requests for a round wait. Returns the previous
    /// value.
    pub(in crate::store) fn retry(&self, retry: bool) -> bool {
        std::mem::replace(&mut lock(&self.request).retry, retry)
    }

    /// Whether the last round found no space.
    pub(in crate::store) fn is_retrying(&self) -> bool {
        lock(&self.request).retry
    }

    /// Takes the current request; clears its request for a round.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::store) fn take(&self) -> FlushRequest {
        let mut request = lock(&self.request);
        let taken = *request;
        request.flush = false;
        taken
    }

    /// Whether anything is requested.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::store) fn is_requested(&self) -> bool {
        let request = lock(&self.request);
        request.flush || request.close
    }

    /// Waits for a request or the end of the period; takes the request for a round.
    pub(in crate::store) fn wait(&self, every: Duration) -> FlushRequest {
        let mut request = lock(&self.request);
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
