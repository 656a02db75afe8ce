//! Why a data folder cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// A data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("data folder {} is in use by another process: stop that one, or use another folder", .0.display())]
    Locked(PathBuf),
    /// Input or output failed.
    #[error("data folder: {}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The identity is damaged.
    #[error("data folder {}: {why}", path.display())]
    Identity {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The folder is of another kind or format.
    #[error("data folder {}: {why}", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What it is, and what to do.
        why: String,
    },
    /// A log in the folder is another folder's.
    #[error(
        "data folder {}: `{log}` belongs to another data folder, and would be taken for this one's: put the right one back",
        path.display()
    )]
    Log {
        /// The folder.
        path: PathBuf,
        /// The log, by its path within the folder.
        log: String,
    },
    /// The folder is another's.
    #[error(
        "data folder {} belongs to {owner}, but the identity is {found}: start with the identity it belongs to, which \
         also delivers what waits in it, or use another folder; `catchment-{kind} folder adopt` changes its owner",
        path.display()
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Its kind, which is the program's.
        kind: String,
        /// Whose it is.
        owner: String,
        /// Who asked for it.
        found: String,
    },
}

impl DataDirError {
    /// Whether another folder has to be given, or this one put right by hand: it is another's, has no whole identity, or
    /// cannot be made or used. Otherwise it is in use, or the disk has failed.
    pub fn is_configuration(&self) -> bool {
        use io::ErrorKind::{
            AlreadyExists, InvalidFilename, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem,
        };
        match self {
            Self::Foreign { .. } | Self::Owner { .. } | Self::Log { .. } | Self::Identity { .. } => true,
            Self::Locked(_) => false,
            Self::Io { source, .. } => matches!(
                source.kind(),
                AlreadyExists
                    | InvalidFilename
                    | NotADirectory
                    | NotFound
                    | PermissionDenied
                    | ReadOnlyFilesystem
            ),
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Identity { path: path.to_owned(), why: why.into() }
    }
}
