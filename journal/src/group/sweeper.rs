//! Removes released segments of a shared log in a thread of its own: freeing a large file can take the file system many
//! times as long as a commit, and no acknowledgement waits for that.
//!
//! A release, or a new segment, requests a sweep. After each sweep the committer is woken, because it may wait for the
//! space.

use std::sync::{Arc, PoisonError};

use super::inner::Inner;
use crate::fs::Disk;
use crate::segments::remove_released;

impl<D: Disk> Inner<D> {
    /// Requests a sweep.
    pub(super) fn ask_to_sweep(&self) {
        self.state().sweep = true;
        self.swept.notify_one();
    }

    /// Removes released segments, if a sweep was requested.
    ///
    /// # Errors
    /// A removal failed; the error is final.
    pub(super) fn sweep(&self) -> Result<(), Arc<str>> {
        let before = {
            let mut state = self.state();
            if !std::mem::take(&mut state.sweep) {
                return Ok(());
            }
            state.released
        };
        remove_released(&*self.disk, &self.segments, before)
    }

    /// The thread's body: sweeps until the log ends.
    pub(super) fn run_sweeper(&self) {
        loop {
            {
                let mut state = self.state();
                while !state.sweep && !state.stop && !state.ended {
                    state = self.swept.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.ended || !state.sweep {
                    return;
                }
            }
            let result = self.sweep();
            let mut state = self.state();
            match result {
                Ok(()) => state.freed = true,
                Err(why) => state.unremovable = Some(why),
            }
            self.wake.notify_one();
            if state.unremovable.is_some() {
                return;
            }
        }
    }
}
