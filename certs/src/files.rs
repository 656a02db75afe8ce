//! Atomic, durable creation of files and folders.
//!
//! A file is written under a temporary name in the target folder, synced and renamed, then the folder is synced. A
//! private key has mode 0600 from its first byte. Each target has a fixed temporary name, so the next attempt removes
//! what a crash left behind; callers hold the authority's lock.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::pem_text::without_mark;

/// Mode of a private key.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of a world-readable file.
pub(crate) const PUBLIC: u32 = 0o644;

/// A failed file operation.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {error}")]
pub struct FileError {
    /// A verb, such as "write".
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    pub error: io::Error,
}

impl FileError {
    /// For `map_err`: adds action and path to an error.
    pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { action, path: path.to_owned(), error }
    }
}

/// A file to create.
#[derive(Debug)]
pub(crate) struct NewFile<'a> {
    pub(crate) name: &'a str,
    pub(crate) content: &'a [u8],
    pub(crate) mode: u32,
}

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    let file = File::open(path).map_err(FileError::at("read", path))?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len()).min(bytes_max);
    content.reserve(usize::try_from(bytes).unwrap_or(0).saturating_add(1));
    file.take(bytes_max + 1).read_to_end(&mut content).map_err(FileError::at("read", path))?;
    if content.len() as u64 > bytes_max {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {bytes_max} bytes"));
        return Err(FileError { action: "read", path: path.to_owned(), error });
    }
    Ok(content)
}

/// Whether a file has this content.
pub(crate) fn has_content(path: &Path, content: &[u8]) -> bool {
    let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
    read_bytes(path, bytes).is_ok_and(|found| found == content)
}

