//! The runs and epochs of a data folder, on disk.
//!
//! Two small files in the data folder, each written whole: `runs` at every start before anything is accepted,
//! `epochs` at every new epoch before anything is sent or released under it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use catchment_journal::{AtomicFileError, Disk, RealDisk, read_atomic, write_atomic};
use catchment_partial::Timestamp;
use catchment_proto::{Capabilities, wire};

use super::{
    epochs::{Epoch, Epochs, Numbering},
    fork::{DeliveryStatus, Fork, plan_fork},
    runs::{Run, Runs, ShardRun},
};
use crate::clock::nanos;

/// The list of runs.
pub(crate) const RUNS: &str = "runs";
/// The list of epochs; absent while the folder has its first.
pub(super) const EPOCHS: &str = "epochs";

/// The folder's history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// Input or output failed.
    #[error("data folder: {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The list of epochs is damaged: without it batches would be sent under wrong names.
    #[error(
        "{} is damaged or belongs to another folder: restore it from a copy; or remove it to begin a new epoch, and what waits in the outbox may count twice",
        .0.display()
    )]
    Epochs(PathBuf),
}

/// What is known of a data folder before its history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderPast {
    /// It was made just now.
    New,
    /// Its first start may have been interrupted, or an earlier version without a history served it.
    Unknown,
    /// A start was completed, so it has a history.
    Started,
}

/// The runs and epochs of a data folder.
pub struct Lineage<D: Disk = RealDisk> {
    disk: Arc<D>,
    folder: PathBuf,
    pub(super) runs: Runs,
    pub(super) epochs: Epochs,
    /// Files of the history that are missing or unusable.
    lost: u64,
}

impl<D: Disk> fmt::Debug for Lineage<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disk: _, folder, runs, epochs, lost: _ } = self;
        f.debug_struct("Lineage").field("folder", folder).field("runs", runs).field("epochs", epochs).finish()
    }
}

impl<D: Disk> Lineage<D> {
    /// Reads the history of a folder whose identity has this epoch.
    ///
    /// # Errors
    /// See [`LineageError`].
    pub fn open(
        disk: Arc<D>,
        folder: &Path,
        (epoch, created_ms): (u64, i64),
        past: FolderPast,
    ) -> Result<Self, LineageError> {
        let (runs, lost) = read_runs(&*disk, &folder.join(RUNS), epoch, past)?;
        let mut lost = u64::from(lost);
        let epochs = read_epochs(&*disk, folder, epoch)?;
        if epochs.is_none() && runs.epoch() != 0 && runs.epoch() != epoch {
            lost += 1;
            tracing::warn!(
                file = %folder.join(EPOCHS).display(),
                "the list of this folder's epochs is gone: a new one begins, and what waits in the outbox may count twice"
            );
        }
        let epochs = epochs.unwrap_or_else(|| Epochs::first(epoch, created_ms));
        let mut lineage = Self { disk, folder: folder.to_owned(), runs, epochs, lost };
        lineage.runs.set_epoch(epoch, lineage.epochs.present().id);
        Ok(lineage)
    }

