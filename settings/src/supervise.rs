//! Supervises tasks and threads that must live as long as their server.
//!
//! A runtime catches a task's panic, and everything else continues without the task: the server would report healthy
//! and no longer close windows. So a [`Supervisor`] runs each such task and notices a panic or an unexpected end; the
//! server then stops in order and reports the reason.

use std::{
    any::Any,
    cell::RefCell,
    io,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinError};

use crate::logging::permitted;

static PANICS: AtomicU64 = AtomicU64::new(0);
/// The message of the process's latest panic.
static LATEST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// Message and location of this thread's last panic.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Counts panics from now on, and records their messages for [`last_panic_of_thread`]. Later calls have no effect.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
            let place = place.unwrap_or_default();
            let text = format!("{}{place}", text_of(info.payload()));
            // Limited, so that a peer that triggers a defect repeatedly cannot flood the log.
            let is_written = permitted("panic", &place, &text);
            *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
            // A panic while reporting a panic finds it borrowed.
            LAST.with(|last| last.try_borrow_mut().map(|mut last| *last = Some(text)).ok());
            if is_written {
                before(info);
            }
        }));
    });
}

/// Number of panics of this process since [`install_panic_hook`], caught or not: each is a defect.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Message and location of this thread's last panic; for code that runs while the thread unwinds, or has caught it.
pub fn last_panic_of_thread() -> String {
    LAST.with(|last| last.borrow().clone()).unwrap_or_else(|| "a panic".to_owned())
}

/// The message of a caught panic, with its location if it was this thread's.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = text_of(payload);
    // A panic resumed from another thread is not this thread's last one.
    LAST.with(|last| last.borrow().clone())
        .filter(|last| last.starts_with(text))
        .unwrap_or_else(|| text.to_owned())
}

/// The result of a blocking task; resumes its panic here, where it is noticed.
///
/// # Errors
/// The runtime ended before the task did.
pub fn resume_panic<T>(joined: Result<T, JoinError>) -> io::Result<T> {
    joined.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(error) => io::Error::other(error),
    })
}

/// The message of the latest panic of any thread, for code that finds the consequences of a panic.
pub fn latest_panic() -> String {
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    latest.unwrap_or_else(|| "a panic".to_owned())
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Runs a future; if it panics, returns the message as the error. The future is dropped by then.
///
/// Takes no more memory than the future itself: an `async fn` would hold it twice, as argument and where it is pinned, which
/// for a device's session is 1.6 KiB of a connection.
pub fn catch<F: Future>(task: F) -> impl Future<Output = Result<F::Output, String>> {
    install_panic_hook();
    AssertUnwindSafe(task).catch_unwind().map(|ended| ended.map_err(|panic| words(&*panic)))
}

/// Runs the body of a thread; if it panics, returns the message as the error.
///
/// # Errors
/// The message of the panic.
pub fn catch_thread<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    install_panic_hook();
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| words(&*panic))
}

/// Supervises a server's tasks. Share it in an `Arc`.
#[derive(Debug)]
pub struct Supervisor {
    failure: watch::Sender<Option<Arc<str>>>,
    shutting_down: AtomicBool,
}

impl Default for Supervisor {
    fn default() -> Self {
        install_panic_hook();
        Self { failure: watch::Sender::new(None), shutting_down: AtomicBool::new(false) }
    }
}

impl Supervisor {
    /// Runs a task that must live as long as the server. If it panics, or ends or is dropped too early, calls `failed`
    /// with the reason and completes [`Supervisor::failed`].
    pub fn task<F: Future, C: FnOnce(&str)>(
        self: &Arc<Self>,
        name: &str,
        failed: C,
        task: F,
    ) -> impl Future<Output = ()> + use<F, C> {
        let watch = Watch { supervisor: Arc::clone(self), name: name.to_owned(), failed: Some(failed) };
        async move {
            let ended = catch(task).await;
            watch.ended(ended.err());
        }
    }

    /// Begins an orderly shutdown: tasks may end from now on. A panic still counts as a failure.
    pub fn begin_shutdown(&self) {
        self.shutting_down.store(true, Ordering::Release);
    }

    /// Why the server can no longer work, for `/healthz`.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.borrow().clone()
    }

    /// Waits until a task has failed; returns the reason.
    pub async fn failed(&self) -> Arc<str> {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // Unreachable: the sender lives in `self`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Reports a failure of something other than a supervised task; the first reason counts.
    pub fn report(&self, why: &str) {
        tracing::error!("{why}");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.into());
            first
        });
    }
}

