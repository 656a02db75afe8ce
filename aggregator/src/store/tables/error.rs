//! Errors of reading tables.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a table, or a block of it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::store) enum TableError {
    /// Its bytes are not those that were written.
    #[error("{}{}: {reason}", path.display(), block_text(*block))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The block; `None`: header, index or footer.
        block: Option<u32>,
        /// What is wrong.
        reason: String,
    },
    /// The file system reports an error.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// The system refuses to open or read it now, for want of descriptors, memory or rights: that is no damage.
    #[error("cannot read {}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// There is no such file.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
}

impl TableError {
    /// Whether it is no damage: to be tried again once the system permits.
    pub(in crate::store) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// As an error of a system call, for what writes tables.
    pub(in crate::store) fn to_io(&self) -> io::Error {
        io::Error::other(self.to_string())
    }

    pub(super) fn damaged(path: &Path, block: Option<u32>, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), block, reason: reason.into() }
    }

    pub(super) fn of(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.to_owned() },
            _ if is_refusal(error) => Self::Refused { path: path.to_owned(), reason: error.to_string() },
            _ => Self::Read { path: path.to_owned(), reason: error.to_string() },
        }
    }
}

fn block_text(block: Option<u32>) -> String {
    block.map(|block| format!(", block {block}")).unwrap_or_default()
}

/// Whether an error is of the system's limits and rights, not of the file: ENFILE, EMFILE, and by kind.
pub(in crate::store) fn is_refusal(error: &io::Error) -> bool {
    const DESCRIPTORS: [i32; 2] = [23, 24];
    let kind = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::OutOfMemory);
    kind || error.raw_os_error().is_some_and(|code| DESCRIPTORS.contains(&code))
}
