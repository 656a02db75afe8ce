//! How much of what was delivered stays.

use std::time::Duration;

/// How much of what was delivered stays in an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepLimits {
    /// For how long after its delivery; zero: nothing stays.
    pub time: Duration,
    /// Most bytes of segments that hold nothing else.
    pub bytes: u64,
}
