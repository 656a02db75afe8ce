//! A thread that looks at something from time to time, for what must not be looked at by a thread that serves.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running watch; dropping it ends the thread and waits for a look under way.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread `name`, which looks after each pause until the look breaks.
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
            tracing::error!("a watching thread panicked");
        }
    }
}
