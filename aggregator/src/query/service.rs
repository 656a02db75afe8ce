//! The gRPC method of queries: who asks, the plan, and a thread for it.

use std::sync::Arc;

use catchment_proto::wire::{AggregateRequest, AggregateResponse, query_server::Query};
use tonic::{Request, Response, Status};

use super::{
    plan::Plan,
    runner::{AnswerStream, Runner},
    scan,
};
use crate::{access, clock, metrics::Metrics, store::Store};

/// The service `catchment.v1.Query`.
pub(crate) struct QueryService {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) runner: Runner,
    pub(crate) metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl Query for QueryService {
    type AggregateStream = AnswerStream<AggregateResponse>;

    async fn aggregate(
        &self,
        request: Request<AggregateRequest>,
    ) -> Result<Response<Self::AggregateStream>, Status> {
        let operator = access::operator(&request)?;
        let request = request.into_inner();
        tracing::debug!(%operator, selector = %request.selector.escape_debug(), "query");
        let plan = Plan::new(request).map_err(|error| self.runner.refuse(error.into()))?;
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let points_max = self.runner.limits().points_max;
        self.runner
            .run(move |outlet| {
                let points = scan::answer(&*store, &plan, points_max, clock::now_ms(), outlet)?;
                metrics.query_points.inc_by(points);
                Ok(())
            })
            .await
    }
}
