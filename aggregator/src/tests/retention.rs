//! Rounds of retention in a running aggregator.

use std::time::Duration;

use super::rig::{Running, World};
use crate::{
    clock,
    testing::{batch, key},
};

#[tokio::test]
async fn rounds_run_beside_the_services_and_end_with_them() {
    let world = World::new();
    let mut config = world.config();
    config.retention_every = Duration::from_millis(100);
    let last_round = config.data.join("retention");
    let running = Running::new(crate::bind(config).await.unwrap());
    for name in ["rounds", "failures", "removed_rows", "freed_bytes", "removed_series"] {
        running.until_metric(&format!("catchment_aggregator_retention_{name}_total 0\n")).await;
    }
    let mut delivery = world.delivery(running.addr, "berlin").await;
    // Not whole seconds, so that the metric has decimals.
    let now = clock::now_ms() / 1_000 * 1_000 - 500;
    delivery.send(&batch(1, key("d1", "temperature", &[]), &[(now, 1.0)], now)).await;
    delivery.until(1).await.unwrap();
    assert!(!last_round.exists(), "one of two shards has no watermark yet");
    delivery.progress(1, now, 0).await;
    // The watermark, not this clock.
    let time = format!("catchment_aggregator_retention_time_seconds {}\n", now as f64 / 1_000.0);
    running.until_metric(&time).await;
    assert!(last_round.exists());
    assert!(running.page("/readyz").await.starts_with("HTTP/1.1 200"));
    running.stop().await.unwrap();
}
