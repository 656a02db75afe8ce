//! Who is there: devices, gateways and series, as the store and the open streams know them.
//!
//! Lists are read at once and streamed; a device is told as behind the gateway that delivered for it.

use std::{collections::BTreeMap, sync::Arc};

use catchment_partial::Timestamp;
use catchment_proto::{
    GatewayId, Name, SeriesKey,
    wire::{self, FleetRequest, fleet_server::Fleet},
};
use tonic::{Request, Response, Status};

use crate::{
    access, clock,
    ingest::Sessions,
    query::{AnswerStream, AskError, Runner, Selector},
    store::{SeriesEntry, Store, StoreError},
};

/// The service `catchment.v1.Fleet`.
pub(crate) struct FleetService {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) runner: Runner,
}

impl FleetService {
    /// Who asks, and for what; `labels`: what can be selected on, everything when empty.
    fn selector(&self, request: &Request<FleetRequest>, labels: &[&str]) -> Result<Selector, Status> {
        access::operator(request)?;
        let checked = Selector::parse_or_all(&request.get_ref().selector).and_then(|selector| {
            if !labels.is_empty() {
                selector.only(labels)?;
            }
            Ok(selector)
        });
        checked.map_err(|error| self.runner.refuse(AskError::Selector(error)))
    }
}

#[tonic::async_trait]
impl Fleet for FleetService {
    type ListDevicesStream = AnswerStream<wire::Device>;
    type ListGatewaysStream = AnswerStream<wire::Gateway>;
    type ListSeriesStream = AnswerStream<wire::Series>;

