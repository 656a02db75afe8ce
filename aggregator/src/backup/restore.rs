//! Makes a data folder of a backup, or only reads all of it.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use catchment_journal::{Disk as _, DiskFile as _, FolderLock, RealDisk};

use super::{
    CHUNK_BYTES,
    list::{self, FILES, ListError, stored_name},
    target::{self, TargetError, checksum},
};
use crate::store::{
    BACKUP_FORMAT, BackupFile, CATALOG, Contents, FolderBuilder, RestoreError, Restored, Step, TABLES,
    io_error,
};

/// Free space that a restore leaves, bytes.
const FREE_MIN: u64 = 64 << 20;
/// How much larger a catalog becomes, at most, when it is no longer compressed and in sled.
const CATALOG_GROWS: u64 = 16;

/// Why a backup was not restored, or is damaged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no backup that can be restored.
    #[error("{}: {reason}", dir.display())]
    NoBackup { dir: PathBuf, reason: String },
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// There is not enough space.
    #[error("{}: {needed} bytes must be free, only {free} are", data.display())]
    Space { data: PathBuf, needed: u64, free: u64 },
}

impl Failure {
    /// Whether arguments must change before another attempt can succeed.
    pub(super) fn is_usage(&self) -> bool {
        match self {
            Self::NoBackup { .. } | Self::Restore(RestoreError::NotEmpty { .. }) => true,
            Self::Target(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// A folder with a complete backup; nobody changes it meanwhile.
pub(crate) struct Source {
    dir: PathBuf,
    _lock: FolderLock,
    pub(crate) contents: Contents,
}

impl Source {
    /// Opens the last complete backup in a folder.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let none = |reason: &str| Failure::NoBackup { dir: dir.to_owned(), reason: reason.to_owned() };
        if list::read(dir)?.is_none() {
            return Err(none(&format!("holds no backup: it has no {}", list::LIST)));
        }
        let lock = target::lock(dir)?;
        let complete = list::read(dir)?.and_then(|list| list.complete);
        let contents = complete.ok_or_else(|| {
            none("its first backup has not been completed: run `store backup` again, it goes on where it was")
        })?;
        if contents.format != BACKUP_FORMAT {
            let found = contents.format;
            let text = format!(
                "its files have format {found}, this program knows format {BACKUP_FORMAT}: use a newer one"
            );
            return Err(none(&text));
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock, contents })
    }

    fn path(&self, file: &BackupFile) -> PathBuf {
        self.dir.join(FILES).join(stored_name(file))
    }

    /// Reads every file; returns what is damaged, a line each.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn check(&self) -> Result<Vec<String>, Failure> {
        let mut findings = Vec::new();
        for file in &self.contents.files {
            let path = self.path(file);
            match checksum(&path) {
                Ok(found) if found == (file.bytes, file.checksum) => {}
                Ok(_) => findings.push(format!("{}: length or checksum differs", path.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    findings.push(format!("{}: is missing", path.display()));
                }
                Err(error) => return Err(io_error("cannot read", &path)(error).into()),
            }
        }
        Ok(findings)
    }

    /// Makes a data folder of it. `step` is called between any two changes of that folder.
    ///
    /// # Errors
    /// See [`Failure`]; the folder does not start then.
    pub(crate) fn restore(&self, data: &Path, now_ms: u64, step: Step<'_>) -> Result<Restored, Failure> {
        let none = |reason: String| Failure::NoBackup { dir: self.dir.clone(), reason };
        let (mut catalog, mut tables) = (None, Vec::new());
        for file in &self.contents.files {
            match file.name.strip_prefix(TABLES) {
                Some(name) if !name.contains('/') => tables.push((name, file)),
                None if file.name.starts_with(CATALOG) && catalog.is_none() => catalog = Some(file),
                _ => return Err(none(format!("this version does not know the file {}", file.name))),
            }
        }
        let catalog = catalog.ok_or_else(|| none("it has no catalog".to_owned()))?;
        let builder = FolderBuilder::begin(data, now_ms)?;
        self.check_space(data, catalog)?;
        let stopped = io_error("stopped at", data);
        for (name, file) in tables {
            step().map_err(&stopped)?;
            self.copy(file, &builder.table_path(name))?;
        }
        step().map_err(&stopped)?;
        let path = self.path(catalog);
        self.verify(catalog, &path)?;
        let export = File::open(&path).map_err(io_error("cannot open", &path))?;
        Ok(builder.finish(export, &path, step)?)
    }

    fn check_space(&self, data: &Path, catalog: &BackupFile) -> Result<(), Failure> {
        let grown = catalog.bytes.saturating_mul(CATALOG_GROWS);
        let needed = self.contents.bytes().saturating_add(grown).saturating_add(FREE_MIN);
        let free = RealDisk.free_bytes(data).map_err(io_error("cannot read the free space of", data))?;
        if free < needed {
            return Err(Failure::Space { data: data.to_owned(), needed, free });
        }
        Ok(())
    }

    fn verify(&self, file: &BackupFile, path: &Path) -> Result<(), RestoreError> {
        let found = checksum(path).map_err(io_error("cannot read", path))?;
        if found == (file.bytes, file.checksum) { Ok(()) } else { Err(differs(path)) }
    }

    /// Copies a file, durably, and compares its checksum.
    fn copy(&self, file: &BackupFile, to: &Path) -> Result<(), RestoreError> {
        let path = self.path(file);
        let mut from = File::open(&path).map_err(io_error("cannot open", &path))?;
        let write = io_error("cannot write", to);
        let target = RealDisk.create_new(to).map_err(&write)?;
        let (mut offset, mut sum, mut buffer) = (0, 0, vec![0; CHUNK_BYTES]);
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(io_error("cannot read", &path))?,
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            target.write_all_at(bytes, offset).map_err(&write)?;
            (offset, sum) = (offset + count as u64, crc32c::crc32c_append(sum, bytes));
        }
        if (offset, sum) != (file.bytes, file.checksum) {
            return Err(differs(&path));
        }
        target.sync_all().map_err(&write)
    }
}

fn differs(path: &Path) -> RestoreError {
    RestoreError::Damaged { file: path.to_owned(), reason: "its length or checksum differs".to_owned() }
}
