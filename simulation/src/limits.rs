//! Bounds of the simulated gateways.

use std::time::Duration;

use catchment_gateway::{kept::KeepLimits, shard::ShardLimits};

/// Small bounds, so that a short schedule reaches them all: segments, checkpoints, a full journal.
pub fn limits() -> ShardLimits {
    ShardLimits {
        grace: Duration::from_millis(500),
        open_max: Duration::from_secs(60),
        open_windows_max: 60,
        device_open_windows_max: 30,
        series_max: 16,
        // Longer than a schedule, except for the step that lets this time pass.
        device_expiry: Duration::from_secs(400),
        checkpoint_bytes: 700,
        journal_bytes_max: 256 << 10,
        outbox_bytes_max: 96 << 10,
        outbox_keep: KeepLimits::default(),
        raw_keep: KeepLimits::default(),
        segment_bytes: 16 << 10,
        entry_bytes_max: 8 << 10,
        record_bytes_max: 16 << 10,
        batch_memory: 6 << 10,
    }
}
