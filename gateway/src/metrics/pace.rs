//! Devices that are read more slowly than they send.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::register::add;

/// Devices that wait or are slowed.
#[derive(Debug)]
#[allow(missing_docs)] // each has its help text below
pub struct PaceMetrics {
    pub waits: Counter,
    pub slowed: Counter,
    pub rate_waits: Counter,
    pub devices_delayed: Gauge,
}

impl PaceMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let slowed = "Times that a device was slowed because journal or outbox came near its bound";
        let delayed = "Devices that wait because of readings_per_second_max";
        let waits = "Times that a device waited: no room in journal or outbox, too many open windows, or a checkpoint";
        Self {
            waits: add(r, "waits", waits),
            slowed: add(r, "slowed", slowed),
            rate_waits: add(r, "rate_waits", "Times that a device waited because of readings_per_second_max"),
            devices_delayed: add(r, "devices_delayed", delayed),
        }
    }
}
