//! Checks that files are still in place. A file that was removed or replaced under a running server still accepts
//! writes and syncs, but nothing of them is left after a restart.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{Disk, FileStatus, RealDisk};

/// A file or folder in use is not in place.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// It is certainly gone: nothing written to it may be acknowledged.
    #[error(
        "{} {what} while in use: data that was acknowledged but not passed on is lost with it; put the folder back as \
         it was, or start with a new one",
        path.display()
    )]
    Gone {
        /// The file or folder.
        path: PathBuf,
        /// What happened to it.
        what: &'static str,
    },
    /// The check failed.
    #[error("cannot check whether {} is still in place: {source}", path.display())]
    Unknown {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl PresenceError {
    fn gone(path: &Path, what: &'static str) -> Self {
        Self::Gone { path: path.to_owned(), what }
    }

    /// Whether the file is certainly gone.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    fn unknown(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            // Its file system no longer knows the file.
            io::ErrorKind::StaleNetworkFileHandle => Self::gone(path, "has vanished"),
            _ => Self::Unknown { path: path.to_owned(), source },
        }
    }
}

/// Checks that an open file still has a name, and at least the length that its owner gave it.
///
/// # Errors
/// See [`PresenceError`].
pub(crate) fn check_open(
    status: io::Result<FileStatus>,
    len_min: u64,
    path: impl FnOnce() -> PathBuf,
) -> Result<(), PresenceError> {
    match status {
        Err(source) => Err(PresenceError::unknown(&path(), source)),
        Ok(status) if status.links == 0 => Err(PresenceError::gone(&path(), "was removed")),
        Ok(status) if status.len < len_min => Err(PresenceError::gone(&path(), "was cut short")),
        Ok(_) => Ok(()),
    }
}

/// Checks that a path still leads to a file of at least this length, and to the file `id` if given.
///
/// # Errors
/// See [`PresenceError`].
pub(crate) fn check_path<D: Disk>(
    disk: &D,
    path: &Path,
    id: Option<(u64, u64)>,
    len_min: u64,
) -> Result<(), PresenceError> {
    match disk.status(path) {
        Err(source) => Err(PresenceError::unknown(path, source)),
        Ok(None) => Err(PresenceError::gone(path, "was removed or moved")),
        Ok(Some(status)) if id.is_some_and(|id| id != status.id) => {
            Err(PresenceError::gone(path, "was replaced by another"))
        }
        Ok(Some(status)) if status.len < len_min => Err(PresenceError::gone(path, "was cut short")),
        Ok(Some(_)) => Ok(()),
    }
}

/// Checks that a path still leads to a file or folder.
///
/// # Errors
/// See [`PresenceError`].
pub fn check_exists(path: &Path) -> Result<(), PresenceError> {
    check_path(&RealDisk, path, None, 0)
}

/// Checks that a path still leads to the given open file or folder.
///
/// # Errors
/// See [`PresenceError`].
pub fn check_in_place(path: &Path, open: &std::fs::File) -> Result<(), PresenceError> {
    use crate::fs::DiskFile;
    let status = DiskFile::status(open).map_err(|source| PresenceError::unknown(path, source))?;
    check_path(&RealDisk, path, Some(status.id), 0)
}
