//! The gRPC methods of queries: authorize the caller and run the work.

use std::{sync::Arc, time::Duration};

use catchment_proto::wire::{
    AggregateRequest, AggregateResponse, RawRequest, RawResponse, WatchRequest, WatchResponse,
    query_server::Query,
};
use tonic::{Request, Response, Status};

use super::{
    raw,
    runner::{ResponseStream, Runner},
    scan::{self, Present},
    watch::WatchHub,
};
use crate::{
    access::{self, CallingOperator},
    clock,
    ingest::StreamRegistry,
    metrics::Metrics,
    store::QueryStore,
};

/// The service `catchment.v1.Query`.
pub(crate) struct QueryService {
    pub(crate) store: Arc<dyn QueryStore>,
    pub(crate) runner: Runner,
    pub(crate) streams: Arc<StreamRegistry>,
    /// How far ahead of the clock a watermark is believed.
    pub(crate) clock_tolerance: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) watches: WatchHub,
}

#[tonic::async_trait]
impl Query for QueryService {
    type AggregateStream = ResponseStream<AggregateResponse>;
    type WatchStream = ResponseStream<WatchResponse>;
    type RawStream = ResponseStream<RawResponse>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = access::operator(&request)?;
        self.watches.watch(&caller, request.into_inner()).await
    }

    async fn raw(&self, request: Request<RawRequest>) -> Result<Response<Self::RawStream>, Status> {
        let caller = access::operator(&request)?;
        let request = request.into_inner();
        tracing::info!(operator = %caller.operator, selector = %request.selector.escape_debug(), "raw readings");
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.streams));
        let work = move |sink| async move { raw::execute(store, &streams, request, &sink).await };
        self.runner.run(&caller, work).await
    }

    async fn aggregate(
        &self,
        request: Request<AggregateRequest>,
    ) -> Result<Response<Self::AggregateStream>, Status> {
        let caller = access::operator(&request)?;
        self.answer(&caller, request.into_inner()).await
    }
}

impl QueryService {
    /// Runs a query for aggregates; returns the stream of its answer once the first message is there.
    ///
    /// # Errors
    /// The query is refused, or ended before its first message.
    pub(crate) async fn answer(
        &self,
        caller: &CallingOperator,
        request: AggregateRequest,
    ) -> Result<Response<ResponseStream<AggregateResponse>>, Status> {
        tracing::debug!(operator = %caller.operator, selector = %request.selector.escape_debug(), "query");
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let present = Present {
            now_ms: clock::now_ms(),
            clock_tolerance: self.clock_tolerance,
            streams: Arc::clone(&self.streams),
        };
        let points_max = self.runner.limits().points_max;
        self.runner
            .run(caller, move |sink| async move {
                let points = scan::execute(store, request, points_max, &present, &sink).await?;
                metrics.query_points.inc_by(points);
                Ok(())
            })
            .await
    }
}
