//! Backs up a data folder that no aggregator uses.

use std::{collections::HashSet, path::Path, time::Instant};

use catchment_journal::DataDirError;

use super::{
    pace::Pace,
    sender::read_files,
    target::{Done, Target, TargetError},
};
use crate::{
    clock,
    store::{
        BackupError, BackupSource, EmbeddedStore, MaintenanceStore as _, OpenError, StoreConfig, StoreError,
        lock_existing,
    },
};

/// Why a data folder was not backed up.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    /// A server uses it.
    #[error(
        "{0} is in use by another process: back up a running aggregator with --aggregator URL --identity DIR in place of --data"
    )]
    InUse(String),
    #[error(transparent)]
    Open(OpenError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("the store was not closed cleanly: {0}")]
    Close(StoreError),
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl LocalError {
    /// Whether arguments must change before another attempt can succeed.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, Self::Target(error) if error.is_usage())
    }
}

impl From<OpenError> for LocalError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Folder(DataDirError::Locked(path)) => Self::InUse(path.display().to_string()),
            error => Self::Open(error),
        }
    }
}

/// Backs up the store in a data folder. Opens it as a start does: what its journal holds is flushed first.
///
/// # Errors
/// See [`LocalError`].
pub(super) async fn backup(data: &Path, target: Target, bytes_per_second: u64) -> Result<Done, LocalError> {
    // A folder that does not exist is not made.
    drop(lock_existing(data)?);
    let (store, _) = EmbeddedStore::open(data, StoreConfig::default())?;
    let mut snapshot = store.snapshot(clock::now_ms(), &mut || {})?;
    let mut incoming = target.begin(snapshot.contents().clone())?;
    let missing: HashSet<_> =
        snapshot.contents().files.iter().filter(|file| incoming.wants(file)).cloned().collect();
    let mut pace = Pace::new(bytes_per_second);
    read_files(
        &mut *snapshot,
        |file| missing.contains(file),
        |file, offset, content| {
            incoming.write(&file.name, offset, &content)?;
            std::thread::sleep(pace.sent(content.len(), Instant::now()));
            Ok::<(), LocalError>(())
        },
    )?;
    let done = incoming.finish()?;
    drop(snapshot);
    store.close().await.map_err(LocalError::Close)?;
    Ok(done)
}
