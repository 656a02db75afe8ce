//! Names that no other run has used.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time in Unix nanoseconds.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A text that no other run of this program has used: epochs and client identifiers begin with it.
pub(crate) fn unique() -> String {
    format!("{:x}", now_ns())
}
