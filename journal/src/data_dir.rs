//! A data folder: its identity, its owner, its format version, its lock.
//!
//! The file `identity` (see `atomic_file.rs`) holds lines `key=value`: `format`, `kind`, `epoch`, `created_ms`,
//! `owner`, and the values that the program adds at creation; unknown keys are kept. The file `lock` is locked
//! exclusively while the [`DataDir`] lives. The identity is written before anything else; a folder with files but no
//! identity is refused, because a fresh start there would hide a loss.
//!
//! The owner is the identity that acknowledged the folder's contents, as a text that names one owner. Other owners are
//! refused, because they would deliver readings under the wrong name. A folder without a recorded owner (made by a
//! version that did not record owners) belongs to the first owner that opens it.
//!
//! The identity also names the folder's logs ([`logs`]), so that a missing or foreign log is noticed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFileError, read_atomic, write_atomic};
use crate::fs::{Disk, FileStatus, RealDisk};

mod check;
mod facts;
mod logs;
mod presence;

pub use check::check_folder;
use check::check_leads_somewhere;
pub use facts::FolderFacts;

/// Format of data folders that this program writes.
pub const FORMAT_VERSION: u32 = 2;

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";
/// Key of the owner in the identity.
const OWNER: &str = "owner";

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

    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// An open data folder; dropping it releases the lock.
#[derive(Debug)]
pub struct DataDir {
    facts: FolderFacts,
    created: bool,
    /// The opened folder, even if its path now leads elsewhere.
    folder: File,
    /// The file `identity` as last read or written.
    identity: FileStatus,
    lock: File,
}

impl DataDir {
    /// Opens a folder of this kind (`gateway`, `aggregator`), or creates it with a random epoch, `now_ms`
    /// (Unix milliseconds) as its creation time, and `extras`. The extras of an existing folder do not change:
    /// compare them with [`DataDir::get`]. Keys and values contain no line break, keys no `=`. Does not check the
    /// owner, so it is for inspection; servers use [`DataDir::open_owned`].
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open(path: &Path, kind: &str, now_ms: u64, extras: &[(&str, &str)]) -> Result<Self, DataDirError> {
        let disk = RealDisk;
        check_leads_somewhere(path)?;
        disk.create_dir_all(path).map_err(DataDirError::io(path))?;
        if read_identity(path)?.is_none() {
            // A folder with other contents is left untouched, without even a lock file.
            check_empty(path)?;
        }
        let lock = lock(path)?;
        let folder = File::open(path).map_err(DataDirError::io(path))?;
        let file = path.join(IDENTITY);
        let (bytes, created) = match read_identity(path)? {
            Some(bytes) => (bytes, false),
            None => {
                check_empty(path)?;
                let text = new_identity(&disk, kind, now_ms, extras).ok_or_else(|| unfit_value(path))?;
                write_atomic(&disk, &file, text.as_bytes()).map_err(DataDirError::io(&file))?;
                (text.into_bytes(), true)
            }
        };
        let facts = FolderFacts::parse(path, kind, bytes)?;
        let identity = identity_status(path)?;
        Ok(Self { facts, created, folder, identity, lock })
    }

    /// Like [`DataDir::open`], for an owner: a new folder belongs to it from the start, a folder without an owner from
    /// now on, durably.
    ///
    /// # Errors
    /// See [`DataDirError`]; a folder of another owner is not changed.
    pub fn open_owned(
        path: &Path,
        kind: &str,
        now_ms: u64,
        owner: &str,
        extras: &[(&str, &str)],
    ) -> Result<Self, DataDirError> {
        let mut all = extras.to_vec();
        all.push((OWNER, owner));
        let mut folder = Self::open(path, kind, now_ms, &all)?;
        check_owner(path, kind, folder.owner(), Some(owner))?;
        if folder.owner().is_none() {
            folder.adopt(owner)?;
            tracing::info!(folder = %path.display(), owner, "the data folder had no owner; it now belongs to this identity");
        }
        Ok(folder)
    }

    /// Changes the folder's owner, durably.
    ///
    /// # Errors
    /// Writing failed; the folder then belongs to the old owner or to the new one.
    pub fn adopt(&mut self, owner: &str) -> Result<(), DataDirError> {
        self.set(OWNER, owner)
    }

