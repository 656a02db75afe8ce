//! Small files that are replaced atomically.
//!
//! A file is written under a temporary name, synced and renamed, then its folder is synced: after a crash either the
//! old file or the new one is there, whole. Contents: magic "CATCHWHL" (8) | length u64 | crc u32 (CRC-32C of length
//! and bytes) | bytes; little-endian. The checksum tells damage from content.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::fs::{Disk, DiskFile, RealDisk};
use crate::presence::{PresenceError, check_path};

const MAGIC: &[u8; 8] = b"CATCHWHL";
const HEADER: usize = 20;

/// A small file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AtomicFileError {
    /// Reading failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file exists, but its contents are not what was written.
    #[error("{}: damaged (length or checksum does not match)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

fn checksum<'a>(length: &[u8], parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    parts.into_iter().fold(crc32c::crc32c(length), crc32c::crc32c_append)
}

fn temporary(path: &Path) -> io::Result<(PathBuf, &Path)> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (name, path.parent()) {
        (Some(name), Some(dir)) => Ok((dir.join(format!(".{name}.tmp")), dir)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{}: no file name", path.display()))),
    }
}

/// Writes a file atomically and durably. Each path may have one writer at a time.
///
/// # Errors
/// Writing failed. The old file is still there, or, only if the last sync failed, the new one.
pub fn write_atomic<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic_parts(disk, path, &[bytes])
}

