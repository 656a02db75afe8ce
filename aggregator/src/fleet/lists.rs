//! Whole lists, collected page by page, sorted and streamed.

use std::collections::{BTreeMap, BTreeSet};

use catchment_partial::Timestamp;
use catchment_proto::{GatewayId, Labels, MetricName, Name, wire};

use super::{moved::Newest, selector};
use crate::{
    certificates::Certificates,
    clock_bound::ClockBound,
    ingest::StreamRegistry,
    query::{QueryError, Selector, Sink, each_gateway, each_series},
    store::{Gap, GatewayEntry, QueryStore, SeriesEntry},
};

/// Approximate memory of a device, a gateway and a series while their list is sorted; the names are shared with the
/// store.
pub(super) const DEVICE_BYTES: usize = 104;
pub(super) const GATEWAY_BYTES: usize = 256;
const SERIES_BYTES: usize = 160;
/// Approximate memory of a message of a list.
pub(super) const MESSAGE_BYTES: usize = 512;

/// Series by device, in order of site, gateway and name.
pub(super) async fn devices(
    store: &dyn QueryStore,
    certificates: &Certificates,
    text: &str,
    sink: &Sink<wire::Device>,
) -> Result<(), QueryError> {
    let selector = selector(text, &["site", "gateway", "device"])?;
    let mut devices = collect_devices(store, certificates, &selector, sink).await?;
    while let Some(device) = devices.pop_first() {
        sink.yield_point().await?;
        sink.send(device_message(&device), MESSAGE_BYTES).await?;
    }
    Ok(())
}

/// Devices by gateway and name.
pub(super) type Devices = BTreeMap<(GatewayId, Name), DeviceState>;

/// What is listed of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceState {
    /// Its number of series.
    pub(super) series: u32,
    /// Time of the last reading.
    pub(super) last: Timestamp,
    /// When its certificate ends, Unix seconds; 0: not known.
    pub(super) expires_s: i64,
    /// Another gateway of its site saw it later.
    pub(super) moved: bool,
}

impl DeviceState {
    const NEW: Self = Self { series: 0, last: Timestamp::MIN, expires_s: 0, moved: false };

    /// Whether it has no reading since a time, Unix milliseconds.
    pub(super) fn is_silent(&self, since_ms: i64) -> bool {
        !self.moved && self.last.as_millis() < since_ms
    }

    /// Whether its certificate ends before a time, Unix seconds.
    pub(super) fn is_expiring(&self, before_s: i64) -> bool {
        !self.moved && is_expiring(self.expires_s, before_s)
    }
}

/// Whether the end of a certificate is known and comes before a time, Unix seconds.
pub(super) fn is_expiring(expires_s: i64, before_s: i64) -> bool {
    expires_s != 0 && expires_s < before_s
}

/// Collects the devices of series.
pub(super) async fn collect_devices<T>(
    store: &dyn QueryStore,
    certificates: &Certificates,
    selector: &Selector,
    sink: &Sink<T>,
) -> Result<Devices, QueryError> {
    let mut devices = Devices::new();
    each_series(store, selector, sink, |entry| {
        let device = devices.entry((entry.gateway, entry.key.device)).or_insert(DeviceState::NEW);
        device.series = device.series.saturating_add(1);
        device.last = entry.last_reading.max(device.last);
        devices.len() * DEVICE_BYTES
    })
    .await?;
    sink.set_memory(devices.len() * (DEVICE_BYTES + Newest::BYTES))?;
    let mut newest = Newest::default();
    for ((gateway, device), state) in &devices {
        sink.yield_point().await?;
        newest.add(gateway, device, state.last);
    }
    for ((gateway, device), state) in &mut devices {
        sink.yield_point().await?;
        state.expires_s = certificates.of_device(&gateway.site, device);
        state.moved = newest.is_elsewhere(gateway, device);
    }
    drop(newest);
    sink.set_memory(devices.len() * DEVICE_BYTES)?;
    Ok(devices)
}

/// A device of a list.
pub(super) fn device_message(((gateway, device), state): &((GatewayId, Name), DeviceState)) -> wire::Device {
    wire::Device {
        site: gateway.site.to_string(),
        gateway: gateway.name.to_string(),
        device: device.to_string(),
        series: state.series,
        last_seen_ms: state.last.as_millis(),
        certificate_expires_s: state.expires_s,
        moved: state.moved,
    }
}

/// A gateway of a list: its entry in the store, its devices and the number of its series.
pub(super) struct Listed {
    entry: GatewayEntry,
    devices: BTreeSet<Name>,
    series: u32,
}

impl Listed {
    pub(super) fn message(&self, streams: &StreamRegistry, clock: ClockBound) -> wire::Gateway {
        gateway_message(&self.entry, (self.devices.len(), self.series), streams, clock)
    }
}

/// Gateways in order of site and name.
pub(super) async fn gateways(
    store: &dyn QueryStore,
    (streams, clock): (&StreamRegistry, ClockBound),
    text: &str,
    sink: &Sink<wire::Gateway>,
) -> Result<(), QueryError> {
    let selector = selector(text, &["site", "gateway"])?;
    let mut gateways = collect_gateways(store, &selector, sink).await?;
    while let Some((_, listed)) = gateways.pop_first() {
        sink.yield_point().await?;
        sink.send(listed.message(streams, clock), MESSAGE_BYTES).await?;
    }
    Ok(())
}

/// Collects gateways.
pub(super) async fn collect_gateways<T>(
    store: &dyn QueryStore,
    selector: &Selector,
    sink: &Sink<T>,
) -> Result<BTreeMap<GatewayId, Listed>, QueryError> {
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
    each_series(store, selector, sink, |entry| {
        if let Some(gateway) = gateways.get_mut(&entry.gateway) {
            gateway.series = gateway.series.saturating_add(1);
            devices += usize::from(gateway.devices.insert(entry.key.device));
        }
        listed + devices * DEVICE_BYTES
    })
    .await?;
    Ok(gateways)
}

/// Lag is as of one moment, that of the clock.
pub(super) fn gateway_message(
    entry: &GatewayEntry,
    (devices, series): (usize, u32),
    streams: &StreamRegistry,
    clock: ClockBound,
) -> wire::Gateway {
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
        devices: u32::try_from(devices).unwrap_or(u32::MAX),
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
        certificate_expires_s: streams.certificates.of_gateway(&entry.epoch.gateway),
    }
}

/// Series in order of metric, gateway, device and labels.
pub(super) async fn series(
    store: &dyn QueryStore,
    text: &str,
    sink: &Sink<wire::Series>,
) -> Result<(), QueryError> {
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
