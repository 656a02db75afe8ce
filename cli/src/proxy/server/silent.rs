//! Connections that have asked nothing yet, in the order in which they came.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// Those that have asked nothing yet: at most as many as there are connections.
#[derive(Debug, Default)]
pub(super) struct Silent {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    next: u64,
    /// Each by its number; what is sent closes it.
    close: BTreeMap<u64, oneshot::Sender<()>>,
}

/// That a connection has asked nothing yet. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Silence {
    silent: Arc<Silent>,
    number: u64,
}

impl Silent {
    /// A new connection, and what tells it to close. An error there: it no longer can be told.
    pub(super) fn enter(silent: &Arc<Self>) -> (Silence, oneshot::Receiver<()>) {
        let (close, closed) = oneshot::channel();
        let mut list = silent.list.lock().unwrap_or_else(PoisonError::into_inner);
        let number = list.next;
        list.next += 1;
        list.close.insert(number, close);
        (Silence { silent: Arc::clone(silent), number }, closed)
    }

    /// Closes the one that has been silent longest, if there is one.
    pub(super) fn close_oldest(&self) {
        let oldest = self.list.lock().unwrap_or_else(PoisonError::into_inner).close.pop_first();
        if let Some((_, close)) = oldest {
            // It may have ended meanwhile.
            let _ = close.send(());
        }
    }
}

impl Silence {
    /// It has asked something.
    pub(super) fn end(&self) {
        self.silent.list.lock().unwrap_or_else(PoisonError::into_inner).close.remove(&self.number);
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.end();
    }
}
