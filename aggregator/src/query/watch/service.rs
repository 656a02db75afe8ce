//! From a request to the stream of its messages.

use std::sync::Arc;

use catchment_proto::wire::{WatchRequest, WatchResponse};
use tonic::{Response, Status};

use super::{
    error::WatchError,
    hub::{Hub, WatchHub},
    reader::WatchReader,
    request::Request,
};
use crate::{
    access::CallingOperator,
    clock,
    metrics::Metrics,
    query::{compute::compute, runner::ResponseStream},
};

impl WatchHub {
    /// Opens a watch.
    ///
    /// # Errors
    /// The request is invalid, or there are too many watches.
    pub(crate) async fn watch(
        &self,
        caller: &CallingOperator,
        request: WatchRequest,
    ) -> Result<Response<ResponseStream<WatchResponse>>, Status> {
        let hub = &self.0;
        let opened = match checked(hub, caller, request).await {
            Ok(request) => hub.open(caller, request),
            Err(error) => Err(error),
        };
        let subscription = opened.map_err(|error: WatchError| {
            Metrics::count(&hub.metrics.watch.refused, error.reason());
            Status::from(error)
        })?;
        let reader = WatchReader { hub: Arc::clone(hub), subscription, over: false };
        Ok(Response::new(Box::pin(reader)))
    }
}

/// Checks a request on a query thread: its regular expressions and its list of calendar steps may be long. An operator who
/// has no room for another watch is refused before.
async fn checked(hub: &Hub, caller: &CallingOperator, request: WatchRequest) -> Result<Request, WatchError> {
    if hub.is_stopping() {
        return Err(WatchError::Stopping);
    }
    hub.check_room(&hub.lock(), &caller.operator)?;
    let (now_ms, longest) = (clock::now_ms(), hub.queries.timeout);
    let check = move || Request::new(request, now_ms);
    let request = compute(&hub.workers, &caller.operator, longest, check).await??;
    let selector = request.plan.selectors.first().map_or("", |selector| selector.text());
    tracing::debug!(operator = %caller.operator, selector = %selector.escape_debug(), "watch");
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use catchment_proto::{Name, OperatorId, wire::AggregateRequest};

    use super::*;
    use crate::{
        access::Disconnect,
        config::{QueryLimits, WatchLimits},
        query::Runner,
        testing::MemoryStore,
    };

    #[tokio::test]
    async fn a_request_is_checked_in_a_slot_of_its_operator() {
        let limits =
            QueryLimits { per_operator_max: 1, waiting_per_operator_max: 0, ..QueryLimits::default() };
        let metrics = Metrics::new();
        let runner = Runner::new(limits, Arc::clone(&metrics), &Arc::default()).unwrap();
        let (streams, watches) =
            (Arc::default(), WatchLimits { per_operator_max: 1, ..WatchLimits::default() });
        let store = Arc::new(MemoryStore::default());
        let streams = (&streams, Duration::ZERO);
        let hub = WatchHub::start(store, &runner, streams, &metrics, watches, &Arc::default()).unwrap();
        let operator = OperatorId { name: Name::new("ada").unwrap() };
        let ada = CallingOperator { operator, disconnect: Disconnect::default() };
        let query = AggregateRequest { selector: "m".to_owned(), step_ms: 1_000, ..Default::default() };
        let request = WatchRequest { query: Some(query), ..WatchRequest::default() };
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(1);
        let (counts, caller, busy) = (runner.counts(), ada.clone(), runner.clone());
        let busy = tokio::spawn(async move { busy.compute(&caller, move || _ = ended.recv()).await });
        while counts().running == 0 {
            tokio::task::yield_now().await;
        }
        let refused = hub.watch(&ada, request.clone()).await.map(|_| ()).unwrap_err();
        assert!(refused.message().contains("waiting"), "{refused}");
        drop(end);
        busy.await.unwrap().unwrap();
        let open = hub.watch(&ada, request.clone()).await.unwrap();
        let refused = hub.watch(&ada, request).await.map(|_| ()).unwrap_err();
        assert!(refused.message().contains("watches_per_operator_max"), "{refused}");
        drop(open);
    }
}