/// Reads a text file of at most `bytes_max` bytes, without a byte order mark.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, FileError> {
    let mut content = read_bytes(path, bytes_max)?;
    content.drain(..content.len() - without_mark(&content).len());
    String::from_utf8(content)
        .map_err(|error| FileError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Creates a file that must not exist yet.
pub(crate) fn create_file(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = write_temporary(path, content, mode)?;
    rename_new(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync(parent(path))
}

/// Creates a file, or replaces an existing one.
pub(crate) fn replace_file(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = write_temporary(path, content, mode)?;
    fs::rename(&temporary, path).map_err(FileError::at("write", path))?;
    sync(parent(path))
}

/// A folder written under a temporary name next to its target.
#[derive(Debug)]
pub(crate) struct StagedFolder {
    temporary: PathBuf,
    target: PathBuf,
}

impl StagedFolder {
    /// Writes a folder for `target`, without syncing it.
    pub(crate) fn write(target: &Path, files: &[NewFile<'_>]) -> Result<Self, FileError> {
        create_folders(parent(target))?;
        let temporary = temporary_name(target);
        let make = || fs::create_dir(&temporary);
        if let Err(error) = make() {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(FileError::at("make", &temporary)(error));
            }
            fs::remove_dir_all(&temporary).map_err(FileError::at("clear", &temporary))?;
            make().map_err(FileError::at("make", &temporary))?;
        }
        for NewFile { name, content, mode } in files {
            write_new(&temporary.join(name), content, *mode)?;
        }
        Ok(Self { temporary, target: target.to_owned() })
    }

    /// A folder for `target` that an interrupted run left behind.
    pub(crate) fn left_over(target: &Path) -> Option<Self> {
        let temporary = temporary_name(target);
        temporary.is_dir().then(|| Self { temporary, target: target.to_owned() })
    }

    /// Path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    /// Removes the folder; failures are ignored, because the next attempt removes it too.
    pub(crate) fn discard(self) {
        drop(fs::remove_dir_all(&self.temporary));
    }

    /// Makes the written files durable.
    pub(crate) fn sync(&self, files: &[NewFile<'_>]) -> Result<(), FileError> {
        for NewFile { name, .. } in files {
            sync(&self.temporary.join(name))?;
        }
        sync(&self.temporary)
    }

    /// Renames the folder to its target, which must not exist or be an empty folder. The files must be durable before;
    /// sync [`Self::parent`] afterwards.
    pub(crate) fn publish(&self) -> Result<(), FileError> {
        fs::rename(&self.temporary, &self.target)
            .inspect_err(|_| drop(fs::remove_dir_all(&self.temporary)))
            .map_err(FileError::at("make", &self.target))
    }

    /// The parent folder of the target.
    pub(crate) fn parent(&self) -> &Path {
        parent(&self.target)
    }
}

/// A file written under a temporary name next to its target.
#[derive(Debug)]
pub(crate) struct StagedFile {
    temporary: PathBuf,
    target: PathBuf,
}

impl StagedFile {
    /// Writes a file for `target`, without syncing it.
    pub(crate) fn write(target: &Path, content: &[u8], mode: u32) -> Result<Self, FileError> {
        let temporary = temporary_name(target);
        let staged = |temporary| Self { temporary, target: target.to_owned() };
        match write_new(&temporary, content, mode) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                write_new(&clear_temporary(target)?, content, mode)?;
                Ok(staged(temporary))
            }
            written => written.map(|()| staged(temporary)),
        }
    }

    /// A file for `target` that an interrupted run left behind.
    pub(crate) fn left_over(target: &Path) -> Option<Self> {
        let temporary = temporary_name(target);
        temporary.is_file().then(|| Self { temporary, target: target.to_owned() })
    }

    /// Removes what an interrupted run left behind for `target`.
    pub(crate) fn discard_left_over(target: &Path) -> Result<(), FileError> {
        clear_temporary(target).map(drop)
    }

    /// Removes the file; failures are ignored, because the next attempt removes it too.
    pub(crate) fn discard(self) {
        drop(fs::remove_file(&self.temporary));
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Replaces the target. The file must be durable before; sync the folder afterwards.
    pub(crate) fn publish(&self) -> Result<(), FileError> {
        fs::rename(&self.temporary, &self.target).map_err(FileError::at("write", &self.target))
    }
}

/// Syncs the whole file system of a folder: one wait for many files.
pub(crate) fn sync_file_system(path: &Path) -> Result<(), FileError> {
    let all = || Ok(rustix::fs::syncfs(File::open(path)?)?);
    all().map_err(FileError::at("sync", path))
}

/// Whether `path` is a non-empty folder.
pub(crate) fn is_occupied(path: &Path) -> Result<bool, FileError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FileError::at("read", path)(error)),
    }
}

/// Creates a folder and its missing parents, each durably.
pub(crate) fn create_folders(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    create_folders(parent(path))?;
    match fs::create_dir(path) {
        Ok(()) => sync(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(FileError { action: "make", path: path.to_owned(), error }),
    }
}

/// Syncs a file's contents, or a folder's entries.
pub(crate) fn sync(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(FileError::at("sync", path))
}

/// The temporary name for a file, without what a crash left there.
fn clear_temporary(path: &Path) -> Result<PathBuf, FileError> {
    let temporary = temporary_name(path);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError { action: "clear", path: temporary, error })
        }
        _ => Ok(temporary),
    }
}

fn write_temporary(path: &Path, content: &[u8], mode: u32) -> Result<PathBuf, FileError> {
    let temporary = clear_temporary(path)?;
    write_new(&temporary, content, mode)
        .and_then(|()| sync(&temporary))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(temporary)
}

/// Writes a file that must not exist, without syncing it.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)
    };
    write().map_err(FileError::at("write", path))
}

/// Renames without replacing anything.
fn rename_new(from: &Path, to: &Path) -> Result<(), FileError> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(|error| FileError {
        action: "write",
        path: to.to_owned(),
        error: error.into(),
    })
}

/// `.NAME.new` next to the target.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// The parent folder of a path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
