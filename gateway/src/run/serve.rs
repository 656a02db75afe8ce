//! What ends a gateway: its caller, a failed log, or a failed task.

use std::{pin::pin, sync::Arc, time::Duration};

use catchment_settings::supervise::{Supervisor, panics};
use tokio::time::timeout;

use super::RunError;
use crate::shard::ShardLog;

/// Longest time from the first effect of a panic to the end of its task.
const UNWIND_MAX: Duration = Duration::from_secs(1);

/// Serves until `shutdown` completes or something fails.
pub(super) async fn serve(
    shutdown: impl Future<Output = ()>,
    supervisor: &Arc<Supervisor>,
    logs: &[ShardLog],
    observing: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut observing = pin!(supervisor.task("observe", |_| (), observing));
    let result = tokio::select! {
        biased;
        result = watch_over(shutdown, supervisor, logs) => result,
        // It completes only by failing, and the supervisor records the failure first.
        () = &mut observing => Err(RunError::Defect(supervisor.failed().await)),
    };
    supervisor.begin_shutdown();
    result
}

/// Waits for `what`, unless a task or a log fails first.
pub(super) async fn watch_over(
    what: impl Future<Output = ()>,
    supervisor: &Supervisor,
    logs: &[ShardLog],
) -> Result<(), RunError> {
    tokio::select! {
        biased;
        () = what => Ok(()),
        // Checked before the logs: a panic in a worker's task also poisons them.
        why = supervisor.failed() => Err(RunError::Defect(why)),
        why = first_failure(logs) => Err(reason(why, supervisor).await),
    }
}

/// Why a log failed. A panic poisons the log while it unwinds; the supervisor names the panicked task a moment later.
async fn reason(why: Arc<str>, supervisor: &Supervisor) -> RunError {
    if panics() == 0 {
        return RunError::Failed(why);
    }
    timeout(UNWIND_MAX, supervisor.failed()).await.map_or(RunError::Failed(why), RunError::Defect)
}

/// Completes with the reason as soon as a log fails.
async fn first_failure(logs: &[ShardLog]) -> Arc<str> {
    if logs.is_empty() {
        return std::future::pending().await;
    }
    let failures = logs.iter().map(|log| Box::pin(log.failure()));
    futures_util::future::select_all(failures).await.0
}
