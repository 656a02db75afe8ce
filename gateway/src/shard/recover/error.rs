//! Why a shard cannot start.

use std::path::{Path, PathBuf};

use catchment_journal::{AtomicFileError, OpenError, ReadError, SyncError};

use crate::{fold::CheckpointError, shard::Backpressure};

/// Why a shard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoints' folder cannot be made or listed.
    #[error("{}: {error}", .folder.display())]
    Io {
        /// The shard's folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The checkpoints cannot be read.
    #[error(
        "{}: {error}; no other checkpoint is whole. Put the files back, or set them aside with `journal repair`: then what was \
         taken before the journal's start and not delivered is lost",
        .folder.display()
    )]
    Checkpoint {
        /// The shard's folder.
        folder: PathBuf,
        /// What is wrong.
        error: AtomicFileError,
    },
    /// The checkpoints belong to another shard.
    #[error(
        "{}: the checkpoints belong to another data folder or shard, and would be taken for this one's: put the right ones back",
        .folder.display()
    )]
    Foreign {
        /// The checkpoints' folder.
        folder: PathBuf,
    },
    /// A checkpoint that this version cannot read.
    #[error("{}: {error}", .folder.display())]
    State {
        /// The shard's folder.
        folder: PathBuf,
        /// What is wrong.
        error: CheckpointError,
    },
    /// The first entry cannot be written.
    #[error(transparent)]
    Backpressure(#[from] Backpressure),
    /// A log cannot be advanced past what is missing.
    #[error("{}: {error}", .folder.display())]
    Write {
        /// The shard's folder.
        folder: PathBuf,
        /// What is wrong.
        error: SyncError,
    },
}

impl RecoveryError {
    pub(super) fn write(folder: &Path, error: SyncError) -> Self {
        Self::Write { folder: folder.to_owned(), error }
    }

    /// Whether somebody has to repair the folder before the next start.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Foreign { .. })
    }
}