    async fn list_devices(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListDevicesStream>, Status> {
        let selector = self.selector(&request, &["site", "gateway", "device"])?;
        let store = Arc::clone(&self.store);
        self.runner
            .run(move |outlet| {
                let series = store.series(&|gateway, key| selector.matches(gateway, key));
                devices(&series).into_iter().try_for_each(|device| outlet.send(device))
            })
            .await
    }

    async fn list_gateways(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListGatewaysStream>, Status> {
        let selector = self.selector(&request, &["site", "gateway"])?;
        let (store, sessions) = (Arc::clone(&self.store), Arc::clone(&self.sessions));
        self.runner
            .run(move |outlet| {
                let list = gateways(&*store, &sessions, &selector, clock::now_ms());
                list.into_iter().try_for_each(|gateway| outlet.send(gateway))
            })
            .await
    }

    async fn list_series(
        &self,
        request: Request<FleetRequest>,
    ) -> Result<Response<Self::ListSeriesStream>, Status> {
        let selector = self.selector(&request, &[])?;
        let store = Arc::clone(&self.store);
        self.runner
            .run(move |outlet| {
                let mut series = store.series(&|gateway, key| selector.matches(gateway, key));
                series.sort_by(|a, b| {
                    let key = |entry: &SeriesEntry| (entry.key.metric.clone(), entry.gateway.clone());
                    key(a).cmp(&key(b)).then_with(|| a.key.cmp(&b.key))
                });
                series.iter().try_for_each(|entry| outlet.send(series_message(entry)))
            })
            .await
    }

    async fn forget_series(
        &self,
        request: Request<wire::ForgetSeriesRequest>,
    ) -> Result<Response<wire::ForgetSeriesResponse>, Status> {
        let who = access::operator(&request)?;
        let wire::ForgetSeriesRequest { selector, dry_run } = request.into_inner();
        let parsed =
            Selector::parse(&selector).map_err(|error| self.runner.refuse(AskError::Selector(error)))?;
        let store = Arc::clone(&self.store);
        let forgetting = tokio::task::spawn_blocking(move || {
            let wanted = |gateway: &GatewayId, key: &SeriesKey| parsed.matches(gateway, key);
            if dry_run { Ok(store.series(&wanted).len() as u64) } else { store.forget_series(&wanted) }
        });
        // It continues when the caller hangs up: half of it done is worse than all.
        let done = forgetting.await.unwrap_or_else(|error| {
            tracing::error!(%error, "forgetting series failed");
            Err(StoreError::Read("forgetting series failed; see the aggregator's log".to_owned()))
        });
        let series = done.map_err(|error| match error {
            StoreError::Full(reason) => Status::resource_exhausted(reason),
            StoreError::Poisoned(_) => Status::unavailable(error.to_string()),
            _ => Status::internal(error.to_string()),
        })?;
        if !dry_run {
            tracing::warn!(%who, selector, series, "series were forgotten");
        }
        Ok(Response::new(wire::ForgetSeriesResponse { series }))
    }
}

/// Series by device, in order of site, gateway and name.
fn devices(series: &[SeriesEntry]) -> Vec<wire::Device> {
    let mut devices: BTreeMap<(&GatewayId, &Name), (u32, Timestamp)> = BTreeMap::new();
    for entry in series {
        let (count, last) = devices.entry((&entry.gateway, &entry.key.device)).or_insert((0, Timestamp::MIN));
        *count = count.saturating_add(1);
        *last = entry.last_reading.max(*last);
    }
    let message =
        |((gateway, device), (series, last)): ((&GatewayId, &Name), (u32, Timestamp))| wire::Device {
            site: gateway.site.to_string(),
            gateway: gateway.name.to_string(),
            device: device.to_string(),
            series,
            last_seen_ms: last.as_millis(),
        };
    devices.into_iter().map(message).collect()
}

/// Gateways in order of site and name. Watermarks are as of one moment, `now_ms`.
fn gateways(store: &dyn Store, sessions: &Sessions, selector: &Selector, now_ms: i64) -> Vec<wire::Gateway> {
    let selected = |gateway: &GatewayId| {
        let labels = [("site", gateway.site.as_str()), ("gateway", gateway.name.as_str())];
        selector.matches_with(|label| {
            labels.iter().find(|(name, _)| *name == label).map_or("", |(_, value)| value)
        })
    };
    let mut gateways = store.gateways();
    gateways.retain(|entry| selected(&entry.origin.gateway));
    gateways.sort_by(|a, b| a.origin.gateway.cmp(&b.origin.gateway));
    let series = store.series(&|gateway, _| selected(gateway));
    let mut sizes: BTreeMap<&GatewayId, (u32, u32)> = BTreeMap::new();
    let mut last_device = None;
    let mut by_device: Vec<(&GatewayId, &Name)> =
        series.iter().map(|entry| (&entry.gateway, &entry.key.device)).collect();
    by_device.sort_unstable();
    for device in by_device {
        let (devices, series) = sizes.entry(device.0).or_default();
        *series = series.saturating_add(1);
        if last_device.replace(device) != Some(device) {
            *devices = devices.saturating_add(1);
        }
    }
    let message = |entry: crate::store::GatewayEntry| {
        let version = sessions.version(&entry.origin.gateway);
        let watermark_ms = entry.watermark.map(Timestamp::as_millis);
        let (devices, series) = sizes.get(&entry.origin.gateway).copied().unwrap_or_default();
        wire::Gateway {
            site: entry.origin.gateway.site.to_string(),
            gateway: entry.origin.gateway.name.to_string(),
            connected: version.is_some(),
            watermark_ms,
            // A clock that is a little ahead is no negative lag.
            lag_ms: watermark_ms.map(|watermark| now_ms.saturating_sub(watermark).max(0)),
            epoch: entry.origin.epoch,
            devices,
            series,
            contended: sessions.is_contended(&entry.origin.gateway),
            version: version.map(|version| version.to_string()).unwrap_or_default(),
            lost_batches: entry.gaps.iter().fold(0, |sum, gap| gap.batches.saturating_add(sum)),
            clock_ahead_ms: sessions.ahead_ms(&entry.origin.gateway),
            series_max: entry.series_max,
            waits_for: sessions.waits.of(&entry.origin.gateway).unwrap_or_default(),
            ..wire::Gateway::default()
        }
    };
    gateways.into_iter().map(message).collect()
}

fn series_message(entry: &SeriesEntry) -> wire::Series {
    let system = [
        ("site", entry.gateway.site.as_str()),
        ("gateway", entry.gateway.name.as_str()),
        ("device", entry.key.device.as_str()),
    ];
    let labels = system.into_iter().chain(entry.key.labels.iter());
    wire::Series {
        metric: entry.key.metric.as_str().to_owned(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        first_window_ms: entry.windows.0.as_millis(),
        last_window_ms: entry.windows.1.as_millis(),
    }
}
