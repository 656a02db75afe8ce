//! Bounds of a log, with the reason for each default.

use crate::error::OpenError;
use crate::format::{BLOCK_HEADER, RECORD_HEADER, RECORD_LENGTH_MAX, SEGMENT_HEADER};

/// File systems allocate space in blocks of this size (bytes).
pub(crate) const PAGE: u64 = 4096;
/// Bytes that a block needs beside its only record.
const OVERHEAD: u64 = BLOCK_HEADER + RECORD_HEADER + BLOCK_HEADER;

/// Bounds of one log. All sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Maximum size of a segment file. Default 16 MiB: checking a last segment of that size at start takes
    /// some tens of milliseconds. Clamped to at most a quarter of `bytes_max`, so that space is released in
    /// steps, and to at least 16 KiB and the size that the largest record needs.
    pub segment_bytes: u64,
    /// Maximum size of the whole log on disk, including space reserved ahead. Beyond it, appends are refused as
    /// full. Default 1 GiB.
    pub bytes_max: u64,
    /// Largest record. Default 1 MiB.
    pub record_bytes_max: u32,
    /// Maximum of appended but unwritten bytes; beyond it, appends are refused until the next commit. Default 4 MiB.
    pub buffer_bytes_max: usize,
    /// Disk space reserved ahead of the appends. Default 1 MiB: small enough for small disks, large enough that
    /// reserving is rare compared with writing.
    pub reserve_bytes: u64,
    /// The log never reserves space that would leave less than this free on the file system. Default 1 MiB: enough to
    /// write the checkpoint that allows segments to be released when the disk is full.
    pub disk_free_min: u64,
    /// Salt of a new log: see [`crate::DataDir::prepare_logs`]. Default: random.
    pub salt: Option<u64>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            bytes_max: 1 << 30,
            record_bytes_max: 1 << 20,
            buffer_bytes_max: 4 << 20,
            reserve_bytes: 1 << 20,
            disk_free_min: 1 << 20,
            salt: None,
        }
    }
}

impl LogConfig {
    /// The least `bytes_max` of a log with records of up to this many bytes: two segments that each hold one.
    pub fn bytes_max_least(record_bytes_max: u32) -> u64 {
        2 * segment_least(u64::from(record_bytes_max))
    }

    /// The bounds that the log uses, made consistent with one another.
    pub(crate) fn checked(mut self) -> Result<Self, OpenError> {
        let record = u64::from(self.record_bytes_max);
        if record == 0 || self.record_bytes_max > RECORD_LENGTH_MAX {
            return Err(OpenError::Config(format!(
                "record_bytes_max is {record}: it must be 1 to {RECORD_LENGTH_MAX}"
            )));
        }
        let least = segment_least(record);
        let bytes_least = Self::bytes_max_least(self.record_bytes_max);
        if self.bytes_max < bytes_least {
            return Err(OpenError::Config(format!(
                "bytes_max is {}: with records of up to {record} bytes it must be at least {bytes_least}",
                self.bytes_max
            )));
        }
        self.segment_bytes = round_up_to_page(
            self.segment_bytes.min(self.bytes_max / 4).min(1 << 31).max(least).max(4 * PAGE),
        );
        self.buffer_bytes_max = self.buffer_bytes_max.max((record + OVERHEAD) as usize).min(1 << 30);
        self.reserve_bytes = round_up_to_page(self.reserve_bytes.clamp(PAGE, self.segment_bytes));
        Ok(self)
    }
}

/// The least size of a segment with records of up to this many bytes.
fn segment_least(record: u64) -> u64 {
    round_up_to_page(SEGMENT_HEADER + record + OVERHEAD)
}

/// `bytes` rounded up to whole pages.
pub(crate) fn round_up_to_page(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}
