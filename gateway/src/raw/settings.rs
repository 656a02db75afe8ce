//! What is answered, and how fast.

use std::time::Duration;

use crate::{clock::nanos, config::Config};

/// What is answered, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSettings {
    /// Raw readings stay in the journals.
    pub(super) kept: bool,
    /// Bytes a second, over all queries.
    pub(super) rate: u64,
    /// How far a reading's time may be ahead of its arrival, nanoseconds.
    pub(super) ahead: i64,
    /// By so much at most a close comes after the watermark that it sets, nanoseconds: a window and its grace.
    pub(super) close_lag: i64,
}

impl RawSettings {
    /// Those of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let width = Duration::from_millis(config.window.as_millis().into());
        Self {
            kept: !config.raw_keep.time.is_zero(),
            rate: config.raw_rate,
            ahead: nanos(config.future_max),
            close_lag: nanos(width + config.grace),
        }
    }
}
