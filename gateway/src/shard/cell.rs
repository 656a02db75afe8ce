//! A shard, shared among the tasks of its worker.
//!
//! Invariant: a panic while the shard is being changed may leave memory different from the journal, so it poisons the
//! journal. From then on nothing is taken, acknowledged, closed or checkpointed; the next start reads the journal,
//! which is right.

use std::{
    cell::{Ref, RefCell, RefMut},
    ops::{Deref, DerefMut},
    thread,
};

use catchment_journal::{Disk, RealDisk};
use catchment_settings::supervise::last_panic_of_thread;

use super::Shard;

/// A shard that is borrowed for the length of a synchronous call.
pub struct ShardCell<D: Disk = RealDisk>(RefCell<Shard<D>>);

impl<D: Disk> ShardCell<D> {
    /// Wraps a shard.
    pub const fn new(shard: Shard<D>) -> Self {
        Self(RefCell::new(shard))
    }

    /// Borrows it to look things up.
    pub fn borrow(&self) -> Ref<'_, Shard<D>> {
        self.0.borrow()
    }

    /// Borrows it to change it; a panic during the borrow poisons it.
    pub fn borrow_mut(&self) -> ShardMut<'_, D> {
        ShardMut { shard: self.0.borrow_mut(), unwinding: thread::panicking() }
    }
}

/// A shard that is being changed.
pub struct ShardMut<'a, D: Disk> {
    shard: RefMut<'a, Shard<D>>,
    /// It was borrowed while a panic was unwinding already: that panic did not interrupt the change.
    unwinding: bool,
}

impl<D: Disk> Deref for ShardMut<'_, D> {
    type Target = Shard<D>;

    fn deref(&self) -> &Shard<D> {
        &self.shard
    }
}

impl<D: Disk> DerefMut for ShardMut<'_, D> {
    fn deref_mut(&mut self) -> &mut Shard<D> {
        &mut self.shard
    }
}

impl<D: Disk> Drop for ShardMut<'_, D> {
    fn drop(&mut self) {
        if thread::panicking() && !self.unwinding {
            self.shard.poison(&format!("a change was interrupted by a panic: {}", last_panic_of_thread()));
        }
    }
}
