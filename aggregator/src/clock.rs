//! The one place where the aggregator reads the clock of the day. Stored windows carry the gateways' times; this clock bounds
//! how far ahead of it a gateway is believed ([`crate::clock_bound`]), and lags are measured by it.

use std::time::SystemTime;

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
