//! Metrics of forgotten devices, series and MQTT sessions, and of the bounds that forgetting serves.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::{Metrics, add};
use crate::{budget::Budget, conditions::DEVICES_FULL};

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
}

impl Metrics {
    /// Counts devices, series (including those of the devices) and single clients that a shard has forgotten.
    pub fn forget(&self, devices: u64, series: u64, clients: u64) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.devices.dec_by(gauge(devices));
        self.series.dec_by(gauge(series));
        self.forgotten.devices.inc_by(devices);
        self.forgotten.series.inc_by(series);
        self.forgotten.clients.inc_by(clients);
    }

    /// The number of forgotten devices.
    pub fn devices_forgotten(&self) -> u64 {
        self.forgotten.devices.get()
    }

    /// Shows how many places of series are taken, and whether all places of devices are.
    pub fn show_budget(&self, budget: &Budget) {
        self.forgotten.series_places.set(i64::try_from(budget.series()).unwrap_or(i64::MAX));
        let text = budget.devices_full().map(|max| {
            format!(
                "the gateway knows devices_max ({max}) devices and refuses new ones: raise it, or lower device_expiry"
            )
        });
        self.conditions.report(DEVICES_FULL, text);
    }
}
