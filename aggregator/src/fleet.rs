//! Lists of devices, gateways and series, as the store and the open streams know them.
//!
//! A list is collected page by page, sorted and streamed; a device is listed under the gateway that delivered for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use catchment_partial::Timestamp;
use catchment_proto::{
    GatewayId, Labels, MetricName, Name,
    wire::{self, FleetRequest, fleet_server::Fleet},
};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::{
    access::{self, CallingOperator},
    clock,
    clock_bound::ClockBound,
    ingest::StreamRegistry,
    query::{QueryError, ResponseStream, Runner, Selector, Sink, each_gateway, each_series},
    store::{Gap, GatewayEntry, MaintenanceStore, QueryStore, SeriesEntry, StoreError},
};

/// Approximate memory of a device, a gateway and a series while their list is sorted; the names are shared with the
/// store.
const DEVICE_BYTES: usize = 96;
const GATEWAY_BYTES: usize = 256;
const SERIES_BYTES: usize = 160;
/// Approximate memory of a message of a list.
const MESSAGE_BYTES: usize = 512;

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
        let store = Arc::clone(&self.store);
        let work = move |sink| async move { devices(&*store, &text, &sink).await };
        self.runner.run(&caller, work).await
    }

    async fn list_gateways(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListGatewaysStream>, Status> {
        let (caller, text) = authorized(request)?;
        let (store, streams) = (Arc::clone(&self.store), Arc::clone(&self.streams));
        let clock = ClockBound::new(clock::now_ms(), self.clock_tolerance);
        let work = move |sink| async move { gateways(&*store, (&streams, clock), &text, &sink).await };
        self.runner.run(&caller, work).await
    }

    async fn list_series(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListSeriesStream>, Status> {
        let (caller, text) = authorized(request)?;
        let store = Arc::clone(&self.store);
        let work = move |sink| async move { series(&*store, &text, &sink).await };
        self.runner.run(&caller, work).await
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
            let counted = self.runner.run(&caller, work).await?.into_inner().next().await;
            let series = counted.unwrap_or_else(|| Err(Status::internal("the count is missing")))?;
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

/// Series by device, in order of site, gateway and name.
async fn devices(store: &dyn QueryStore, text: &str, sink: &Sink<wire::Device>) -> Result<(), QueryError> {
    let selector = selector(text, &["site", "gateway", "device"])?;
    let mut devices: BTreeMap<(GatewayId, Name), (u32, Timestamp)> = BTreeMap::new();
    each_series(store, &selector, sink, |entry| {
        let device = devices.entry((entry.gateway, entry.key.device)).or_insert((0, Timestamp::MIN));
        device.0 = device.0.saturating_add(1);
        device.1 = entry.last_reading.max(device.1);
        devices.len() * DEVICE_BYTES
    })
    .await?;
    while let Some(((gateway, device), (series, last))) = devices.pop_first() {
        let message = wire::Device {
            site: gateway.site.to_string(),
            gateway: gateway.name.to_string(),
            device: device.to_string(),
            series,
            last_seen_ms: last.as_millis(),
        };
        sink.yield_point().await?;
        sink.send(message, MESSAGE_BYTES).await?;
    }
    Ok(())
}

/// A gateway of a list: its entry in the store, its devices and the number of its series.
struct Listed {
    entry: GatewayEntry,
    devices: BTreeSet<Name>,
    series: u32,
}

/// Gateways in order of site and name.
async fn gateways(
    store: &dyn QueryStore,
    (streams, clock): (&StreamRegistry, ClockBound),
    text: &str,
    sink: &Sink<wire::Gateway>,
) -> Result<(), QueryError> {
    let selector = selector(text, &["site", "gateway"])?;
    let selected = |gateway: &GatewayId| {
        let labels = [("site", gateway.site.as_str()), ("gateway", gateway.name.as_str())];
        selector.matches_with(|label| {
            labels.iter().find(|(name, _)| *name == label).map_or("", |(_, value)| value)
        })
    };
    let mut gateways: BTreeMap<GatewayId, Listed> = BTreeMap::new();
    let mut listed = 0;
    each_gateway(store, sink, |entry| {
        if selected(&entry.epoch.gateway) {
            listed += GATEWAY_BYTES + entry.gaps.len() * size_of::<Gap>();
            let gateway = entry.epoch.gateway.clone();
            gateways.insert(gateway, Listed { entry, devices: BTreeSet::new(), series: 0 });
        }
        listed
    })
    .await?;
    let mut devices = 0;
    each_series(store, &selector, sink, |entry| {
        if let Some(gateway) = gateways.get_mut(&entry.gateway) {
            gateway.series = gateway.series.saturating_add(1);
            devices += usize::from(gateway.devices.insert(entry.key.device));
        }
        listed + devices * DEVICE_BYTES
    })
    .await?;
    while let Some((_, listed)) = gateways.pop_first() {
        sink.yield_point().await?;
        sink.send(gateway_message(listed, streams, clock), MESSAGE_BYTES).await?;
    }
    Ok(())
}

/// Lag is as of one moment, that of the clock.
fn gateway_message(listed: Listed, streams: &StreamRegistry, clock: ClockBound) -> wire::Gateway {
    let Listed { entry, devices, series } = listed;
    let version = streams.version(&entry.epoch.gateway);
    let lists = streams.lists(&entry.epoch.gateway).unwrap_or_default();
    let watermark_ms = entry.watermark.map(Timestamp::as_millis);
    let watermark_ms = watermark_ms.filter(|watermark| clock.too_far_ahead(*watermark).is_none());
    wire::Gateway {
        site: entry.epoch.gateway.site.to_string(),
        gateway: entry.epoch.gateway.name.to_string(),
        connected: version.is_some(),
        watermark_ms,
        // A clock slightly ahead gives no negative lag.
        lag_ms: watermark_ms.map(|watermark| clock.now_ms().saturating_sub(watermark).max(0)),
        epoch: entry.epoch.id,
        devices: u32::try_from(devices.len()).unwrap_or(u32::MAX),
        series,
        contended: streams.is_contended(&entry.epoch.gateway),
        version: version.map(|version| version.to_string()).unwrap_or_default(),
        lost_batches: entry.gaps.iter().fold(0, |sum, gap| gap.batches.saturating_add(sum)),
        clock_ahead_ms: streams.ahead_ms(&entry.epoch.gateway),
        series_max: entry.series_max,
        waits_for: streams.waiting.of(&entry.epoch.gateway).unwrap_or_default(),
        retired: entry.retired,
        revocation_list: lists.held,
        revocations_behind: lists.behind,
    }
}

/// Series in order of metric, gateway, device and labels.
async fn series(store: &dyn QueryStore, text: &str, sink: &Sink<wire::Series>) -> Result<(), QueryError> {
    let selector = selector(text, &[])?;
    let mut series: BTreeMap<SeriesOrder, (Timestamp, Timestamp)> = BTreeMap::new();
    each_series(store, &selector, sink, |entry| {
        let SeriesEntry { gateway, key, windows, .. } = entry;
        series.insert((key.metric, gateway, key.device, key.labels), windows);
        series.len() * SERIES_BYTES
    })
    .await?;
    while let Some((series, windows)) = series.pop_first() {
        sink.yield_point().await?;
        let labels = series.3.iter().count();
        sink.send(series_message(&series, windows), MESSAGE_BYTES + 96 * labels).await?;
    }
    Ok(())
}

/// Sort key of a series in its list.
type SeriesOrder = (MetricName, GatewayId, Name, Labels);

fn series_message(
    (metric, gateway, device, labels): &SeriesOrder,
    windows: (Timestamp, Timestamp),
) -> wire::Series {
    let system =
        [("site", gateway.site.as_str()), ("gateway", gateway.name.as_str()), ("device", device.as_str())];
    let labels = system.into_iter().chain(labels.iter());
    wire::Series {
        metric: metric.as_str().to_owned(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        first_window_ms: windows.0.as_millis(),
        last_window_ms: windows.1.as_millis(),
    }
}
