//! The bytes of unfinished messages of all sessions of a worker: how many there are, and which session ends when there
//! are too many.
//!
//! An honest device sends the rest at once. So the session with the oldest unfinished message ends, until the others
//! have room: devices that only begin messages evict each other.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
};

use super::{close_reason::CloseReason, handle::SessionHandle};

/// The unfinished messages of a worker's sessions.
#[derive(Debug)]
pub struct UnfinishedMessages {
    bytes_max: usize,
    held: Cell<usize>,
    next: Cell<u64>,
    /// Bytes and session by the order in which the messages began.
    messages: RefCell<BTreeMap<u64, (usize, Weak<SessionHandle>)>>,
}

impl UnfinishedMessages {
    /// At most so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Cell::new(0), next: Cell::new(0), messages: RefCell::default() }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// The oldest end until what is left is within the bound.
    fn end_oldest(&self) {
        while self.held.get() > self.bytes_max {
            let Some((_, (bytes, handle))) = self.messages.borrow_mut().pop_first() else { return };
            self.held.set(self.held.get().saturating_sub(bytes));
            if let Some(handle) = handle.upgrade() {
                handle.close_as(CloseReason::Crowded);
            }
        }
    }
}

/// The bytes that one session holds; none once this is dropped.
#[derive(Debug)]
pub(super) struct UnfinishedGuard<'a> {
    all: &'a UnfinishedMessages,
    order: Option<u64>,
}

impl<'a> UnfinishedGuard<'a> {
    pub(super) fn new(all: &'a UnfinishedMessages) -> Self {
        Self { all, order: None }
    }

    /// The session holds so many bytes now. `anew`: of a message that has just begun.
    pub(super) fn set(&mut self, bytes: usize, anew: bool, handle: &Rc<SessionHandle>) {
        if (anew || bytes == 0) && self.order.is_some() {
            self.release();
        }
        if bytes == 0 {
            return;
        }
        let all = self.all;
        match self.order {
            None => {
                let order = all.next.replace(all.next.get() + 1);
                self.order = Some(order);
                all.messages.borrow_mut().insert(order, (bytes, Rc::downgrade(handle)));
                all.held.set(all.held.get() + bytes);
            }
            Some(order) => {
                let mut messages = all.messages.borrow_mut();
                // One that is gone has been chosen to end.
                let Some((before, _)) = messages.get_mut(&order) else { return };
                all.held.set(all.held.get().saturating_sub(*before) + bytes);
                *before = bytes;
            }
        }
        all.end_oldest();
    }

    fn release(&mut self) {
        let Some(order) = self.order.take() else { return };
        if let Some((bytes, _)) = self.all.messages.borrow_mut().remove(&order) {
            self.all.held.set(self.all.held.get().saturating_sub(bytes));
        }
    }
}

impl Drop for UnfinishedGuard<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::session::EndSignal;

    #[test]
    fn the_oldest_unfinished_message_ends_first_and_all_is_given_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let all = UnfinishedMessages::new(1_000);
        let sessions: Vec<_> =
            (0..4).map(|_| SessionHandle::new(EndSignal::new(CancellationToken::new()), None)).collect();
        let mut held: Vec<_> = sessions.iter().map(|_| UnfinishedGuard::new(&all)).collect();
        let ended = || sessions.iter().map(|handle| handle.why()).collect::<Vec<_>>();
        for (held, handle) in held.iter_mut().zip(&sessions).take(3) {
            held.set(300, true, handle);
        }
        // The first begins another message, and so is the youngest.
        held[0].set(100, true, &sessions[0]);
        assert_eq!((all.held(), ended()), (700, vec![None; 4]));
        held[2].set(700, false, &sessions[2]);
        assert_eq!((all.held(), ended()), (800, vec![None, Some(CloseReason::Crowded), None, None]));
        held[1].set(999, false, &sessions[1]);
        assert_eq!(all.held(), 800, "what is ending does not count any more");
        held[3].set(100, true, &sessions[3]);
        held[0].set(0, true, &sessions[0]);
        assert_eq!(all.held(), 800);
        held.clear();
        assert_eq!((all.held(), all.messages.borrow().len()), (0, 0));
    }
}
