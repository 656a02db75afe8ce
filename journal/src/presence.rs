//! Whether files are where they were: a file that was removed or replaced under a running server still takes writes
//! and syncs, and nothing of them is there after a restart.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{Disk, FileStatus, RealDisk};

/// A file or folder in use is not where it was.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// It is certain: nothing more may be acknowledged into it.
    #[error(
        "{} {what} while in use: what was acknowledged and not passed on went with it; put the folder back as it was, or \
         start with a new one",
        path.display()
    )]
    Gone {
        /// The file or folder.
        path: PathBuf,
        /// What became of it.
        what: &'static str,
    },
    /// The system does not say.
    #[error("cannot look whether {} is still in its place: {source}", path.display())]
    Unknown {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
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
            // The file system that it was on has forgotten it.
            io::ErrorKind::StaleNetworkFileHandle => Self::gone(path, "has vanished"),
            _ => Self::Unknown { path: path.to_owned(), source },
        }
    }
}

/// An open file still has a name, and at least the length that its owner gave it.
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

/// A path still leads to a file, to this one if `id` says which, of at least this length.
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

/// Whether there is still something where a path leads.
///
/// # Errors
/// See [`PresenceError`].
pub fn check_exists(path: &Path) -> Result<(), PresenceError> {
    check_path(&RealDisk, path, None, 0)
}

/// Whether a path still leads to a file or folder that this process has open.
///
/// # Errors
/// See [`PresenceError`].
pub fn check_in_place(path: &Path, open: &std::fs::File) -> Result<(), PresenceError> {
    use crate::fs::DiskFile;
    let status = DiskFile::status(open).map_err(|source| PresenceError::unknown(path, source))?;
    check_path(&RealDisk, path, Some(status.id), 0)
}
