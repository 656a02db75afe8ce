//! Waits for a flag.

use tokio::sync::watch;

/// Resolves when the value turns true, or its sender is gone.
pub async fn when_set(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone.
    let _ = flag.wait_for(|flag| *flag).await;
}
