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
//!
//! A folder of an earlier format keeps it while it is only inspected. A server raises it before it opens the logs
//! ([`DataDir::prepare_logs`]); a program that does not know a folder's format refuses it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::atomic_file::write_atomic;
use crate::folder_lock::FolderLock;
use crate::fs::{Disk, FileStatus, RealDisk};

mod check;
mod error;
mod facts;
mod identity;
mod logs;
mod presence;

pub use check::check_folder;
use check::{check_empty, check_leads_somewhere, check_owner};
pub use error::DataDirError;
pub use facts::FolderFacts;
pub use identity::FORMAT_VERSION;
use identity::{IDENTITY, LOCK, OWNER, fits, identity_status, new_identity, read_identity, unfit_value};

/// An open data folder; dropping it releases the lock.
#[derive(Debug)]
pub struct DataDir {
    facts: FolderFacts,
    created: bool,
    /// The opened folder, even if its path now leads elsewhere.
    folder: File,
    /// The file `identity` as last read or written.
    identity: FileStatus,
    lock: FolderLock,
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

    /// Changes the owner on behalf of an operator; returns a line that reports it. `check` gets the previous owner and may
    /// refuse; it is not called if that is the new owner already.
    ///
    /// # Errors
    /// What `check` says; output failed, as in [`DataDir::adopt`].
    pub fn change_owner<E: From<DataDirError>>(
        &mut self,
        owner: &str,
        check: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<String, E> {
        let before = self.owner().unwrap_or("nobody").to_owned();
        let folder = self.path().display().to_string();
        if before == owner {
            return Ok(format!("{folder} belongs to {owner} already\n"));
        }
        check(&before)?;
        self.adopt(owner)?;
        Ok(format!("{folder} belongs to {owner} now, previously to {before}\n"))
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

fn lock(path: &Path) -> Result<FolderLock, DataDirError> {
    let name = path.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(DataDirError::io(&name))?;
    FolderLock::take(file).map_err(|error| match error {
        TryLockError::WouldBlock => DataDirError::Locked(path.to_owned()),
        TryLockError::Error(error) => DataDirError::io(&name)(error),
    })
}
