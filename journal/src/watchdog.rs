//! A thread that runs a check periodically, for checks that must not block a thread that serves requests.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running watchdog; dropping it ends the thread and waits for a check in progress.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread `name`, which runs `check` after each pause until it returns `Break`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        name: &str,
        pause: Duration,
        mut check: impl FnMut() -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) && check().is_continue() {}
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a watchdog thread panicked");
        }
    }
}
