//! A shard's share of the gateway's bounds.

use std::time::Duration;

use catchment_partial::Width;

use crate::{batch_encoder, config::Config, kept::KeepLimits};

/// Most bytes of an entry. An intake holds at most 16,384 readings and those of one more message, which has at most
/// 20,000 (`readings_max`). A number takes at most 23 bytes, a state 18; the 16,384 are fewer if they have states. The
/// texts of states have at most 256 KiB, and those of one more message as many.
const ENTRY_BYTES_MAX: u32 = 2 << 20;
/// Most bytes of an outbox record: twice the target size of a batch. An aggregator takes batches up to 4 MiB.
const RECORD_BYTES_MAX: u32 = 2 << 20;
/// Logs release space by segments of this size. They are small so that a small disk has room again soon, and a restart
/// reads little of the outbox again.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Windows that each series of a device may have open at once, whatever the bound of the device: one that gathers,
/// one in its grace, one ahead of the clock, one late.
const WINDOWS_PER_SERIES: usize = 4;

/// What a shard needs of the configuration.
#[derive(Clone, Debug)]
pub struct ShardLimits {
    /// How long a window waits after its end.
    pub grace: Duration,
    /// How long a window is open at most by a correct clock: from its first reading to the end of its grace.
    pub open_max: Duration,
    /// Open windows of this shard from which on the oldest late ones are closed early, and devices wait that have more
    /// than they need on time.
    pub open_windows_max: usize,
    /// A device waits once it has this many open windows.
    pub device_open_windows_max: usize,
    /// Most series of a device.
    pub series_max: usize,
    /// Devices, series and clients unused for this long are forgotten.
    pub device_expiry: Duration,
    /// A checkpoint is due after this many journal bytes at the latest; with a small state it is due earlier.
    pub checkpoint_bytes: u64,
    /// Bound of this shard's journal on disk.
    pub journal_bytes_max: u64,
    /// Bound of this shard's outbox on disk.
    pub outbox_bytes_max: u64,
    /// What stays in this shard's journal although checkpoints cover it, in addition to `journal_bytes_max`.
    pub raw_keep: KeepLimits,
    /// What stays in this shard's outbox after its delivery.
    pub outbox_keep: KeepLimits,
    /// Size of the files of journal and outbox.
    pub segment_bytes: u64,
    /// Most bytes of a record of the journal.
    pub entry_bytes_max: u32,
    /// Most bytes of a record of the outbox.
    pub record_bytes_max: u32,
    /// Memory of the partials of a batch: see [`batch_encoder::BATCH_MEMORY`].
    pub batch_memory: usize,
}

impl ShardLimits {
    /// Bytes that kept raw readings may take.
    pub(super) fn raw_bytes(&self) -> u64 {
        if self.raw_keep.time.is_zero() { 0 } else { self.raw_keep.bytes }
    }

    /// Open windows that a device with so many series may have while the shard has too many: those of readings that
    /// come on time. Windows much shorter than the grace are open side by side until it is over.
    pub(super) fn windows_on_time(&self, series: usize, width: Option<Width>) -> usize {
        let grace = width.map_or(0, |width| self.grace.as_millis() / u128::from(width.as_millis().max(1)));
        let in_grace = usize::try_from(grace).unwrap_or(usize::MAX);
        series.saturating_mul(WINDOWS_PER_SERIES.saturating_add(in_grace))
    }

    /// The bounds of one of so many shards.
    pub fn of(config: &Config, shards: u32) -> Self {
        let shards = u64::from(shards.max(1));
        Self {
            grace: config.grace,
            open_max: config.future_max
                + Duration::from_millis(config.window.as_millis().into())
                + config.grace,
            open_windows_max: (config.open_windows_max / shards as usize).max(1),
            device_open_windows_max: config
                .device_open_windows_max
                .max(WINDOWS_PER_SERIES * config.series_max),
            series_max: config.series_max,
            device_expiry: config.device_expiry,
            checkpoint_bytes: config.checkpoint_bytes,
            journal_bytes_max: (config.journal_bytes_max / shards).max(3 * u64::from(ENTRY_BYTES_MAX)),
            outbox_bytes_max: (config.outbox_bytes_max / shards).max(4 * u64::from(RECORD_BYTES_MAX)),
            raw_keep: KeepLimits { bytes: config.raw_keep.bytes / shards, ..config.raw_keep },
            outbox_keep: KeepLimits { bytes: config.outbox_keep.bytes / shards, ..config.outbox_keep },
            segment_bytes: SEGMENT_BYTES,
            entry_bytes_max: ENTRY_BYTES_MAX,
            record_bytes_max: RECORD_BYTES_MAX,
            batch_memory: batch_encoder::BATCH_MEMORY,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::fold::IntakeEntry;

    #[test]
    fn the_largest_intake_fits_an_entry() {
        // A series index below the largest series_max, steps of the largest length, more texts than their bytes allow.
        let (numbers, booleans, texts) = (16_384 + 20_000, 20_000, 512 << 10);
        let entry = IntakeEntry {
            device: u32::MAX,
            epoch: "e".repeat(64),
            series: vec![999_999; numbers],
            time: vec![i64::MIN; numbers],
            value: vec![1.5; numbers],
            state_series: vec![999_999; booleans],
            state_time: vec![i64::MIN; booleans],
            state_text: (0..booleans as u32).map(|text| text << 1 | 1).collect(),
            texts: "x".repeat(texts),
            text_bytes: vec![64; booleans],
            states_alone: u32::MAX,
            client: "c".repeat(256),
            received: vec![u16::MAX.into(); 1_024],
            ..IntakeEntry::default()
        };
        assert!(entry.encoded_len() < ENTRY_BYTES_MAX as usize, "{}", entry.encoded_len());
    }
}
