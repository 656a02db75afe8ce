//! The two logs of a shard: journal and outbox.

use catchment_journal::{GroupLog, LogConfig, RealDisk};

use super::limits::ShardLimits;

/// A log that a shard appends to.
pub type ShardLog<D = RealDisk> = GroupLog<D>;

pub(super) fn journal_config(limits: &ShardLimits, salt: Option<u64>) -> LogConfig {
    LogConfig {
        salt,
        bytes_max: limits.journal_bytes_max.saturating_add(limits.raw_bytes()),
        segment_bytes: limits.segment_bytes,
        record_bytes_max: limits.entry_bytes_max,
        ..LogConfig::default()
    }
}

pub(super) fn outbox_config(limits: &ShardLimits, salt: Option<u64>) -> LogConfig {
    LogConfig {
        salt,
        bytes_max: limits.outbox_bytes_max,
        segment_bytes: limits.segment_bytes,
        record_bytes_max: limits.record_bytes_max,
        ..LogConfig::default()
    }
}
