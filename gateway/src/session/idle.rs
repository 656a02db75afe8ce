//! Ends the sessions that are idle for too long.

use std::{rc::Rc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{context::Context, table::IDLE_CHECKS};

/// How often the worker looks.
const IDLE_CHECK_MIN: Duration = Duration::from_millis(25);
const IDLE_CHECK_MAX: Duration = Duration::from_secs(1);

/// Ends the worker's sessions that are idle for too long, and reports how many bytes they hold of unfinished messages
/// and while they wait.
pub async fn end_idle_sessions(context: Rc<Context>) {
    let idle = context.session_table.deadlines.idle;
    let step = (idle / IDLE_CHECKS).clamp(IDLE_CHECK_MIN, IDLE_CHECK_MAX);
    let mut ticks = interval(step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut shown, mut waiting_shown) = (0, 0);
    loop {
        ticks.tick().await;
        context.session_table.end_idle(Instant::now(), step);
        show(context.session_table.unfinished.held(), &context.metrics.unfinished_bytes, &mut shown);
        show(context.session_table.waiting.held(), &context.metrics.waiting_bytes, &mut waiting_shown);
    }
}

/// Adds this worker's share to a gauge of all workers; `shown` is the share that it has now.
fn show(held: usize, gauge: &Gauge, shown: &mut i64) {
    let held = i64::try_from(held).unwrap_or(i64::MAX);
    gauge.inc_by(held - *shown);
    *shown = held;
}
