//! Watches the tasks and threads that must live as long as their server.
//!
//! A runtime catches a task's panic, and everything else continues without whatever the task did: the server says that all
//! is well and no longer closes windows. So each such task is run by a [`Supervisor`], which learns of a panic, and of an
//! end that nobody asked for; the server then stops in order and says why.

use std::{
    any::Any,
    cell::RefCell,
    future::poll_fn,
    io,
    panic::{self, AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

use tokio::{sync::watch, task::JoinError};

use crate::logging::permitted;

static PANICS: AtomicU64 = AtomicU64::new(0);
/// What the latest panic of the process said.
static LATEST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// Where the last panic of this thread was, and what it said.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Counts panics from here on, and notes what they say for [`last_panic_of_thread`]. Calls after the first change
/// nothing.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
            let place = place.unwrap_or_default();
            let text = format!("{}{place}", text_of(info.payload()));
            // A peer that meets a defect again and again writes no more than other peers.
            let is_written = permitted("panic", &place, &text);
            *LATEST.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
            // A panic within a panic's report finds it lent.
            LAST.with(|last| last.try_borrow_mut().map(|mut last| *last = Some(text)).ok());
            if is_written {
                before(info);
            }
        }));
    });
}

/// Panics of this process since [`install_panic_hook`], whatever became of them: each is a defect.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// What the last panic of this thread said, and where; for code that runs while a thread unwinds, or has caught it.
pub fn last_panic_of_thread() -> String {
    LAST.with(|last| last.borrow().clone()).unwrap_or_else(|| "a panic".to_owned())
}

/// What a caught panic said, and where, if it was this thread's.
fn words(payload: &(dyn Any + Send)) -> String {
    let text = text_of(payload);
    // A panic that was carried here from another thread is not the last one of this one.
    LAST.with(|last| last.borrow().clone())
        .filter(|last| last.starts_with(text))
        .unwrap_or_else(|| text.to_owned())
}

/// What a blocking task has answered; a panic of it continues here, where it is noticed.
///
/// # Errors
/// The runtime ended before the task did.
pub fn resume_panic<T>(joined: Result<T, JoinError>) -> io::Result<T> {
    joined.map_err(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        Err(error) => io::Error::other(error),
    })
}

/// What the latest panic of any thread said: for whoever finds what a panic has left behind.
pub fn latest_panic() -> String {
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    latest.unwrap_or_else(|| "a panic".to_owned())
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

/// Runs a future; a panic of it is the error, in words. What it has borrowed is given back by then.
pub async fn catch<F: Future>(task: F) -> Result<F::Output, String> {
    install_panic_hook();
    let mut task = pin!(task);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(words(&*panic))),
    })
    .await
}

/// Runs the body of a thread; a panic of it is the error, in words.
///
/// # Errors
/// What the panic said.
pub fn catch_thread<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    install_panic_hook();
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| words(&*panic))
}

/// Who watches over a server's tasks. Share it in an `Arc`.
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
    /// Runs a task that must live as long as the server. When it panics, ends or is dropped before its time, `failed` is
    /// called with the reason, and [`Supervisor::failed`] completes.
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

    /// An ordered stop begins: tasks may end from here on. A panic still counts.
    pub fn begin_shutdown(&self) {
        self.shutting_down.store(true, Ordering::Release);
    }

    /// Why the server can no longer do its work, for `/healthz`.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.borrow().clone()
    }

    /// Completes with the reason when a task has failed.
    pub async fn failed(&self) -> Arc<str> {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // The sender lives in `self`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Something of the server has failed that is no task of its own; the first reason counts.
    pub fn report(&self, why: &str) {
        tracing::error!("{why}");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert_with(|| why.into());
            first
        });
    }
}

/// Notices the end of a task, however it comes.
struct Watch<F: FnOnce(&str)> {
    supervisor: Arc<Supervisor>,
    name: String,
    /// `None` once the end is dealt with.
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
            None => format!("the task {:?} ended, which it must not before the server stops", self.name),
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

    /// What is told of a task: by the callback, and by the supervisor.
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
        // At its time an end is none, a panic still is.
        assert_eq!(told(true, async {}).await, (None, None));
        assert!(told(true, async { panic!("late") }).await.1.is_some());
    }

    #[tokio::test]
    async fn a_task_that_is_dropped_is_noticed_and_the_first_reason_stays() {
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
    async fn a_panic_of_a_blocking_task_is_one_of_its_caller() {
        assert_eq!(resume_panic(tokio::task::spawn_blocking(|| 7).await).unwrap(), 7);
        let why =
            catch(async { resume_panic(tokio::task::spawn_blocking(|| panic!("read")).await).unwrap() })
                .await;
        assert_eq!(why, Err("read".to_owned()));
    }

    #[test]
    fn a_thread_that_panics_says_why() {
        assert_eq!(catch_thread(|| 7), Ok(7));
        let why = catch_thread(|| panic::panic_any(7_u8)).unwrap_err();
        assert!(why.starts_with("a panic without a message at "), "{why}");
    }
}
