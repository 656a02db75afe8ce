//! The bound of open windows, and what it costs.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::register::add;

/// The bound of open windows, and how many were closed early because of it.
#[derive(Debug)]
#[allow(missing_docs)] // each has its help text below
pub struct WindowMetrics {
    pub(super) open_max: Gauge,
    pub closed_early: Counter,
}

impl WindowMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let early =
            "Windows closed because there were more than open_windows_max, the oldest late ones first";
        Self {
            open_max: add(r, "open_windows_max", "Maximum of open_windows"),
            closed_early: add(r, "windows_closed_early", early),
        }
    }
}
