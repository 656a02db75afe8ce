//! A data folder: its identity, its format version, its lock.
//!
//! `identity` (see `whole.rs`) holds lines `key=value`: `format`, `kind`, `epoch`, `created_ms`, and what the
//! program adds at creation. `lock` is held exclusively while the [`DataDir`] lives. The identity is written
//! before anything else; a folder that holds files but no identity is refused, because starting anew there
//! would hide a loss.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{Disk, RealDisk};
use crate::whole::{WholeError, read_whole, write_whole};

/// Format of data folders that this program writes.
pub const FORMAT_VERSION: u32 = 2;

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";

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
}

impl DataDirError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// An open data folder; the lock is released when it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    epoch: u64,
    created_ms: u64,
    values: BTreeMap<String, String>,
    created: bool,
    _lock: File,
}

impl DataDir {
    /// Opens the folder of that kind (`gateway`, `aggregator`), or creates it with a random epoch, `now_ms`
    /// (Unix milliseconds) as its time of creation, and `extras`. Extras of an existing folder stay as they
    /// are: compare with [`DataDir::get`]. Keys and values hold no line break, keys no `=`.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open(path: &Path, kind: &str, now_ms: u64, extras: &[(&str, &str)]) -> Result<Self, DataDirError> {
        let disk = RealDisk;
        disk.create_dir_all(path).map_err(DataDirError::io(path))?;
        let lock = lock(path)?;
        let refuse = |why: String| DataDirError::Identity { path: path.to_owned(), why };
        let file = path.join(IDENTITY);
        let read = || match read_whole(&disk, &file) {
            Ok(bytes) => Ok(bytes),
            Err(WholeError::Io { path, source }) => Err(DataDirError::Io { path, source }),
            Err(error) => Err(refuse(format!("{error}: restore it from a copy"))),
        };
        let (bytes, created) = match read()? {
            Some(bytes) => (bytes, false),
            None => {
                check_empty(path)?;
                let text = identity(&disk, kind, now_ms, extras)
                    .ok_or_else(|| refuse("a key or value holds a line break or `=`".into()))?;
                write_whole(&disk, &file, text.as_bytes()).map_err(DataDirError::io(&file))?;
                (text.into_bytes(), true)
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| refuse("identity is not UTF-8".into()))?;
        let values: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let number = |key: &str| {
            let value = values.get(key).and_then(|value| value.parse::<u64>().ok());
            value.ok_or_else(|| refuse(format!("identity: `{key}` is missing or no number")))
        };
        let format = number("format")?;
        if format > u64::from(FORMAT_VERSION) {
            let why = format!("format {format}; this program knows up to {FORMAT_VERSION}: use a newer one");
            return Err(refuse(why));
        }
        if format < u64::from(FORMAT_VERSION) {
            let why = format!(
                "format {format}, of a version before the first release; this program knows {FORMAT_VERSION}: \
                 use a new folder"
            );
            return Err(refuse(why));
        }
        if values.get("kind").map(String::as_str) != Some(kind) {
            let found = values.get("kind").map_or("nothing", String::as_str);
            return Err(refuse(format!("belongs to {found}, not to {kind}: use another folder")));
        }
        let (epoch, created_ms) = (number("epoch")?, number("created_ms")?);
        Ok(Self { path: path.to_owned(), epoch, created_ms, values, created, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Random at creation, 1 to 2^63-1: one life of this folder.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the folder was created, Unix milliseconds by the clock of then.
    pub fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// True if this opening created it.
    pub fn is_new(&self) -> bool {
        self.created
    }

    /// A value that was given at creation.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
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

/// A new folder holds nothing but what its creation or a file system puts there.
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

fn identity(disk: &RealDisk, kind: &str, now_ms: u64, extras: &[(&str, &str)]) -> Option<String> {
    let epoch = (disk.random_u64() >> 1).max(1);
    let mut text = format!("format={FORMAT_VERSION}\nkind={kind}\nepoch={epoch}\ncreated_ms={now_ms}\n");
    for (key, value) in extras {
        if key.contains(['=', '\n']) || value.contains('\n') {
            return None;
        }
        text.push_str(&format!("{key}={value}\n"));
    }
    Some(text)
}
