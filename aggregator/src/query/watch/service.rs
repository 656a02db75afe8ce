//! From a request to the stream of its messages.

use std::sync::Arc;

use catchment_proto::wire::{WatchRequest, WatchResponse};
use tonic::{Response, Status};

use super::{error::WatchError, hub::WatchHub, reader::WatchReader, request::Request};
use crate::{access::CallingOperator, clock, metrics::Metrics, query::runner::ResponseStream};

impl WatchHub {
    /// Opens a watch.
    ///
    /// # Errors
    /// The request is invalid, or there are too many watches.
    pub(crate) fn watch(
        &self,
        caller: &CallingOperator,
        request: WatchRequest,
    ) -> Result<Response<ResponseStream<WatchResponse>>, Status> {
        let hub = &self.0;
        let opened = Request::new(request, clock::now_ms()).and_then(|request| {
            let selector = request.plan.selectors.first().map_or("", |selector| selector.text());
            tracing::debug!(operator = %caller.operator, selector = %selector.escape_debug(), "watch");
            hub.open(caller, request)
        });
        let subscription = opened.map_err(|error: WatchError| {
            Metrics::count(&hub.metrics.watch.refused, error.reason());
            Status::from(error)
        })?;
        let reader = WatchReader { hub: Arc::clone(hub), subscription, over: false };
        Ok(Response::new(Box::pin(reader)))
    }
}
