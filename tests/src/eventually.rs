//! Waiting for expected events: polling up to a limit, never a fixed sleep.
//!
//! The limit is generous, because a test must not fail on a slow machine; a successful test does not wait for it.
//! `CATCHMENT_TEST_PATIENCE` sets it in seconds.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Pause between two polls.
const PAUSE: Duration = Duration::from_millis(30);

/// The wait limit: 30 s unless `CATCHMENT_TEST_PATIENCE` sets another.
pub fn wait_limit() -> Duration {
    let given = std::env::var("CATCHMENT_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(30))
}

/// Polls `look` until it succeeds and returns its result; its error says what is missing.
///
/// # Panics
/// When the wait limit has passed, with what was missing at the last poll.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + wait_limit();
    loop {
        let missing = match timeout(wait_limit(), look()).await {
            Ok(Ok(seen)) => return seen,
            Ok(Err(missing)) => missing,
            Err(_) => "the poll itself did not end".to_owned(),
        };
        assert!(Instant::now() < deadline, "timeout: {what}\n{missing}");
        sleep(PAUSE).await;
    }
}

/// Waits for a future.
///
/// # Panics
/// When the wait limit has passed.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(wait_limit(), future).await {
        Ok(value) => value,
        Err(_) => panic!("timeout: {what}"),
    }
}
