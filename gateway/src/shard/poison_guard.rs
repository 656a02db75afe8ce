//! Guards the time between an entry's append and the end of its fold.

use std::thread;

use catchment_journal::{Disk, GroupLog};
use catchment_settings::supervise::last_panic_of_thread;

/// Poisons a journal when a panic ends its scope: an entry of the journal was not folded in, so nothing more may be
/// taken or acknowledged. The next start folds it in.
pub(super) struct PoisonGuard<'a, D: Disk>(&'a GroupLog<D>);

impl<'a, D: Disk> PoisonGuard<'a, D> {
    pub(super) const fn over(journal: &'a GroupLog<D>) -> Self {
        Self(journal)
    }
}

impl<D: Disk> Drop for PoisonGuard<'_, D> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0
                .poison(&format!("an entry is in the journal and not in memory: {}", last_panic_of_thread()));
        }
    }
}
