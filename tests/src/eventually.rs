//! Waiting for what must come: polling with a patience, never a fixed sleep.
//!
//! The patience is generous, because a test must not fail on a slow machine; a test that succeeds does not
//! wait for it. `CATCHMENT_TEST_PATIENCE` sets it in seconds.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(30);

/// How long to wait for what must come: 30 s unless `CATCHMENT_TEST_PATIENCE` says otherwise.
pub fn wait_limit() -> Duration {
    let given = std::env::var("CATCHMENT_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(30))
}

/// Looks again and again until `look` is satisfied, and answers what it saw; its error says what is missing.
///
/// # Panics
/// When the patience is over, with what was missing at the last look.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + wait_limit();
    loop {
        let missing = match timeout(wait_limit(), look()).await {
            Ok(Ok(seen)) => return seen,
            Ok(Err(missing)) => missing,
            Err(_) => "the look itself did not end".to_owned(),
        };
        assert!(Instant::now() < deadline, "waited in vain: {what}\n{missing}");
        sleep(PAUSE).await;
    }
}

/// Waits for a future.
///
/// # Panics
/// When the patience is over.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(wait_limit(), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
