//! Waits for a flag.

use tokio::sync::watch;

/// Resolves when the flag turns true, or its sender is dropped.
pub async fn when_set(mut flag: watch::Receiver<bool>) {
    // An error means that the sender was dropped.
    let _ = flag.wait_for(|flag| *flag).await;
}