    /// How many files of the history were missing or unusable.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes missing files again and returns their names.
    ///
    /// # Errors
    /// [`LineageError::Io`].
    pub fn write_missing(&self) -> Result<Vec<&'static str>, LineageError> {
        let mut written = Vec::new();
        if self.is_missing(RUNS)? {
            self.write(RUNS, &self.runs.encode())?;
            written.push(RUNS);
        }
        if self.epochs.have_forked() && self.is_missing(EPOCHS)? {
            self.write(EPOCHS, &self.epochs.encode())?;
            written.push(EPOCHS);
        }
        Ok(written)
    }

    fn is_missing(&self, name: &str) -> Result<bool, LineageError> {
        let path = self.folder.join(name);
        let there = self.disk.len(&path).map_err(|source| LineageError::Io { path, source })?;
        Ok(there.is_none())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), LineageError> {
        let path = self.folder.join(name);
        write_atomic(&*self.disk, &path, bytes).map_err(|source| LineageError::Io { path, source })
    }

    /// Begins a run whose shards make batches from these numbers on. Must be called before any batch is made.
    ///
    /// # Errors
    /// [`LineageError::Io`].
    pub fn begin_run(
        &mut self,
        started_ms: i64,
        watermark_ms: Option<i64>,
        bases: &[u64],
        open_max: Duration,
    ) -> Result<(), LineageError> {
        let id = self.disk.random_u64().max(1);
        let shards = bases.iter().map(|base| ShardRun { base: *base, sealed: None }).collect();
        self.runs.begin(Run { id, started_ms, watermark_ms, open_max, shards });
        self.write(RUNS, &self.runs.encode())
    }

    /// Every window that was open before this run is closed, in batches before these numbers. Must be called before
    /// any reading is accepted.
    ///
    /// # Errors
    /// [`LineageError::Io`].
    pub fn seal(&mut self, sealed: &[u64]) -> Result<(), LineageError> {
        self.runs.seal(sealed);
        self.write(RUNS, &self.runs.encode())
    }

    /// The first message of a stream.
    pub fn start(&self, shards: usize) -> wire::Start {
        let epoch = self.epochs.present();
        wire::Start {
            epoch: epoch.id,
            epoch_created_ms: epoch.created_ms,
            shards: u32::try_from(shards).unwrap_or(u32::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.runs.present().map_or(0, |run| run.id),
            previous_runs: self.runs.previous(),
            capabilities: Capabilities::OURS.names(),
        }
    }

    /// How the batch numbers of a shard map into the present epoch.
    pub fn numbering(&self, shard: usize) -> Numbering {
        self.epochs.numbering(shard)
    }

    /// The epoch to begin if another line of the folder has delivered; `None`: the folder is what it was. `held`: by
    /// shard, the lowest own number in the outbox; `None`: it is empty.
    pub fn detect_fork(&self, delivery_status: &DeliveryStatus<'_>, held: &[Option<u64>]) -> Option<Fork> {
        let fresh = (self.disk.random_u64() >> 1).max(1);
        plan_fork(&self.runs, &self.epochs, delivery_status, held, fresh)
    }

    /// See [`Runs::open_max`].
    pub fn open_max(&self) -> Duration {
        self.runs.open_max()
    }

    /// Begins the epoch of a fork, durably; `now` is the gateway's wall clock. The batches left out reach as far as
    /// the bounds of any known run allow; a larger `future_max` that only the other line had is not known here
    /// (docs/delivery.md).
    ///
    /// # Errors
    /// [`LineageError::Io`]: the epoch may not be used.
    pub fn fork(&mut self, fork: &Fork, now: Timestamp) -> Result<(), LineageError> {
        let mut epochs = self.epochs.clone();
        let (id, shards) = (fork.epochs.1, fork.shards.clone());
        let left_out_to = now.saturating_add_nanos(nanos(self.runs.open_max()));
        epochs.begin(Epoch { id, created_ms: now.as_millis(), shards, left_out_to: Some(left_out_to) });
        self.write(EPOCHS, &epochs.encode())?;
        self.epochs = epochs;
        Ok(())
    }
}

/// Whether a start would accept the history of the folder whose identity has this epoch. Changes nothing.
///
/// # Errors
/// See [`LineageError`].
pub(crate) fn check(folder: &Path, epoch: u64) -> Result<(), LineageError> {
    read_epochs(&RealDisk, folder, epoch).map(drop)
}

/// The list of epochs of the folder whose identity has this epoch; `None`: there is none.
fn read_epochs<D: Disk>(disk: &D, folder: &Path, epoch: u64) -> Result<Option<Epochs>, LineageError> {
    let path = folder.join(EPOCHS);
    match read_atomic(disk, &path) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => {
            let epochs = Epochs::decode(&bytes).filter(|epochs| epochs.may_be_of(epoch));
            epochs.ok_or(LineageError::Epochs(path)).map(Some)
        }
        Err(AtomicFileError::Damaged { path }) => Err(LineageError::Epochs(path)),
        Err(AtomicFileError::Io { path, source }) => Err(LineageError::Io { path, source }),
    }
}

/// The list of runs of the folder whose identity has this epoch, and whether it was unusable. A list that is damaged
/// or another folder's is quarantined; earlier runs are then unknown.
fn read_runs<D: Disk>(
    disk: &D,
    path: &Path,
    epoch: u64,
    past: FolderPast,
) -> Result<(Runs, bool), LineageError> {
    let io = |source| LineageError::Io { path: path.to_owned(), source };
    let bytes = match read_atomic(disk, path) {
        Ok(None) if past != FolderPast::Started => {
            return Ok((Runs::none(epoch, past == FolderPast::New), false));
        }
        Ok(None) => {
            tracing::warn!(
                file = %path.display(),
                "the list of this gateway's runs is gone: a folder that went back before now may not be noticed"
            );
            return Ok((Runs::none(epoch, false), true));
        }
        Ok(Some(bytes)) => bytes,
        Err(AtomicFileError::Damaged { .. }) => Vec::new(),
        Err(AtomicFileError::Io { path, source }) => return Err(LineageError::Io { path, source }),
    };
    if let Some(runs) = Runs::decode(&bytes).filter(|runs| runs.may_be_of(epoch)) {
        return Ok((runs, false));
    }
    let mut aside = path.to_owned().into_os_string();
    aside.push(".bad");
    let aside = PathBuf::from(aside);
    disk.rename(path, &aside).map_err(io)?;
    tracing::warn!(
        quarantine = %aside.display(),
        "the list of this gateway's runs is damaged or another folder's, and set aside: a folder that went back before now \
         may not be noticed"
    );
    Ok((Runs::none(epoch, false), true))
}
