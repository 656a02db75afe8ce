//! Memory of all watches, divided between operators: one never holds more than is left free.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Memory of all watches.
#[derive(Debug)]
pub(super) struct Memory {
    max: usize,
    used: AtomicUsize,
}

/// An operator's part of it.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<Memory>,
    used: AtomicUsize,
}

impl Memory {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A share, still empty.
    pub(super) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share { memory: Arc::clone(self), used: AtomicUsize::new(0) })
    }
}

impl Share {
    /// Reserves memory; `None`: the operator may have no more now.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let mut held = Held { share: Arc::clone(self), bytes: 0 };
        held.grow(bytes).then_some(held)
    }
}

/// Reserved memory; released on drop.
#[derive(Debug)]
pub(super) struct Held {
    share: Arc<Share>,
    bytes: usize,
}

impl Held {
    /// Reserves more; false: the operator may have no more now.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let Share { memory, used } = &*self.share;
        let own = used.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        let all = memory.used.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        self.bytes += bytes;
        let fits = own <= memory.max.saturating_sub(all);
        if !fits {
            self.shrink_by(bytes);
        }
        fits
    }

    /// Changes how much is reserved; false: the operator may not have that much now.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        self.shrink_to(bytes);
        self.grow(bytes.saturating_sub(self.bytes))
    }

    /// Releases all but so much.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.shrink_by(self.bytes.saturating_sub(bytes));
    }

    fn shrink_by(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.share.used.fetch_sub(bytes, Ordering::AcqRel);
        self.share.memory.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_never_holds_more_than_is_left_free() {
        let memory = Memory::new(100);
        let (ada, eve) = (memory.share(), memory.share());
        let mut first = ada.reserve(50).unwrap();
        assert!(ada.reserve(1).is_none(), "half of all");
        let second = eve.reserve(25).unwrap();
        assert!(eve.reserve(1).is_none(), "half of the rest");
        first.shrink_to(10);
        assert!(first.set(20) && !first.set(90));
        assert_eq!(memory.used(), 45);
        drop((first, second));
        assert_eq!(memory.used(), 0);
    }
}
