//! Bounds of a log, with the reason for each default.

use crate::error::OpenError;
use crate::format::{BLOCK_HEADER, RECORD_HEADER, RECORD_LENGTH_MAX, SEGMENT_HEADER};

/// File systems hand out space in blocks of this size (bytes).
pub(crate) const PAGE: u64 = 4096;
/// What a block needs beside its only record.
const OVERHEAD: u64 = BLOCK_HEADER + RECORD_HEADER + BLOCK_HEADER;

/// Bounds of one log. All sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment file does not grow beyond this. Default 16 MiB: a last segment of that size is checked in
    /// some tens of milliseconds at start. Taken as at most a quarter of `bytes_max`, so that space is
    /// released in steps, and as at least 16 KiB and what the largest record needs.
    pub segment_bytes: u64,
    /// Bound of the whole log on disk, space reserved ahead included. Beyond it appends are refused as full.
    /// Default 1 GiB.
    pub bytes_max: u64,
    /// Largest record. Default 1 MiB.
    pub record_bytes_max: u32,
    /// Appended but not yet written; beyond it appends are refused until the next commit. Default 4 MiB.
    pub buffer_bytes_max: usize,
    /// Disk space that is reserved ahead of the appends. Default 1 MiB: small disks work, and reserving is
    /// rare beside writing.
    pub reserve_bytes: u64,
    /// The log reserves nothing that would leave the file system with less than this free. Default 1 MiB:
    /// what it takes to write the checkpoint that lets segments be released, when the disk is full.
    pub disk_free_min: u64,
    /// Salt of a log that is made: see [`crate::DataDir::prepare_logs`]. Default: a random one.
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
    /// The bounds as the log uses them: consistent with one another.
    pub(crate) fn checked(mut self) -> Result<Self, OpenError> {
        let record = u64::from(self.record_bytes_max);
        if record == 0 || self.record_bytes_max > RECORD_LENGTH_MAX {
            return Err(OpenError::Config(format!(
                "record_bytes_max is {record}: 1 to {RECORD_LENGTH_MAX} are possible"
            )));
        }
        let least = round_up_to_page(SEGMENT_HEADER + record + OVERHEAD);
        if self.bytes_max < 2 * least {
            return Err(OpenError::Config(format!(
                "bytes_max is {}: with records of up to {record} bytes it takes at least {}",
                self.bytes_max,
                2 * least
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

/// `bytes` rounded up to whole pages.
pub(crate) fn round_up_to_page(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}
