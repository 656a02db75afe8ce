//! Ends the sessions that are idle for too long.

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{context::Context, table::IDLE_CHECKS};

/// How often the worker looks.
const IDLE_CHECK_MIN: Duration = Duration::from_millis(25);
const IDLE_CHECK_MAX: Duration = Duration::from_secs(1);

/// Ends the worker's sessions that are idle for too long, and reports how many bytes of unfinished messages they hold.
pub async fn end_idle_sessions(context: Rc<Context>) {
    let idle = context.session_table.deadlines.idle;
    let step = (idle / IDLE_CHECKS).clamp(IDLE_CHECK_MIN, IDLE_CHECK_MAX);
    let mut ticks = interval(step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = 0;
    loop {
        ticks.tick().await;
        context.session_table.end_idle(Instant::now(), step);
        let held = i64::try_from(context.session_table.unfinished.held()).unwrap_or(i64::MAX);
        context.metrics.unfinished_bytes.inc_by(held - shown);
        shown = held;
    }
}
