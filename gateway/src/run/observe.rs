//! Keeps gauges and conditions up to date.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    budget::Budget,
    clock::Clock,
    clock_guard::{ClockGuard, FORWARD_JUMP_HOLD},
    conditions::{UplinkWatch, watch_room},
    metrics::Metrics,
    shard::ShardLog,
    worker::Worker,
};

/// How often the gauges are updated.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// Updates gauges and conditions forever.
pub(super) async fn observe(
    workers: &[Worker],
    logs: &[ShardLog],
    metrics: &Metrics,
    budget: &Budget,
    clock: &dyn Clock,
) {
    tokio::join!(show(workers, metrics, budget, clock), watch_room(logs, &metrics.conditions));
}

async fn show(workers: &[Worker], metrics: &Metrics, budget: &Budget, clock: &dyn Clock) {
    let (mut clock_guard, mut uplink) = (ClockGuard::default(), UplinkWatch::default());
    loop {
        uplink.check(metrics.uplink_connected.get() == 1, clock.mono(), &metrics.conditions);
        if let Some(step) = clock_guard.observe(clock.wall(), clock.mono()).step {
            metrics.clock_steps.inc();
            let seconds = step as f64 / 1e9;
            tracing::warn!(
                seconds,
                "the wall clock was stepped; a forward step counts once it has lasted {FORWARD_JUMP_HOLD:?}"
            );
        }
        metrics.clock_offset.set(clock_guard.held_back() as f64 / 1e9);
        metrics.show_budget(budget);
        let seen: Vec<_> = workers.iter().map(Worker::observation).collect();
        let bounded = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.open_windows.set(bounded(seen.iter().map(|o| o.open_windows as u64).sum()));
        metrics.journal_bytes.set(bounded(seen.iter().map(|o| o.journal_bytes).sum()));
        metrics.outbox_bytes.set(bounded(seen.iter().map(|o| o.outbox_bytes).sum()));
        metrics.kept.raw_bytes.set(bounded(seen.iter().map(|o| o.raw_kept_bytes).sum()));
        metrics.kept.bytes.set(bounded(seen.iter().map(|o| o.outbox_kept_bytes).sum()));
        if let Some(watermark) = seen.iter().filter_map(|o| o.watermark_ms).min() {
            let lag = clock.wall().as_millis().saturating_sub(watermark);
            metrics.watermark_lag_seconds.set(lag as f64 / 1e3);
        }
        sleep(OBSERVE_EVERY).await;
    }
}
