//! A new data folder of a catalog and tables.
//!
//! Everything is made in the folder `restoring` of the data folder, then moved into its place, and last of all the file
//! `identity`: a folder with anything in it and without that file is refused by a start. So a kill at any moment leaves
//! nothing that starts half restored, and the next restore begins again.
//!
//! The new folder is another one than that of the backup: its identity is new, and its journal is empty and begins where
//! the backup's tables end.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use catchment_journal::{DataDir, DataDirError, Disk, FolderLock, Log, LogConfig, Position, RealDisk};

use super::export::{ExportHead, ExportReader};
use crate::store::{
    StoreConfig,
    catalog::catalog_store::{CatalogStore, Loaded},
    flush::marker,
    tables::version::FOLDER,
    tree::{WriteBatch, sled_tree::SledTree},
    wal::open::{JOURNAL, KIND, SLED},
};

const RESTORING: &str = "restoring";
const IDENTITY: &str = "identity";
const LOCK: &str = "lock";
/// A write batch is committed once it has this many bytes.
const WRITE_BATCH_BYTES: usize = 4 << 20;

/// Why a store was not restored. The data folder does not start.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The data folder is not empty.
    #[error("{}: holds `{name}`: restore into an empty or new folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// Something in it.
        name: String,
    },
    /// A server or another restore uses the data folder.
    #[error("{} is in use by another process: stop that one, or use another folder", .0.display())]
    Locked(PathBuf),
    /// A file of the backup is not what it must be.
    #[error("{}: {reason}: this backup cannot be restored", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Error of the system.
        source: io::Error,
    },
    /// Writing the new folder failed.
    #[error("{}: {reason}", folder.display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        reason: String,
    },
    /// Identity or journal cannot be made.
    #[error(transparent)]
    Folder(#[from] DataDirError),
}

/// For `map_err`: an error of the system, with its file.
pub(crate) fn io_error(what: &str, path: &Path) -> impl Fn(io::Error) -> RestoreError + use<> {
    let what = format!("{what} {}", path.display());
    move |source| RestoreError::Io { what: what.clone(), source }
}

/// What a restored folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Number of series.
    pub series: usize,
    /// Number of tables.
    pub tables: usize,
    /// Who owns the folder; `None`: whoever starts on it first.
    pub owner: Option<String>,
}

/// Called between any two steps; its error ends the work there, as a kill would. For tests.
pub(crate) type Step<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// Builds a data folder.
pub struct FolderBuilder {
    data: PathBuf,
    new: PathBuf,
    /// Held from before anything is written.
    _lock: FolderLock,
    dir: DataDir,
}

impl FolderBuilder {
    /// Begins in a folder that is empty, does not exist, or holds the remains of an interrupted restore, which are
    /// removed.
    ///
    /// # Errors
    /// See [`RestoreError`]; a folder that holds anything else is not changed.
    pub fn begin(data: &Path, now_ms: u64) -> Result<Self, RestoreError> {
        let new = data.join(RESTORING);
        RealDisk.create_dir_all(data).map_err(io_error("cannot create", data))?;
        check_empty(data)?;
        let path = data.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(io_error("cannot open", &path))?;
        let lock = FolderLock::take(lock).map_err(|error| match error {
            TryLockError::WouldBlock => RestoreError::Locked(data.to_owned()),
            TryLockError::Error(error) => io_error("cannot lock", &path)(error),
        })?;
        // Again: until the lock was taken, another one may have begun.
        check_empty(data)?;
        remove_remains(data)?;
        fs::create_dir(&new).map_err(io_error("cannot create", &new))?;
        RealDisk.sync_dir(data).map_err(io_error("cannot sync", data))?;
        let dir = DataDir::open(&new, KIND, now_ms, &[])?;
        let tables = new.join(FOLDER);
        RealDisk.create_dir_all(&tables).map_err(io_error("cannot create", &tables))?;
        Ok(Self { data: data.to_owned(), new, _lock: lock, dir })
    }

    /// Where the content of a table's file must be written, by its name in the folder of tables.
    pub fn table_path(&self, name: &str) -> PathBuf {
        self.new.join(FOLDER).join(name)
    }

    /// Makes the catalog of an export, and checks it against the tables that were written. Then puts everything into
    /// its place.
    ///
    /// # Errors
    /// See [`RestoreError`]; `file` names the export in them.
    pub(crate) fn finish(
        mut self,
        export: impl Read,
        file: &Path,
        step: Step<'_>,
    ) -> Result<Restored, RestoreError> {
        let tables = self.new.join(FOLDER);
        RealDisk.sync_dir(&tables).map_err(io_error("cannot sync", &tables))?;
        let (head, loaded) = import(export, &self.new, file, step)?;
        self.check_tables(&loaded, file)?;
        let stopped = io_error("stopped at", &self.new);
        step().map_err(&stopped)?;
        if !head.owner.is_empty() {
            self.dir.adopt(&head.owner)?;
        }
        self.journal(loaded.meta.flushed_to)?;
        step().map_err(&stopped)?;
        self.publish(step)?;
        Ok(Restored {
            series: loaded.catalog.series.len(),
            tables: loaded.tables.len(),
            owner: Some(head.owner).filter(|owner| !owner.is_empty()),
        })
    }

