//! Errors of the log.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::position::Position;

/// A log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The bounds contradict one another.
    #[error("log configuration: {0}")]
    Config(String),
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Written by a newer version of this program.
    #[error("{}: segment format {version}; this program knows formats up to {known}: use a newer one", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        version: u32,
        /// The newest known format.
        known: u32,
    },
    /// No segment has a valid header; without the salt in it, no checksum can be verified.
    #[error("{}: not readable as a log segment: repair sets the file aside and continues after it", path.display())]
    Unreadable {
        /// The segment.
        path: PathBuf,
    },
}

impl OpenError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Why there is no space for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FullReason {
    /// The log has reached its own bound.
    LogBound {
        /// `LogConfig::bytes_max`.
        bytes_max: u64,
    },
    /// The file system would be left with less than `LogConfig::disk_free_min`.
    DiskFree {
        /// Bytes free on the file system.
        free: u64,
    },
    /// The system refused to reserve space.
    Disk(Arc<str>),
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogBound { bytes_max } => write!(f, "the log has reached its bound of {bytes_max} bytes"),
            Self::DiskFree { free } => write!(f, "the file system has only {free} bytes free"),
            Self::Disk(why) => write!(f, "cannot reserve disk space: {why}"),
        }
    }
}

/// A record was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No space. Try again: the error passes once a release, or a deletion elsewhere, frees space.
    #[error("log is full: {0}")]
    Full(FullReason),
    /// Too much is waiting for the next commit: try again after it.
    #[error("log buffer is full until the next commit")]
    BufferFull,
    /// Larger than `LogConfig::record_bytes_max`; such a record is never accepted.
    #[error("record of {bytes} bytes: at most {max} are allowed")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// The bound.
        max: u32,
    },
    /// A write or sync failed earlier: the log accepts no records until it is opened again.
    #[error("log failed: {0}")]
    Poisoned(Arc<str>),
    /// The log was closed.
    #[error("log is closed")]
    Closed,
}

/// A commit failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The file system had no space despite the reservation (copy-on-write file systems). Nothing was synced and
    /// nothing is lost: commit again.
    #[error("no space to write accepted records: {0}")]
    Full(Arc<str>),
    /// A write or sync failed. It is never retried, because a second sync may report success for bytes that
    /// the first one lost. Stop and open the log again.
    #[error("log failed: {0}")]
    Poisoned(Arc<str>),
}

/// Reading failed. (Damaged bytes are an event, not an error.)
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The segment was released while the reader was in it.
    #[error("position {at} was released: the log starts at {start}")]
    Released {
        /// Where the reader was.
        at: Position,
        /// The log's start now.
        start: Position,
    },
}
