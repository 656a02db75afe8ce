//! The side of a shared log that removes released segments, in a thread of its own: giving back the space of a large
//! file can take a file system many times as long as a commit, and no acknowledgement waits for that.
//!
//! Whoever releases, or begins a segment, asks for a sweep; each is followed by a look of the committer, which may
//! wait for the space.

use std::sync::{Arc, PoisonError};

use super::inner::Inner;
use crate::fs::Disk;
use crate::segments::remove_released;

impl<D: Disk> Inner<D> {
    /// There may be something to remove.
    pub(super) fn ask_to_sweep(&self) {
        self.state().sweep = true;
        self.swept.notify_one();
    }

    /// Removes what is released, if that was asked for.
    ///
    /// # Errors
    /// A removal that failed; it is final.
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

    /// The thread: sweeps until the log ends.
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
