//! Bounds of the embedded store with the reason for each default, and what it tells of itself.

use std::{path::PathBuf, time::Duration};

use catchment_journal::{FullReason, LogConfig};
use catchment_proto::batch::BATCH_BYTES_MAX;

use super::{epochs::EpochBounds, quota::Bounds};

/// Bounds of the embedded store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreConfig {
    /// Whose the data folder must be, as the URI of the aggregator's identity; `None`: anybody's, for tools and tests.
    pub owner: Option<String>,
    /// Memory for windows that are not flushed yet, bytes. At half of it flushing begins, at all of it batches
    /// wait. Default 256 MiB: a million windows of a few hundred bytes.
    pub memory_bytes_max: usize,
    /// Memory for the live state of open windows, bytes; beyond it further live rows are dropped and counted.
    /// Default 64 MiB.
    pub live_bytes_max: usize,
    /// The journal since the last flush grows to this before the next, bytes: what a start reads again.
    /// Default 64 MiB, a second or two.
    pub flush_journal_bytes: u64,
    /// A flush happens at least this often. Default 5 minutes: some thirty windows a block.
    pub flush_every: Duration,
    /// Most series; batches of further ones are refused and wait at their gateway. Default 1,000,000, some 300 MB of
    /// memory.
    pub series_max: usize,
    /// Most series of the gateways of one site. `None`: half of `series_max`, so that no site alone takes all.
    pub series_per_site_max: Option<usize>,
    /// Most series of one gateway. `None`: a quarter of `series_max`, so that a device that invents names at one gateway leaves
    /// room for the others of its site.
    pub series_per_gateway_max: Option<usize>,
    /// Most epochs (lives of gateway data folders); batches of further ones are refused and wait at their gateway. Default
    /// 65,536, some kilobytes each.
    pub epochs_max: usize,
    /// Most epochs of the gateways of one site. `None`: half of `epochs_max`.
    pub epochs_per_site_max: Option<usize>,
    /// Most epochs of one gateway, each a data folder that was new. Default 512, or `epochs_max` if that is less.
    pub epochs_per_gateway_max: Option<usize>,
    /// Memory for sled's page cache, bytes. Default 64 MiB.
    pub cache_bytes: u64,
    /// When the blocks cannot be opened or lack what the journal has released: set their folder aside and start
    /// with what the journal holds, instead of refusing. Default false, because it gives up stored windows.
    pub set_blocks_aside: bool,
    /// A flush step begins only with this much free on the file system, bytes: the blocks' storage cannot take
    /// back a write that found no space. Default 20 MiB.
    pub flush_free_min: u64,
    /// Watermarks and folders of gateways that are stored with times further ahead of the clock than this are taken back when the
    /// store is opened. Default 10 minutes, as in the aggregator's configuration.
    pub clock_tolerance: Duration,
    /// The journal's bounds.
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
                // A batch is encoded anew, with its epoch: twice the wire's bound holds it for sure.
                record_bytes_max: 2 * BATCH_BYTES_MAX as u32,
                buffer_bytes_max: 16 << 20,
                // More than a flush step asks for: when the disk fills, the journal stops first and the blocks
                // can still be written that let it go on.
                disk_free_min: 24 << 20,
                ..LogConfig::default()
            },
        }
    }
}

/// Epochs of one gateway, unless configured: a new folder every day for more than a year.
const EPOCHS_PER_GATEWAY: usize = 512;

impl StoreConfig {
    /// The bounds of epochs, each at least 1 and none above the whole.
    pub(super) fn epoch_bounds(&self) -> EpochBounds {
        let total = self.epochs_max.max(1);
        let part = |given: Option<usize>, default: usize| given.unwrap_or(default).clamp(1, total) as u64;
        EpochBounds {
            total: total as u64,
            site: part(self.epochs_per_site_max, total / 2),
            gateway: part(self.epochs_per_gateway_max, EPOCHS_PER_GATEWAY),
        }
    }

    /// The bounds of series, each at least 1 and none above the whole.
    pub(super) fn series_bounds(&self) -> Bounds {
        let total = self.series_max.max(1);
        let part = |given: Option<usize>, part: usize| given.unwrap_or(total / part).clamp(1, total) as u64;
        Bounds {
            total: total as u64,
            site: part(self.series_per_site_max, 2),
            gateway: part(self.series_per_gateway_max, 4),
        }
    }
}

/// What opening a store found and did.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Batches read again from the journal.
    pub replayed: u64,
    /// Series known.
    pub series: usize,
    /// Bytes cut from the journal's end: batches that were never acknowledged.
    pub torn_tail_bytes: u64,
    /// Damaged places of journal, catalog and small files, each told in the log.
    pub damage: u64,
    /// Batches that are known to be lost by damage, by epoch and shard as readable text, at most 1000.
    pub lost: Vec<String>,
    /// Number of batches that are known to be lost by damage.
    pub lost_batches: u64,
    /// Where blocks that could not be used were set aside.
    pub blocks_set_aside: Option<PathBuf>,
}

/// What a store has no room for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortage {
    /// Why the journal cannot grow, if it cannot.
    pub journal: Option<FullReason>,
    /// Batches wait because memory for windows that are not flushed yet is used up.
    pub memory: bool,
}

/// What the store counts, since it was opened.
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
    /// The most epochs that one gateway has.
    pub epochs_of_gateway_most: u64,
    /// Most epochs of one gateway.
    pub epochs_per_gateway_max: u64,
    /// Partials in memory that are not flushed yet, and their bytes.
    pub memtable_partials: usize,
    /// Bytes of these.
    pub memtable_bytes: usize,
    /// Live partials in memory.
    pub live_partials: usize,
    /// Bytes of these.
    pub live_bytes: usize,
    /// Batches taken.
    pub batches: u64,
    /// Batches that had been taken before.
    pub duplicates: u64,
    /// Batches that a sender skipped, at the start of a stream.
    pub gaps: u64,
    /// Flush rounds done.
    pub flush_rounds: u64,
    /// Partials flushed.
    pub flushed_partials: u64,
    /// Partials forgotten for their age.
    pub forgotten_partials: u64,
    /// Partials dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Bytes of the journal on which the blocks are behind.
    pub journal_bytes: u64,
    /// Damaged places found when the store was opened.
    pub journal_damage: u64,
    /// Batches that gateways made and this store lacks, since its folder was made.
    pub lost_batches: u64,
    /// Series with damaged or missing blocks, found by the check that follows a start.
    pub damaged_series: u64,
}
