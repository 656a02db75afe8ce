//! A shard as the tasks of its worker share it.
//!
//! Invariant: a panic while the shard is being changed may leave memory and journal apart, so it poisons the journal. From
//! then on nothing is taken, acknowledged, closed or checkpointed; the next start reads the journal, which is right.

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
    /// Takes a shard in.
    pub const fn new(shard: Shard<D>) -> Self {
        Self(RefCell::new(shard))
    }

    /// Borrows it to look things up.
    pub fn borrow(&self) -> Ref<'_, Shard<D>> {
        self.0.borrow()
    }

    /// Borrows it to change it; a panic before the end of that poisons it.
    pub fn borrow_mut(&self) -> ShardMut<'_, D> {
        ShardMut { shard: self.0.borrow_mut(), unwinding: thread::panicking() }
    }
}

/// A shard that is being changed.
pub struct ShardMut<'a, D: Disk> {
    shard: RefMut<'a, Shard<D>>,
    /// It was borrowed by what a panic runs on its way: that panic is none within the change.
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
