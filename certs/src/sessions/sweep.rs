//! The task that ends sessions: those whose certificate ends, those that are too old, and after each change of the trust
//! those whose peers it refuses.
//!
//! Revocation walks the sessions, not the lists: a look at the set of revoked serial numbers costs less for twenty
//! thousand sessions than finding out what a list of hundreds of thousands has that the one before had not. The walk
//! takes slices and lets other tasks of its thread run between them.

use std::time::{Duration, SystemTime};

use tokio::{sync::watch, task::yield_now, time::sleep};

use super::registry::{SLICE, SessionRegistry, parts};
use crate::trust::Trust;

/// Longest time until the clocks are read again: the wall clock may jump.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl SessionRegistry {
    /// Ends sessions whose time has come, and those that a new trust refuses, until the future is dropped. `trust`: that of
    /// [`Self::new`].
    pub async fn sweep(self, trust: Trust) {
        self.sweep_by(SystemTime::now, trust.subscribe()).await;
    }

    /// As [`Self::sweep`], by a clock, and after each change of `trust`.
    pub(super) async fn sweep_by<T>(&self, clock: impl Fn() -> SystemTime, mut trust: watch::Receiver<T>) {
        let mut changes = true;
        loop {
            let wait = self.end_due(&clock).await;
            let changed = tokio::select! {
                changed = trust.changed(), if changes => {
                    changes = changed.is_ok();
                    changes
                }
                () = sleep(wait) => false,
            };
            if changed {
                self.end_refused().await;
            }
        }
    }

    /// Ends the sessions that are due. Returns how long to wait for the next.
    async fn end_due(&self, clock: impl Fn() -> SystemTime) -> Duration {
        for part in parts() {
            while self.inner.end_due(part, self.inner.now(clock())) >= SLICE {
                yield_now().await;
            }
        }
        let wall = clock();
        // The clock's second has begun a while ago.
        let begun = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let next = self.inner.next_due(self.inner.now(wall));
        let next = next.map(|next| next.saturating_sub(Duration::from_nanos(begun.into())));
        next.unwrap_or(LOOK_EVERY).clamp(Duration::from_millis(1), LOOK_EVERY)
    }

    /// Ends the sessions whose peers the trust that counts now refuses.
    pub(crate) async fn end_refused(&self) {
        for part in parts() {
            let mut next = Some(0);
            while let Some(from) = next {
                let (sessions, following) = self.inner.slice(part, from);
                for session in sessions {
                    self.inner.judge(&session);
                }
                next = following;
                yield_now().await;
            }
        }
    }
}