    /// Writes a value into the identity, durably.
    ///
    /// # Errors
    /// Key or value do not fit on a line, or writing failed.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), DataDirError> {
        if !fits(key, value) {
            return Err(unfit_value(self.path()));
        }
        let mut values = self.facts.values.clone();
        values.insert(key.to_owned(), value.to_owned());
        self.rewrite(values)
    }

    /// Writes the identity with these values, durably, unless they are unchanged.
    fn rewrite(&mut self, values: BTreeMap<String, String>) -> Result<(), DataDirError> {
        if values == self.facts.values {
            return Ok(());
        }
        let text: String = values.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let file = self.path().join(IDENTITY);
        write_atomic(&RealDisk, &file, text.as_bytes()).map_err(DataDirError::io(&file))?;
        self.identity = identity_status(self.path())?;
        self.facts.values = values;
        Ok(())
    }

    /// The contents of the folder's identity.
    pub fn facts(&self) -> &FolderFacts {
        &self.facts
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.facts.path()
    }

    /// Random at creation, 1 to 2^63-1; identifies one life of this folder.
    pub fn epoch(&self) -> u64 {
        self.facts.epoch()
    }

    /// When the folder was created (Unix milliseconds, by the clock at that time).
    pub fn created_ms(&self) -> u64 {
        self.facts.created_ms()
    }

    /// True if this call of `open` created the folder.
    pub fn is_new(&self) -> bool {
        self.created
    }

    /// The folder's owner; `None` if no server that records owners has opened it yet.
    pub fn owner(&self) -> Option<&str> {
        self.facts.owner()
    }

    /// A value given at creation or set later.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.facts.get(key)
    }
}

fn refused(path: &Path, why: impl Into<String>) -> DataDirError {
    DataDirError::Identity { path: path.to_owned(), why: why.into() }
}

fn unfit_value(path: &Path) -> DataDirError {
    refused(path, "a key or value holds a line break or `=`")
}

/// The bytes of a folder's identity; `None` if it has none.
fn read_identity(path: &Path) -> Result<Option<Vec<u8>>, DataDirError> {
    match read_atomic(&RealDisk, &path.join(IDENTITY)) {
        Ok(bytes) => Ok(bytes),
        Err(AtomicFileError::Io { path, source }) => Err(DataDirError::Io { path, source }),
        Err(error) => Err(refused(path, format!("{error}: restore it from a copy"))),
    }
}

fn identity_status(path: &Path) -> Result<FileStatus, DataDirError> {
    let file = path.join(IDENTITY);
    let status = RealDisk.status(&file).map_err(DataDirError::io(&file))?;
    status.ok_or_else(|| DataDirError::io(&file)(io::ErrorKind::NotFound.into()))
}

/// Checks that `found` may use a folder of `owner`. Anyone may use a folder without an owner; if `found` is `None`, the
/// owner is not checked.
fn check_owner(
    path: &Path,
    kind: &str,
    owner: Option<&str>,
    found: Option<&str>,
) -> Result<(), DataDirError> {
    match (owner, found) {
        (Some(owner), Some(found)) if owner != found => {
            let (owner, found) = (owner.to_owned(), found.to_owned());
            Err(DataDirError::Owner { path: path.to_owned(), kind: kind.to_owned(), owner, found })
        }
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let name = path.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(DataDirError::io(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(DataDirError::io(&name)(error)),
    }
}

/// Checks that a new folder holds only files that its creation or the file system puts there.
fn check_empty(path: &Path) -> Result<(), DataDirError> {
    let names = RealDisk.list(path).map_err(DataDirError::io(path))?;
    match names.iter().find(|name| !name.starts_with('.') && *name != LOCK && *name != "lost+found") {
        None => Ok(()),
        Some(name) => Err(DataDirError::Identity {
            path: path.to_owned(),
            why: format!("holds `{name}` but no identity: restore `{IDENTITY}`, or use an empty folder"),
        }),
    }
}

/// Whether a key and its value fit on a line.
fn fits(key: &str, value: &str) -> bool {
    !key.contains(['=', '\n']) && !value.contains('\n')
}

fn new_identity(disk: &RealDisk, kind: &str, now_ms: u64, extras: &[(&str, &str)]) -> Option<String> {
    let epoch = (disk.random_u64() >> 1).max(1);
    let mut text = format!("format={FORMAT_VERSION}\nkind={kind}\nepoch={epoch}\ncreated_ms={now_ms}\n");
    for (key, value) in extras {
        if !fits(key, value) {
            return None;
        }
        text.push_str(&format!("{key}={value}\n"));
    }
    Some(text)
}
