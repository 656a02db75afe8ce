//! Limits of the embedded store with the reason for each default, and the reports and counters of the store.

use std::{path::PathBuf, time::Duration};

use catchment_journal::LogConfig;
use catchment_proto::batch::BATCH_BYTES_MAX;

use crate::store::{
    catalog::{epochs::EpochBounds, hourly::LateAndRefused, quota::Bounds},
    memtable::live::LiveLimits,
};

/// Limits of the embedded store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    /// Required owner of the data folder, as the URI of the aggregator's identity; `None`: any owner, for tools and
    /// tests.
    pub owner: Option<String>,
    /// Memory for windows that are not flushed yet, bytes. Flushing begins at half of it; at all of it batches wait.
    /// Default 256 MiB: a million windows of a few hundred bytes.
    pub memory_bytes_max: usize,
    /// Memory for the live state of open windows, bytes, a quarter of it for one gateway; beyond that, further live rows
    /// are dropped and counted. Default 64 MiB.
    pub live_bytes_max: usize,
    /// Growth of the journal after which a flush begins, bytes; a start replays about this much. Default 64 MiB, a
    /// second or two.
    pub flush_journal_bytes: u64,
    /// Longest time between flushes. Default 5 minutes: some thirty windows per block.
    pub flush_every: Duration,
    /// Most series; batches with further ones are refused and wait at their gateway. Default 1,000,000, some 300 MB
    /// of memory.
    pub series_max: usize,
    /// Most series of the gateways of one site. `None`: half of `series_max`, so that no site alone uses all.
    pub series_per_site_max: Option<usize>,
    /// Most series of one gateway. `None`: a quarter of `series_max`, so that a device that invents names at one
    /// gateway leaves room for others of the site.
    pub series_per_gateway_max: Option<usize>,
    /// Most epochs (lifetimes of gateway data folders); batches of further ones are refused and wait at their
    /// gateway. Default 65,536, some kilobytes each.
    pub epochs_max: usize,
    /// Most epochs of the gateways of one site. `None`: half of `epochs_max`.
    pub epochs_per_site_max: Option<usize>,
    /// Most epochs of one gateway, one per new data folder. Default 512, or `epochs_max` if less.
    pub epochs_per_gateway_max: Option<usize>,
    /// Memory for sled's page cache, bytes. Default 64 MiB.
    pub cache_bytes: u64,
    /// If the blocks cannot be opened, or lack data that the journal has released: set their folder aside and start
    /// with the journal's content instead of refusing. Default false, because it gives up stored windows.
    pub set_blocks_aside: bool,
    /// Free space on the file system that a flush step requires, bytes: the blocks' storage cannot undo a write that
    /// found no space. Default 20 MiB.
    pub flush_free_min: u64,
    /// When the store is opened, stored watermarks and creation times of gateway folders further ahead of the clock
    /// than this are reset. Default 10 minutes, as in the aggregator's configuration.
    pub clock_tolerance: Duration,
    /// Limits of the journal.
    pub journal: LogConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            owner: None,
            memory_bytes_max: 256 << 20,
            live_bytes_max: 64 << 20,
            flush_journal_bytes: 64 << 20,
            flush_every: Duration::from_secs(300),
            series_max: 1_000_000,
            series_per_site_max: None,
            series_per_gateway_max: None,
            epochs_max: 65_536,
            epochs_per_site_max: None,
            epochs_per_gateway_max: None,
            cache_bytes: 64 << 20,
            set_blocks_aside: false,
            flush_free_min: 20 << 20,
            clock_tolerance: Duration::from_secs(600),
            journal: LogConfig {
                // A batch is re-encoded with its epoch: twice the wire's limit always holds it.
                record_bytes_max: 2 * BATCH_BYTES_MAX as u32,
                buffer_bytes_max: 16 << 20,
                // More than a flush step requires: when the disk fills up, the journal stops first, and the blocks
                // that let it continue can still be written.
                disk_free_min: 24 << 20,
                ..LogConfig::default()
            },
        }
    }
}

/// Default for epochs of one gateway: a new folder every day for more than a year.
const EPOCHS_PER_GATEWAY: usize = 512;

