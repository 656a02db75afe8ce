//! Metrics of forgotten devices, series and MQTT sessions, and of the bounds that forgetting serves.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::register::add;

/// Counters of forgotten devices, series and clients, with the bounds.
#[derive(Debug)]
pub(super) struct ForgottenMetrics {
    devices: Counter,
    series: Counter,
    clients: Counter,
    devices_max: Gauge,
    series_places: Gauge,
}

impl ForgottenMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            devices: add(
                r,
                "devices_expired",
                "Devices forgotten because they sent nothing for device_expiry",
            ),
            series: add(
                r,
                "series_expired",
                "Series forgotten because they had no reading for device_expiry",
            ),
            clients: add(r, "mqtt_clients_expired", "Kept MQTT sessions forgotten after device_expiry"),
            devices_max: add(r, "devices_max", "Maximum of devices"),
            series_places: add(
                r,
                "series_places",
                "Series that count towards series_max: known ones, and forgotten ones with a place at the aggregator",
            ),
        }
    }

    pub(super) fn show_bound(&self, devices_max: usize) {
        self.devices_max.set(i64::try_from(devices_max).unwrap_or(i64::MAX));
    }

    /// Counts devices, series and clients that were forgotten.
    pub(super) fn count(&self, devices: u64, series: u64, clients: u64) {
        self.devices.inc_by(devices);
        self.series.inc_by(series);
        self.clients.inc_by(clients);
    }

    pub(super) fn devices(&self) -> u64 {
        self.devices.get()
    }

    pub(super) fn show_series_places(&self, places: u64) {
        self.series_places.set(i64::try_from(places).unwrap_or(i64::MAX));
    }
}
