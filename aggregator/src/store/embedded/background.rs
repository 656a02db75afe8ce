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

/// What the threads that arrange and check what is stored yield to others: with processors in short supply they get a
/// third of the share of a thread that answers or flushes.
const NICE: i32 = 5;

impl Background {
    /// Starts `body`, which ends soon after its flag is set and it is unparked. Its thread yields to those that serve.
    pub(in crate::store) fn start<D: Disk>(
        inner: &Arc<Inner<D>>,
        name: &str,
        body: impl FnOnce(&Inner<D>, &AtomicBool) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(inner), Arc::clone(&stop));
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            // On Linux this concerns the calling thread only. A system that refuses serves all the same.
            let _refused = rustix::process::setpriority_process(None, NICE);
            body(&shared, &stopped);
        })?;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_background_thread_yields_and_its_maker_does_not() {
        let data = tempfile::tempdir().unwrap();
        let (store, _) = crate::store::testing::open(data.path());
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let (send, seen) = mpsc::sync_channel(1);
        let before = nice();
        drop(Background::start(&store.inner, "test", move |_, _| send.send(nice()).unwrap()).unwrap());
        assert_eq!((seen.recv().unwrap(), nice()), (before.max(NICE), before));
    }
}
