//! How much waits for the aggregator, and how much stays after its delivery.

use catchment_certs::parse_https;
use catchment_settings::{ByteSize, HumanDuration};

use super::{ConfigError, DAY, Settings, time, value, within};
use crate::kept::KeepLimits;

/// A gibibyte in bytes.
pub(super) const GIB: u64 = 1 << 30;

/// The bounds of all outboxes.
pub(super) struct OutboxBounds {
    pub(super) bytes_max: u64,
    pub(super) keep: KeepLimits,
}

pub(super) fn aggregators(given: Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    let urls = given.filter(|urls| !urls.is_empty()).ok_or(ConfigError::Missing("aggregator"))?;
    for url in &urls {
        parse_https(url).map_err(|e| value("aggregator", e))?;
    }
    Ok(urls)
}

impl Settings {
    pub(super) fn outbox(&self) -> Result<OutboxBounds, ConfigError> {
        let size = |given: Option<ByteSize>, default: u64| given.map_or(default, |size| size.0);
        let bytes_max = within("outbox_bytes_max", size(self.outbox_bytes_max, 8 * GIB), 16 << 20, 1 << 44)?;
        // A day: an aggregator that is restored from yesterday's backup lacks nothing.
        let keep = time("outbox_keep", self.outbox_keep, DAY, 0, HumanDuration::secs(365 * 86_400))?;
        let keep_bytes = within("outbox_keep_bytes", size(self.outbox_keep_bytes, bytes_max), 0, 1 << 44)?;
        Ok(OutboxBounds { bytes_max, keep: KeepLimits { time: keep, bytes: keep_bytes } })
    }
}
