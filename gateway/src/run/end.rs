//! The ordered shutdown of a gateway.

use std::{sync::Arc, time::Instant};

use tokio::time::timeout;

use crate::{
    config::Config,
    folder::FolderWatch,
    worker::{ShardLink, Worker},
};

/// Ends the sessions, writes checkpoints, then delivers, until `stop_timeout` is over. After a failure it only ends
/// sessions and writes checkpoints, of the shards that did not fail.
pub(super) async fn end(
    workers: &[Worker],
    outboxes: &[ShardLink],
    config: &Config,
    folder: &Arc<FolderWatch>,
    healthy: bool,
) {
    let started = Instant::now();
    let steps = async {
        for worker in workers.iter().filter(|worker| worker.is_healthy()) {
            worker.sessions_ended().await;
        }
        tracing::info!(took = ?started.elapsed(), "sessions ended");
        for worker in workers.iter().filter(|worker| worker.is_healthy()) {
            worker.finished().await;
        }
        tracing::info!(took = ?started.elapsed(), "checkpoints written");
        if !healthy {
            return;
        }
        for link in outboxes {
            link.delivered().await;
        }
        tracing::info!(took = ?started.elapsed(), "all closed windows are delivered");
    };
    if timeout(config.stop_timeout, steps).await.is_err() && folder.check_in_background().await.is_ok() {
        tracing::warn!(took = ?started.elapsed(), "stopping with undelivered partials; they stay durable");
    }
}
