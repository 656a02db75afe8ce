//! Lists of devices, gateways and series, as the store and the open streams know them.
//!
//! A device is listed under each gateway that delivered for it; under all but the last one it has moved, and counts as
//! neither silent nor expiring.
//!
//! * `lists`: whole lists, collected page by page, sorted and streamed; `moved`: which devices have moved;
//! * `pages`: one page of a list, searched and sorted; `order`: by what;
//! * `summary`: the state of the fleet in numbers.

mod lists;
mod moved;
mod order;
mod pages;
mod summary;

use std::{sync::Arc, time::Duration};

use catchment_proto::{
    GatewayId, Name,
    wire::{self, FleetRequest, fleet_server::Fleet},
};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use self::pages::Page;
use crate::{
    access::{self, CallingOperator},
    clock,
    clock_bound::ClockBound,
    ingest::StreamRegistry,
    query::{QueryError, ResponseStream, Runner, Selector, Sink, each_series},
    store::{MaintenanceStore, QueryStore, StoreError},
};

/// The service `catchment.v1.Fleet`.
pub(crate) struct FleetService {
    pub(crate) store: Arc<dyn QueryStore>,
    /// Forgets series.
    pub(crate) maintenance: Arc<dyn MaintenanceStore>,
    pub(crate) streams: Arc<StreamRegistry>,
    pub(crate) runner: Runner,
    /// How far ahead of the clock a watermark is believed.
    pub(crate) clock_tolerance: Duration,
    /// One request at a time forgets series.
    pub(crate) forgetting: Arc<Semaphore>,
}

impl FleetService {
    /// Runs work that sends one message.
    async fn alone<T, F, W>(&self, caller: &CallingOperator, work: F) -> Result<Response<T>, Status>
    where
        T: Send + 'static,
        F: FnOnce(Sink<T>) -> W + Send + 'static,
        W: Future<Output = Result<(), QueryError>> + Send + 'static,
    {
        let message = self.runner.run(caller, work).await?.into_inner().next().await;
        message.unwrap_or_else(|| Err(Status::internal("the answer is missing"))).map(Response::new)
    }
}

/// The operator that asks, and its selector.
fn authorized(request: Request<FleetRequest>) -> Result<(CallingOperator, String), Status> {
    let caller = access::operator(&request)?;
    Ok((caller, request.into_inner().selector))
}

/// Parses a selector; `labels`: those that may be selected on, all if empty.
fn selector(text: &str, labels: &[&str]) -> Result<Selector, QueryError> {
    let selector = Selector::parse_or_all(text)?;
    if !labels.is_empty() {
        selector.only(labels)?;
    }
    Ok(selector)
}

#[tonic::async_trait]
impl Fleet for FleetService {
    type ListDevicesStream = ResponseStream<wire::Device>;
    type ListGatewaysStream = ResponseStream<wire::Gateway>;
    type ListSeriesStream = ResponseStream<wire::Series>;