/// Notices the end of a task, whatever the cause.
struct Watch<F: FnOnce(&str)> {
    supervisor: Arc<Supervisor>,
    name: String,
    /// `None` once the end is handled.
    failed: Option<F>,
}

impl<F: FnOnce(&str)> Watch<F> {
    fn ended(mut self, panic: Option<String>) {
        self.end(panic);
    }

    fn end(&mut self, panic: Option<String>) {
        let Some(failed) = self.failed.take() else { return };
        let why = match panic {
            Some(panic) => format!("the task {:?} panicked: {panic}", self.name),
            None if self.supervisor.shutting_down.load(Ordering::Acquire) => return,
            None => format!("the task {:?} ended before the server stopped", self.name),
        };
        self.supervisor.report(&why);
        failed(&why);
    }
}

impl<F: FnOnce(&str)> Drop for Watch<F> {
    fn drop(&mut self) {
        self.end(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The failures of a task reported by the callback and by the supervisor.
    async fn told(
        begin_shutdown: bool,
        task: impl Future<Output = ()>,
    ) -> (Option<String>, Option<Arc<str>>) {
        let (supervisor, called) = (Arc::new(Supervisor::default()), Mutex::new(None));
        if begin_shutdown {
            supervisor.begin_shutdown();
        }
        supervisor.task("tick", |why| *called.lock().unwrap() = Some(why.to_owned()), task).await;
        (called.into_inner().unwrap(), supervisor.failure())
    }

    #[tokio::test]
    async fn a_panic_and_an_early_end_are_failures() {
        let before = panics();
        let (called, failure) = told(false, async { panic!("no {}", "clock") }).await;
        let why = called.unwrap();
        assert!(
            why.starts_with("the task \"tick\" panicked: no clock at settings/src/supervise.rs:"),
            "{why}"
        );
        assert_eq!(failure.as_deref(), Some(why.as_str()));
        assert!(panics() > before);
        let (called, failure) = told(false, async {}).await;
        assert!(called.unwrap().contains("ended") && failure.is_some());
        // During shutdown, an end is not a failure, but a panic still is.
        assert_eq!(told(true, async {}).await, (None, None));
        assert!(told(true, async { panic!("late") }).await.1.is_some());
    }

    #[tokio::test]
    async fn a_dropped_task_is_noticed_and_the_first_reason_stays() {
        let supervisor = Arc::new(Supervisor::default());
        drop(supervisor.task("first", |_| (), std::future::pending::<()>()));
        drop(supervisor.task("second", |_| (), std::future::pending::<()>()));
        assert!(supervisor.failed().await.contains("\"first\" ended"));
        let quiet = Arc::new(Supervisor::default());
        let task = quiet.task("uplink", |_| (), std::future::pending::<()>());
        quiet.begin_shutdown();
        drop(task);
        assert_eq!(quiet.failure(), None);
    }

    #[tokio::test]
    async fn a_panic_of_a_blocking_task_resumes_in_its_caller() {
        assert_eq!(resume_panic(tokio::task::spawn_blocking(|| 7).await).unwrap(), 7);
        let why =
            catch(async { resume_panic(tokio::task::spawn_blocking(|| panic!("read")).await).unwrap() })
                .await;
        assert_eq!(why, Err("read".to_owned()));
    }

    #[tokio::test]
    async fn a_future_that_panicked_is_dropped_before_its_end_is_told() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let ended = catch(async move {
            let _held = held;
            tokio::task::yield_now().await;
            panic!("late")
        });
        let (why, left) =
            ended.map(|ended: Result<(), _>| (ended.unwrap_err(), Arc::strong_count(&alive))).await;
        assert!(why.starts_with("late at "), "{why}");
        assert_eq!(left, 1);
    }

    #[test]
    fn catching_takes_hardly_more_memory_than_the_future() {
        let task = async {
            let large = [0_u8; 4_096];
            tokio::task::yield_now().await;
            large.len()
        };
        let alone = size_of_val(&task);
        assert!(alone >= 4_096 && size_of_val(&catch(task)) <= alone + 64);
    }

    #[test]
    fn the_message_of_a_panicking_thread_is_returned() {
        assert_eq!(catch_thread(|| 7), Ok(7));
        let why = catch_thread(|| panic::panic_any(7_u8)).unwrap_err();
        assert!(why.starts_with("a panic without a message at "), "{why}");
    }
}
