//! The only place where the aggregator reads the wall clock. Stored windows carry the gateways' times; this clock
//! limits how far ahead a gateway is believed ([`crate::clock_bound`]), and lag is measured against it.

use std::time::SystemTime;

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
