//! What can be backed up, and the files of one backup.

use crate::store::{StoreError, embedded::EmbeddedStore};
use catchment_journal::Disk;

use super::snapshot::take;

/// A file of a backup. Files of the same name, length and checksum have the same content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackupFile {
    /// Relative path with `/`, of `A-Z a-z 0-9 . _ - + /`.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// CRC-32C of the content.
    pub checksum: u32,
}

/// What a backup consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Identifies the store; not 0.
    pub store: u64,
    /// Format of the files: see `FORMAT`.
    pub format: u32,
    /// Everything acknowledged before is in it: Unix milliseconds, by the aggregator's clock.
    pub taken_ms: i64,
    /// Version of the program that took it.
    pub version: String,
    /// Its files.
    pub files: Vec<BackupFile>,
}

impl Contents {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// Why a store cannot be backed up.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It has failed, or has no space for the catalog's copy.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is damaged. A backup of it could not be restored as a whole.
    #[error(
        "{0}: the store is damaged and was not backed up; stop the aggregator and run `catchment-aggregator store repair`"
    )]
    Damaged(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Error of the system.
        source: std::io::Error,
    },
}

/// A state of a store, whose files stay until it is dropped.
pub trait Snapshot: Send {
    /// What it consists of.
    fn contents(&self) -> &Contents;

    /// Reads from a file of [`Contents::files`], by its index, into `buffer`; returns how many bytes, 0 at its end.
    /// Consecutive reads of one file are cheap. May wait for the disk.
    ///
    /// # Errors
    /// [`BackupError`]; an index that does not exist.
    fn read(&mut self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<usize, BackupError>;
}

/// A store that can be backed up while it is used.
pub trait BackupSource: Send + Sync {
    /// Takes a snapshot: everything acknowledged before the call is in it. `now_ms`: the clock before the call, Unix
    /// milliseconds. Flushes the memtable and copies the catalog; flushes wait meanwhile, ingest and queries do not: until
    /// `released` is called, the thread should have the priority of what waits. Waits for the disk.
    ///
    /// # Errors
    /// [`BackupError`].
    fn snapshot(&self, now_ms: i64, released: &mut dyn FnMut()) -> Result<Box<dyn Snapshot>, BackupError>;
}

impl<D: Disk> BackupSource for EmbeddedStore<D> {
    fn snapshot(&self, now_ms: i64, released: &mut dyn FnMut()) -> Result<Box<dyn Snapshot>, BackupError> {
        self.inner.healthy()?;
        Ok(Box::new(take(&self.inner, now_ms, released)?))
    }
}
