//! Threads that the store stops when it is dropped.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
};

use catchment_journal::Disk;
use catchment_settings::supervise::catch_thread;

use crate::store::embedded::inner::Inner;

/// A thread of a store. Dropping it stops the thread and waits for its end.
pub(in crate::store) struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts `body`, which ends soon after its flag is set and it is unparked.
    pub(in crate::store) fn start<D: Disk>(
        inner: &Arc<Inner<D>>,
        name: &str,
        body: impl FnOnce(&Inner<D>, &AtomicBool) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(inner), Arc::clone(&stop));
        let thread = Builder::new().name(name.to_owned()).spawn(move || body(&shared, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!(name, "a thread of the store panicked");
        }
    }
}

/// Runs a thread of the store; its panic makes the store fail.
pub(in crate::store) fn guarded<D: Disk>(inner: &Inner<D>, does: &str, body: impl FnOnce()) {
    if let Err(panic) = catch_thread(body) {
        inner.fail(format!("the thread that {does} panicked: {panic}").into());
    }
}
