//! The thread that keeps the label index up to date.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use catchment_journal::Disk;
use catchment_settings::supervise::catch_thread;

use crate::store::embedded::{inner::Inner, locks::read};

/// How long it sleeps at most, in case a wake-up came before it slept.
const SLEEP: Duration = Duration::from_secs(1);

/// The indexer's thread; runs until it must stop (and is unparked). Its panic stops only the index, which is a copy.
pub(in crate::store) fn run<D: Disk>(inner: &Inner<D>, stop: &AtomicBool) {
    let index = Arc::clone(&read(&inner.state).catalog.index);
    index.set_indexer(thread::current());
    let is_stopped = || stop.load(Ordering::Acquire);
    let body = || {
        while !is_stopped() {
            index.catch_up(&inner.state, &is_stopped);
            if !is_stopped() {
                thread::park_timeout(SLEEP);
            }
        }
    };
    if let Err(panic) = catch_thread(body) {
        tracing::error!(panic, "the label index stops growing: queries check newer series one by one");
    }
}
