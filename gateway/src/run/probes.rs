//! What `/metrics`, `/healthz` and `/readyz` answer.

use std::sync::Arc;

use catchment_settings::{http::Endpoints, supervise::Supervisor};
use tokio::sync::watch;

use crate::{metrics::Metrics, shard::ShardLog};

pub(super) fn endpoints(
    metrics: &Arc<Metrics>,
    logs: &[ShardLog],
    supervisor: &Arc<Supervisor>,
    stopping: watch::Receiver<bool>,
) -> Endpoints {
    let (metrics, supervisor) = (Arc::clone(metrics), Arc::clone(supervisor));
    let logs: Arc<[ShardLog]> = logs.into();
    let check = move || {
        let failed = || logs.iter().find_map(ShardLog::poisoned);
        supervisor.failure().or_else(failed).map_or(Ok(()), |why| Err(why.to_string()))
    };
    let healthy: Arc<dyn Fn() -> Result<(), String> + Send + Sync> = Arc::new(check);
    let (failed, conditions) = (Arc::clone(&healthy), Arc::clone(&metrics.conditions));
    // Names the condition that ends the gateway, not only the failure that follows from it.
    let ready = move || {
        let stopping = if *stopping.borrow() { Err("stopping".to_owned()) } else { Ok(()) };
        let why: Vec<String> =
            [conditions.ready(), failed(), stopping].into_iter().filter_map(Result::err).collect();
        if why.is_empty() { Ok(conditions.notices()) } else { Err(why.join("; ")) }
    };
    let counted = Arc::clone(&metrics);
    let closed = Arc::new(move |reason| counted.close_http(reason));
    Endpoints { metrics: Arc::new(move || metrics.text()), healthy, ready: Arc::new(ready), closed }
}
