//! Names that no other run has used.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time in Unix nanoseconds.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A text that differs in every run: prefix of epochs and client identifiers.
pub(crate) fn unique() -> String {
    format!("{:x}", now_ns())
}