/// As [`write_atomic`], with contents that are in several places.
///
/// # Errors
/// As [`write_atomic`].
fn write_atomic_parts<D: Disk>(disk: &D, path: &Path, parts: &[impl AsRef<[u8]>]) -> io::Result<()> {
    let (temporary, dir) = temporary(path)?;
    if disk.len(&temporary)?.is_some() {
        disk.remove(&temporary)?;
    }
    let write = || -> io::Result<()> {
        let file = disk.create_new(&temporary)?;
        let parts = || parts.iter().map(AsRef::as_ref);
        let length = (parts().map(<[u8]>::len).sum::<usize>() as u64).to_le_bytes();
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&length);
        header.extend_from_slice(&checksum(&length, parts()).to_le_bytes());
        file.write_all_at(&header, 0)?;
        let mut at = HEADER as u64;
        for part in parts() {
            file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
        file.sync_all()?;
        disk.rename(&temporary, path)
    };
    if let Err(error) = write() {
        // Frees the space; the old file stays either way.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_dir(dir)
}

/// Reads a file that [`write_atomic`] wrote; `None` if there is none. Memory is taken only for as many bytes as the header
/// says and the file has.
///
/// # Errors
/// Reading failed, or the file is damaged.
pub fn read_atomic<D: Disk>(disk: &D, path: &Path) -> Result<Option<Vec<u8>>, AtomicFileError> {
    let io_error = |source| AtomicFileError::Io { path: path.to_owned(), source };
    let damaged = || AtomicFileError::Damaged { path: path.to_owned() };
    let file = match disk.open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let mut header = [0; HEADER];
    if !fill(&file, &mut header, 0).map_err(io_error)? {
        return Err(damaged());
    }
    let (magic, rest) = header.split_at_checked(8).ok_or_else(damaged)?;
    let (length, crc) = rest.split_at_checked(8).ok_or_else(damaged)?;
    let content = file.len().map_err(io_error)?.saturating_sub(HEADER as u64);
    if magic != MAGIC || length != content.to_le_bytes() {
        return Err(damaged());
    }
    let mut bytes = vec![0; usize::try_from(content).map_err(|_| damaged())?];
    let filled = fill(&file, &mut bytes, HEADER as u64).map_err(io_error)?;
    if !filled || crc != checksum(length, [bytes.as_slice()]).to_le_bytes() {
        return Err(damaged());
    }
    Ok(Some(bytes))
}

/// Reads from a place of a file on until the buffer is full; false if the file ends before.
fn fill(file: &impl DiskFile, bytes: &mut [u8], from: u64) -> io::Result<bool> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, from + filled as u64) {
            Ok(0) => return Ok(false),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Numbered generations of one small file, `PREFIX-NUMBER`. The newest one counts.
pub struct Checkpoints<D: Disk = RealDisk> {
    disk: Arc<D>,
    dir: PathBuf,
    prefix: String,
    /// The generation that the owner read or wrote last; 0: none.
    known: AtomicU64,
    /// The last check found that generation missing.
    missing: AtomicBool,
}

impl<D: Disk> Checkpoints<D> {
    /// Uses the folder `dir`; creates it if it does not exist.
    ///
    /// # Errors
    /// Writing failed.
    pub fn open(disk: Arc<D>, dir: &Path, prefix: &str) -> io::Result<Self> {
        disk.create_dir_all(dir)?;
        let (known, missing) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self { disk, dir: dir.to_owned(), prefix: prefix.to_owned(), known, missing })
    }

    /// The folder of the generations. Only `open` creates it: creating it later could restore the first part of a path
    /// that was removed.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The generations' numbers, newest first.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let number = |name: &String| {
            let digits = name.strip_prefix(self.prefix.as_str())?.strip_prefix('-')?;
            (digits.len() == 20).then(|| digits.parse().ok()).flatten()
        };
        let mut numbers: Vec<u64> = self.disk.list(&self.dir)?.iter().filter_map(number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}-{number:020}", self.prefix))
    }

    /// Writes the next generation durably, removes all older ones except the previous, and returns the new number.
    ///
    /// # Errors
    /// Writing failed; the newest generation is then the previous or the new one.
    pub fn write(&self, bytes: &[u8]) -> io::Result<u64> {
        self.write_parts(&[bytes])
    }

    /// As [`Self::write`], with contents that are in several places.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_parts(&self, parts: &[impl AsRef<[u8]>]) -> io::Result<u64> {
        let older = self.numbers()?;
        let newest = older.first().copied().unwrap_or(0).max(self.known.load(Ordering::Acquire));
        let number = newest.saturating_add(1);
        write_atomic_parts(&*self.disk, &self.path(number), parts)?;
        self.known.store(number, Ordering::Release);
        self.missing.store(false, Ordering::Release);
        for number in older.into_iter().skip(1) {
            self.disk.remove(&self.path(number))?;
        }
        Ok(number)
    }

    /// Checks that the generation read or written last is still there; [`Checkpoints::is_missing`] keeps the result. If
    /// it is gone, the owner can write the next one.
    ///
    /// # Errors
    /// See [`PresenceError`].
    pub fn check_in_place(&self) -> Result<(), PresenceError> {
        let known = self.known.load(Ordering::Acquire);
        let checked = if known == 0 { Ok(()) } else { check_path(&*self.disk, &self.path(known), None, 1) };
        // A newer generation was written meanwhile, and this one was removed as old.
        if known != self.known.load(Ordering::Acquire) {
            return Ok(());
        }
        self.missing.store(checked.as_ref().is_err_and(PresenceError::is_gone), Ordering::Release);
        checked
    }

    /// Whether the last check found the newest generation missing; the next write resets it.
    pub fn is_missing(&self) -> bool {
        self.missing.load(Ordering::Acquire)
    }

    /// The damaged generations.
    ///
    /// # Errors
    /// Reading failed.
    pub fn damaged(&self) -> Result<Vec<PathBuf>, AtomicFileError> {
        let numbers =
            self.numbers().map_err(|source| AtomicFileError::Io { path: self.dir.clone(), source })?;
        let mut damaged = Vec::new();
        for path in numbers.into_iter().map(|number| self.path(number)) {
            match read_atomic(&*self.disk, &path) {
                Err(AtomicFileError::Damaged { path }) => damaged.push(path),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(damaged)
    }

    /// Renames damaged generations to `NAME.bad`, so that they no longer count; returns the new names.
    ///
    /// # Errors
    /// Reading or writing failed.
    pub fn quarantine(&self) -> Result<Vec<PathBuf>, AtomicFileError> {
        let mut aside = Vec::new();
        for path in self.damaged()? {
            let mut name = path.clone().into_os_string();
            name.push(".bad");
            let bad = PathBuf::from(name);
            self.disk.rename(&path, &bad).map_err(|source| AtomicFileError::Io { path, source })?;
            aside.push(bad);
        }
        self.disk
            .sync_dir(&self.dir)
            .map_err(|source| AtomicFileError::Io { path: self.dir.clone(), source })?;
        Ok(aside)
    }

    /// The newest intact generation and its number. Skips newer damaged ones with a warning: the owner must check that
    /// its log still reaches back to the generation returned.
    ///
    /// # Errors
    /// Reading failed, or every generation is damaged.
    pub fn newest(&self) -> Result<Option<(u64, Vec<u8>)>, AtomicFileError> {
        let numbers =
            self.numbers().map_err(|source| AtomicFileError::Io { path: self.dir.clone(), source })?;
        let mut first_damage = None;
        for number in numbers {
            match read_atomic(&*self.disk, &self.path(number)) {
                Ok(Some(bytes)) => {
                    self.known.store(number, Ordering::Release);
                    return Ok(Some((number, bytes)));
                }
                Ok(None) => {}
                Err(error @ AtomicFileError::Damaged { .. }) => {
                    tracing::warn!(%error, "skipped a damaged checkpoint");
                    first_damage.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        first_damage.map_or(Ok(None), Err)
    }
}
