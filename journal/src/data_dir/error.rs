//! Why a data folder cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// A data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has locked it.
    #[error("data folder {} is in use by another process: stop that one, or use another folder", .0.display())]
    Locked(PathBuf),
    /// Reading or writing failed.
    #[error("data folder: {}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's error.
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
        /// What was found, and what to do.
        why: String,
    },
    /// A log in the folder belongs to another folder.
    #[error(
        "data folder {}: `{log}` belongs to another data folder: put the right one back",
        path.display()
    )]
    Log {
        /// The folder.
        path: PathBuf,
        /// The log's path within the folder.
        log: String,
    },
    /// The folder belongs to another owner.
    #[error(
        "data folder {} belongs to {owner}, but the identity is {found}: start with the identity it belongs to, which \
         also delivers what waits in it, or use another folder; `catchment-{kind} folder adopt` changes its owner",
        path.display()
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// The folder's kind, the same as the program's.
        kind: String,
        /// The recorded owner.
        owner: String,
        /// The identity that opened it.
        found: String,
    },
}

impl DataDirError {
    /// True if the operator must choose another folder or repair this one: it belongs to another owner, its identity is
    /// damaged or missing, or it cannot be created or used. Otherwise the folder is in use, or the disk has failed.
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