    /// Checks that exactly the tables of the catalog are there.
    fn check_tables(&self, loaded: &Loaded, file: &Path) -> Result<(), RestoreError> {
        let damaged = |reason| RestoreError::Damaged { file: file.to_owned(), reason };
        let folder = self.new.join(FOLDER);
        for entry in &loaded.tables {
            let path = entry.path(&self.new);
            let bytes = RealDisk.len(&path).map_err(io_error("cannot read", &path))?;
            if bytes != Some(entry.summary.bytes) {
                let name = entry.file_name();
                return Err(damaged(format!("it names the table {name}, which the backup does not hold")));
            }
        }
        let there = RealDisk.list(&folder).map_err(io_error("cannot read", &folder))?.len();
        if there != loaded.tables.len() {
            return Err(damaged(format!("it names {} tables of {there}", loaded.tables.len())));
        }
        Ok(())
    }

    /// Makes an empty journal that begins where the tables end.
    fn journal(&mut self, from: Position) -> Result<(), RestoreError> {
        let write = |reason: String| RestoreError::Write { folder: self.new.join(JOURNAL), reason };
        let names = [JOURNAL.to_owned()];
        let salt = self.dir.prepare_logs(&names)?.get(JOURNAL).copied();
        let config = LogConfig { salt, ..StoreConfig::default().journal };
        let opened = Log::open(Arc::new(RealDisk), &self.new.join(JOURNAL), config);
        let (mut log, _) = opened.map_err(|error| write(error.to_string()))?;
        log.advance_to(from).map_err(|error| write(error.to_string()))?;
        if log.end() == from {
            // The segment that it began with: nothing is missing before the new one.
            log.release(from).map_err(|error| write(error.to_string()))?;
        }
        log.close().map_err(|error| write(error.to_string()))?;
        self.dir.confirm_logs(&names, &[])?;
        marker::write(&RealDisk, &self.new, from).map_err(io_error("cannot write the marker in", &self.new))
    }

    /// Moves everything into its place, the identity last.
    fn publish(self, step: Step<'_>) -> Result<(), RestoreError> {
        let Self { data, new, _lock, dir } = self;
        let stopped = io_error("stopped at", &data);
        drop(dir);
        for name in [FOLDER, SLED, JOURNAL, marker::FILE, IDENTITY] {
            if name == IDENTITY {
                RealDisk.sync_dir(&data).map_err(io_error("cannot sync", &data))?;
            }
            step().map_err(&stopped)?;
            fs::rename(new.join(name), data.join(name))
                .map_err(io_error("cannot move the new", &data.join(name)))?;
        }
        RealDisk.sync_dir(&data).map_err(io_error("cannot sync", &data))?;
        step().map_err(&stopped)?;
        // What is left of it means nothing beside an identity.
        let _ = fs::remove_dir_all(&new);
        Ok(())
    }
}

/// Checks that a folder holds nothing but what a new one may, or the remains of an interrupted restore.
fn check_empty(data: &Path) -> Result<(), RestoreError> {
    let names = RealDisk.list(data).map_err(io_error("cannot read", data))?;
    let interrupted =
        names.iter().any(|name| name == RESTORING) && !names.iter().any(|name| name == IDENTITY);
    let ours = [RESTORING, FOLDER, SLED, JOURNAL, marker::FILE];
    let known = |name: &str| {
        name.starts_with('.') || [LOCK, "lost+found"].contains(&name) || (interrupted && ours.contains(&name))
    };
    match names.into_iter().find(|name| !known(name)) {
        Some(name) => Err(RestoreError::NotEmpty { folder: data.to_owned(), name }),
        None => Ok(()),
    }
}

/// Removes what an interrupted restore left. What says that it is a restore's goes last.
fn remove_remains(data: &Path) -> Result<(), RestoreError> {
    for name in [FOLDER, SLED, JOURNAL, marker::FILE, RESTORING] {
        let path = data.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(io_error("cannot remove", &path))?,
        }
    }
    Ok(())
}

/// Fills a new tree from an export; returns what it holds.
fn import(
    export: impl Read,
    new: &Path,
    file: &Path,
    step: Step<'_>,
) -> Result<(ExportHead, Loaded), RestoreError> {
    let folder = new.join(SLED);
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            RestoreError::Damaged { file: file.to_owned(), reason: error.to_string() }
        }
        _ => io_error("cannot read", file)(error),
    };
    let write = |reason: String| RestoreError::Write { folder: folder.clone(), reason };
    let (mut reader, head) = ExportReader::open(export).map_err(unreadable)?;
    let tree = SledTree::open(&folder, StoreConfig::default().cache_bytes).map_err(write)?;
    let catalog_store = CatalogStore::new(tree);
    let mut writes = WriteBatch::new(0);
    while let Some((key, value)) = reader.next().map_err(unreadable)? {
        writes.copy(key, value);
        if writes.bytes() >= WRITE_BATCH_BYTES {
            catalog_store.import(std::mem::replace(&mut writes, WriteBatch::new(0))).map_err(write)?;
            step().map_err(io_error("stopped at", &folder))?;
        }
    }
    catalog_store.import(writes).map_err(write)?;
    let loaded = catalog_store.load().map_err(write)?;
    if let Some(finding) = loaded.findings.first() {
        return Err(RestoreError::Damaged { file: file.to_owned(), reason: finding.clone() });
    }
    Ok((head, loaded))
}