    async fn list_devices(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListDevicesStream>, Status> {
        let (caller, text) = authorized(request)?;
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.streams));
        let work =
            move |sink| async move { lists::devices(&*store, &streams.certificates, &text, &sink).await };
        self.runner.run(&caller, work).await
    }

    async fn list_gateways(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListGatewaysStream>, Status> {
        let (caller, text) = authorized(request)?;
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.streams));
        let clock = ClockBound::new(clock::now_ms(), self.clock_tolerance);
        let work = move |sink| async move { lists::gateways(&*store, (&streams, clock), &text, &sink).await };
        self.runner.run(&caller, work).await
    }

    async fn list_series(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListSeriesStream>, Status> {
        let (caller, text) = authorized(request)?;
        let store = Arc::clone(&self.store);
        let work = move |sink| async move { lists::series(&*store, &text, &sink).await };
        self.runner.run(&caller, work).await
    }

    async fn page_devices(
        &self,
        request: Request<wire::PageRequest>,
    ) -> Result<Response<wire::DevicePage>, Status> {
        let caller = access::operator(&request)?;
        let page = Page::of_devices(request.into_inner())?;
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.streams));
        let now_ms = clock::now_ms();
        let work = move |sink| async move {
            pages::devices((&*store, &streams.certificates), now_ms, &page, &sink).await
        };
        self.alone(&caller, work).await
    }

    async fn page_gateways(
        &self,
        request: Request<wire::PageRequest>,
    ) -> Result<Response<wire::GatewayPage>, Status> {
        let caller = access::operator(&request)?;
        let page = Page::of_gateways(request.into_inner())?;
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.streams));
        let clock = ClockBound::new(clock::now_ms(), self.clock_tolerance);
        let work = move |sink| async move { pages::gateways(&*store, (&streams, clock), &page, &sink).await };
        self.alone(&caller, work).await
    }

    async fn summarize(
        &self,
        request: Request<wire::SummaryRequest>,
    ) -> Result<Response<wire::FleetSummary>, Status> {
        let caller = access::operator(&request)?;
        let request = request.into_inner();
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.streams));
        let clock = ClockBound::new(clock::now_ms(), self.clock_tolerance);
        let work =
            move |sink| async move { summary::summarize(&*store, (&streams, clock), &request, &sink).await };
        self.alone(&caller, work).await
    }

    async fn retire_gateway(
        &self,
        request: Request<wire::RetireGatewayRequest>,
    ) -> Result<Response<wire::RetireGatewayResponse>, Status> {
        let caller = access::operator(&request)?;
        let wire::RetireGatewayRequest { site, gateway, undo } = request.into_inner();
        let name = |what, name: &str| {
            Name::new(name).map_err(|error| Status::invalid_argument(format!("{what}: {error}")))
        };
        let gateway = GatewayId { site: name("site", &site)?, name: name("gateway", &gateway)? };
        if !undo && self.streams.version(&gateway).is_some() {
            let text =
                format!("gateway {gateway} is connected, so it is not gone: stop it before you retire it");
            return Err(Status::failed_precondition(text));
        }
        let (store, of) = (Arc::clone(&self.maintenance), gateway.clone());
        let retiring = tokio::task::spawn_blocking(move || store.retire_gateway(&of, !undo));
        let before = retiring.await.unwrap_or_else(|error| {
            tracing::error!(%error, "retiring a gateway failed");
            Err(StoreError::Read("retiring the gateway failed; see the aggregator's log".to_owned()))
        });
        let Some(before) = before.map_err(status)? else {
            return Err(Status::not_found(format!(
                "no gateway {gateway} has delivered to this aggregator: `catchment gateways` lists those that are known"
            )));
        };
        let unchanged = before != undo;
        tracing::warn!(who = %caller.operator, %gateway, retired = !undo, unchanged, "a gateway was retired or taken back");
        Ok(Response::new(wire::RetireGatewayResponse { unchanged }))
    }

    async fn forget_series(
        &self,
        request: Request<wire::ForgetSeriesRequest>,
    ) -> Result<Response<wire::ForgetSeriesResponse>, Status> {
        let caller = access::operator(&request)?;
        let wire::ForgetSeriesRequest { selector, dry_run } = request.into_inner();
        if dry_run {
            let store = Arc::clone(&self.store);
            let work = move |sink| async move { count(&*store, &selector, &sink).await };
            let series = self.alone(&caller, work).await?.into_inner();
            return Ok(Response::new(wire::ForgetSeriesResponse { series }));
        }
        let parsed =
            Selector::parse(&selector).map_err(|error| self.runner.refuse(QueryError::Selector(error)))?;
        // Each request occupies a thread that waits for the disk: many would take the threads that others need.
        let Ok(alone) = Arc::clone(&self.forgetting).try_acquire_owned() else {
            return Err(Status::resource_exhausted(
                "another request is forgetting series: try again when it has ended",
            ));
        };
        let maintenance = Arc::clone(&self.maintenance);
        let forgetting = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            maintenance.forget_series(&parsed)
        });
        // Continues if the caller hangs up: half done is worse than done.
        let done = forgetting.await.unwrap_or_else(|error| {
            tracing::error!(%error, "forgetting series failed");
            Err(StoreError::Read("forgetting series failed; see the aggregator's log".to_owned()))
        });
        let series = done.map_err(status)?;
        tracing::warn!(who = %caller.operator, selector, series, "series were forgotten");
        Ok(Response::new(wire::ForgetSeriesResponse { series }))
    }
}

/// What an error of the store means to the caller of a change.
fn status(error: StoreError) -> Status {
    match error {
        StoreError::Full(reason) => Status::resource_exhausted(reason),
        StoreError::Failed(_) => Status::unavailable(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}

/// Counts series.
async fn count(store: &dyn QueryStore, text: &str, sink: &Sink<u64>) -> Result<(), QueryError> {
    let selector = Selector::parse(text)?;
    let mut count = 0;
    each_series(store, &selector, sink, |_| {
        count += 1;
        0
    })
    .await?;
    sink.send(count, size_of::<u64>()).await
}
