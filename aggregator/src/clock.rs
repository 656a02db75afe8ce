//! The one place where the aggregator reads the clock of the day. It decides nothing with it: lags are for
//! people, and stored windows carry the gateways' times.

use std::time::SystemTime;

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