impl StoreConfig {
    /// The limits of epochs, each at least 1 and none above the total.
    pub(in crate::store) fn epoch_bounds(&self) -> EpochBounds {
        let total = self.epochs_max.max(1);
        let part = |given: Option<usize>, default: usize| given.unwrap_or(default).clamp(1, total) as u64;
        EpochBounds {
            total: total as u64,
            site: part(self.epochs_per_site_max, total / 2),
            gateway: part(self.epochs_per_gateway_max, EPOCHS_PER_GATEWAY),
        }
    }

    /// The limits of live windows.
    pub(in crate::store) fn live_limits(&self) -> LiveLimits {
        LiveLimits::of(self.live_bytes_max)
    }

    /// The limits of series, each at least 1 and none above the total.
    pub(in crate::store) fn series_bounds(&self) -> Bounds {
        let total = self.series_max.max(1);
        let part = |given: Option<usize>, part: usize| given.unwrap_or(total / part).clamp(1, total) as u64;
        Bounds {
            total: total as u64,
            site: part(self.series_per_site_max, 2),
            gateway: part(self.series_per_gateway_max, 4),
        }
    }
}

/// Findings and actions of opening a store.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Batches replayed from the journal.
    pub replayed: u64,
    /// Series known.
    pub series: usize,
    /// Bytes truncated from the journal's end: batches that were never acknowledged.
    pub torn_tail_bytes: u64,
    /// Damaged places in journal, catalog and small files, and damaged tables, each logged.
    pub damage: u64,
    /// Those of them that are tables which are missing, or have another length.
    pub damaged_tables: u64,
    /// Batches known to be lost by damage, by epoch and shard as readable text, at most 1000.
    pub lost: Vec<String>,
    /// Number of batches known to be lost by damage.
    pub lost_batches: u64,
    /// Folder of the blocks that were set aside because they could not be used.
    pub blocks_set_aside: Option<PathBuf>,
}

/// Counters of a store since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Series known.
    pub series: usize,
    /// Most series.
    pub series_max: usize,
    /// Epochs known.
    pub epochs: usize,
    /// Most epochs.
    pub epochs_max: usize,
    /// Epochs of the gateway that has the most.
    pub epochs_of_gateway_most: u64,
    /// Most epochs of one gateway.
    pub epochs_per_gateway_max: u64,
    /// Partials in memory that are not flushed yet.
    pub memtable_partials: usize,
    /// Their bytes.
    pub memtable_bytes: usize,
    /// Live partials in memory.
    pub live_partials: usize,
    /// Their bytes.
    pub live_bytes: usize,
    /// Most of their bytes.
    pub live_bytes_max: usize,
    /// Bytes of those of the gateway that has the most.
    pub live_bytes_of_gateway_most: usize,
    /// Most bytes of those of one gateway.
    pub live_bytes_per_gateway_max: usize,
    /// Batches accepted.
    pub batches: u64,
    /// Batches that had been accepted before.
    pub duplicates: u64,
    /// Batches that a sender skipped, at the start of a stream.
    pub gaps: u64,
    /// Flush rounds done.
    pub flush_rounds: u64,
    /// Partials flushed.
    pub flushed_partials: u64,
    /// Partials removed because of their age.
    pub forgotten_partials: u64,
    /// Partials dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Bytes of the journal that are not flushed to blocks yet.
    pub journal_bytes: u64,
    /// Damaged places in journal, catalog and small files, found when the store was opened.
    pub journal_damage: u64,
    /// Tables found missing, or of another length, when the store was opened.
    pub damaged_tables: u64,
    /// Reads of stored rows that failed because they are damaged.
    pub damaged_reads: u64,
    /// Batches that gateways made and this store lacks, since its folder was created.
    pub lost_batches: u64,
    /// Series with damaged or missing blocks, found by the check after a start.
    pub damaged_series: u64,
    /// Late corrections and refused readings that batches brought.
    pub late_and_refused: LateAndRefused,
    /// Retired gateways.
    pub retired_gateways: u64,
    /// Memory of the label index, bytes.
    pub index_bytes: usize,
}
