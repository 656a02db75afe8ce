//! The folder that a backup is written to.
//!
//! ```text
//! backup.list                             the list: what the last complete backup consists of (see `list`)
//! files/catalog-NUMBER.CHECKSUM           the catalog of the store
//! files/tables/NAME.table.CHECKSUM        its tables
//! lock
//! ```
//!
//! Invariants: a file under its final name is whole and synced; nothing that the list names is changed or removed before
//! the next list is durable. So a kill at any moment leaves the last complete backup, and whole files of the next one,
//! which are not sent again.

use std::{
    collections::{BTreeSet, VecDeque},
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
};

use catchment_journal::{Disk, DiskFile, FolderLock, RealDisk};

use super::list::{self, BackupList, FILES, LIST, ListError, check_files, of_stored_name, stored_name};
use crate::store::{BACKUP_FORMAT, BackupFile, Contents};

const LOCK: &str = "lock";
const PART: &str = ".part";
/// Free space that a backup leaves, bytes.
const FREE_MIN: u64 = 16 << 20;
/// Bytes of a file after which it is synced: otherwise the system writes them all at once, and others wait.
const SYNC_EVERY: u64 = 4 << 20;

/// Why a backup was not written. The last complete one is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// The folder holds something else.
    #[error("{}: holds `{name}` and no backup: use an empty or new folder", dir.display())]
    Foreign { dir: PathBuf, name: String },
    /// It holds a backup of another store.
    #[error(
        "{}: holds a backup of store {found:016x}, this is store {store:016x}: use a folder for each store",
        dir.display()
    )]
    OtherStore { dir: PathBuf, found: u64, store: u64 },
    /// Another process uses it.
    #[error("{} is in use by another process: wait for that backup or restore to end", .0.display())]
    Locked(PathBuf),
    /// The list cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// There is not enough space.
    #[error("{}: {needed} bytes must be free, only {free} are", dir.display())]
    Space { dir: PathBuf, needed: u64, free: u64 },
    /// The store is of a later version.
    #[error("the store's files have format {0}, this program knows format {BACKUP_FORMAT}: use a newer one")]
    Format(u32),
    /// What arrived is not what was announced.
    #[error("the backup broke off: {0}; run the command again, it goes on where it was")]
    Content(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

impl TargetError {
    /// Whether arguments must change before another attempt can succeed.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, Self::Foreign { .. } | Self::OtherStore { .. })
    }
}

pub(crate) fn io_error(what: &str, path: &Path) -> impl Fn(io::Error) -> TargetError + use<> {
    let what = format!("{what} {}", path.display());
    move |source| TargetError::Io { what: what.clone(), source }
}

/// A folder for backups, locked.
pub(crate) struct Target {
    dir: PathBuf,
    _lock: FolderLock,
    list: Option<BackupList>,
    /// Whole files.
    found: BTreeSet<BackupFile>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) contents: Contents,
    /// Files and bytes that were written; the others were there.
    pub(crate) copied: (u64, u64),
}

/// Takes the lock of a folder for backups.
///
/// # Errors
/// [`TargetError::Locked`], or of the file system.
pub(crate) fn lock(dir: &Path) -> Result<FolderLock, TargetError> {
    let path = dir.join(LOCK);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = match opened {
        // A medium that can only be read.
        Err(_) if path.exists() => File::open(&path),
        opened => opened,
    };
    let file = file.map_err(io_error("cannot open", &path))?;
    FolderLock::take(file).map_err(|error| match error {
        TryLockError::WouldBlock => TargetError::Locked(dir.to_owned()),
        TryLockError::Error(error) => io_error("cannot lock", &path)(error),
    })
}

impl Target {
    /// Opens a folder for backups, or creates it. Reads the files of a backup that broke off, to know which are whole.
    ///
    /// # Errors
    /// See [`TargetError`]; a folder with other contents is not changed.
    pub(crate) fn open(dir: &Path) -> Result<Self, TargetError> {
        RealDisk.create_dir_all(dir).map_err(io_error("cannot create", dir))?;
        if list::read(dir)?.is_none() {
            let names = RealDisk.list(dir).map_err(io_error("cannot read", dir))?;
            let usual = |name: &str| name.starts_with('.') || [LOCK, "lost+found"].contains(&name);
            if let Some(name) = names.into_iter().find(|name| !usual(name)) {
                return Err(TargetError::Foreign { dir: dir.to_owned(), name });
            }
        }
        let lock = lock(dir)?;
        let list = list::read(dir)?;
        let mut target = Self { dir: dir.to_owned(), _lock: lock, list, found: BTreeSet::new() };
        if target.list.is_some() {
            target.find()?;
        }
        Ok(target)
    }

    /// Finds the whole files, and removes unfinished ones.
    fn find(&mut self) -> Result<(), TargetError> {
        let complete = self.list.as_ref().and_then(|list| list.complete.as_ref());
        let listed: BTreeSet<BackupFile> =
            complete.into_iter().flat_map(|contents| contents.files.iter().cloned()).collect();
        let root = self.dir.join(FILES);
        for (stored, bytes) in stored_files(&root)? {
            let path = root.join(&stored);
            let Some(file) = of_stored_name(&stored, bytes) else {
                if stored.ends_with(PART) {
                    fs::remove_file(&path).map_err(io_error("cannot remove", &path))?;
                }
                continue;
            };
            // Those of the list were checked when they were written; `restore --check` reads them again.
            let whole = listed.contains(&file)
                || checksum(&path).map_err(io_error("cannot read", &path))? == (bytes, file.checksum);
            if whole {
                self.found.insert(file);
            }
        }
        Ok(())
    }

    /// Files that need not be sent.
    pub(crate) fn have(&self) -> impl Iterator<Item = &BackupFile> {
        self.found.iter()
    }

    /// Begins a backup of these files.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub(crate) fn begin(self, contents: Contents) -> Result<Incoming, TargetError> {
        if contents.format != BACKUP_FORMAT {
            return Err(TargetError::Format(contents.format));
        }
        check_files(&contents.files)
            .map_err(|what| TargetError::Content(format!("the store names {what}")))?;
        match &self.list {
            Some(list) if list.store != contents.store => {
                return Err(TargetError::OtherStore {
                    dir: self.dir,
                    found: list.store,
                    store: contents.store,
                });
            }
            Some(_) => {}
            // From now on the folder is known to be one for backups, and of which store.
            None => {
                let list = BackupList { store: contents.store, complete: None };
                list::write(&self.dir, &list).map_err(io_error("cannot write", &self.dir.join(LIST)))?;
            }
        }
        let missing: VecDeque<BackupFile> =
            contents.files.iter().filter(|file| !self.found.contains(file)).cloned().collect();
        let needed = missing.iter().fold(FREE_MIN, |sum, file| sum.saturating_add(file.bytes));
        let free =
            RealDisk.free_bytes(&self.dir).map_err(io_error("cannot read the free space of", &self.dir))?;
        if free < needed {
            return Err(TargetError::Space { dir: self.dir, needed, free });
        }
        Ok(Incoming { target: self, contents, missing, part: None, copied: (0, 0) })
    }
}

/// A file that is being written.
struct Part {
    file: BackupFile,
    path: PathBuf,
    handle: File,
    written: u64,
    synced: u64,
    checksum: u32,
}

/// A backup that is being written.
pub(crate) struct Incoming {
    target: Target,
    contents: Contents,
    /// Files that were not begun yet, in the order in which they come.
    missing: VecDeque<BackupFile>,
    part: Option<Part>,
    copied: (u64, u64),
}

impl Incoming {
    /// Whether a file is to be written.
    pub(crate) fn wants(&self, file: &BackupFile) -> bool {
        !self.target.found.contains(file)
    }

    /// Whether content of a file is still to come.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        let begun = self.part.as_ref().is_some_and(|part| part.file.name == name);
        begun || self.missing.iter().any(|file| file.name == name)
    }

    /// Writes the next piece of the backup.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub(crate) fn write(&mut self, name: &str, offset: u64, content: &[u8]) -> Result<(), TargetError> {
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.create(name)?,
        };
        let end = part.written.checked_add(content.len() as u64).filter(|end| *end <= part.file.bytes);
        let (true, Some(end)) = (part.file.name == name && part.written == offset, end) else {
            let (must, at) = (&part.file.name, part.written);
            return Err(TargetError::Content(format!(
                "{name} from {offset} on came in place of {must} from {at} on"
            )));
        };
        let failed = io_error("cannot write", &part.path);
        part.handle.write_all_at(content, part.written).map_err(&failed)?;
        part.checksum = crc32c::crc32c_append(part.checksum, content);
        part.written = end;
        if end == part.file.bytes {
            return self.complete(part);
        }
        if end - part.synced >= SYNC_EVERY {
            part.handle.sync_data().map_err(&failed)?;
            part.synced = end;
        }
        self.part = Some(part);
        Ok(())
    }

    fn create(&mut self, name: &str) -> Result<Part, TargetError> {
        let file = self.missing.pop_front();
        let file =
            file.ok_or_else(|| TargetError::Content(format!("{name} came, which was not asked for")))?;
        let path = self.target.dir.join(FILES).join(format!("{}{PART}", stored_name(&file)));
        let failed = io_error("cannot create", &path);
        if let Some(folder) = path.parent() {
            RealDisk.create_dir_all(folder).map_err(&failed)?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let handle = RealDisk.create_new(&path).map_err(&failed)?;
        Ok(Part { file, path, handle, written: 0, synced: 0, checksum: 0 })
    }

    /// Gives a whole file its name.
    fn complete(&mut self, part: Part) -> Result<(), TargetError> {
        let Part { file, path, handle, checksum, .. } = part;
        if checksum != file.checksum {
            return Err(TargetError::Content(format!("the checksum of {} differs", file.name)));
        }
        handle.sync_all().map_err(io_error("cannot sync", &path))?;
        let stored = self.target.dir.join(FILES).join(stored_name(&file));
        fs::rename(&path, &stored).map_err(io_error("cannot rename", &path))?;
        self.copied = (self.copied.0 + 1, self.copied.1.saturating_add(file.bytes));
        self.target.found.insert(file);
        Ok(())
    }

    /// Completes the backup, once everything has come: the list is written, then what it does not name is removed.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub(crate) fn finish(self) -> Result<Done, TargetError> {
        if let Some(file) = self.part.as_ref().map(|part| &part.file).or(self.missing.front()) {
            return Err(TargetError::Content(format!("{} did not come", file.name)));
        }
        let Self { target, contents, copied, .. } = self;
        let root = target.dir.join(FILES);
        for folder in folders(&root, &contents) {
            RealDisk.sync_dir(&folder).map_err(io_error("cannot sync", &folder))?;
        }
        let list = BackupList { store: contents.store, complete: Some(contents.clone()) };
        list::write(&target.dir, &list).map_err(io_error("cannot write", &target.dir.join(LIST)))?;
        let keep: BTreeSet<String> = contents.files.iter().map(stored_name).collect();
        for (stored, _) in stored_files(&root)?.into_iter().filter(|(stored, _)| !keep.contains(stored)) {
            let path = root.join(stored);
            if let Err(error) = fs::remove_file(&path) {
                // The next backup tries again.
                tracing::warn!(file = %path.display(), %error, "a file of an earlier backup cannot be removed");
            }
        }
        Ok(Done { contents, copied })
    }
}

/// The folders of the files of a backup.
fn folders(root: &Path, contents: &Contents) -> BTreeSet<PathBuf> {
    let parents = contents.files.iter().filter_map(|file| Some(root.join(&file.name).parent()?.to_owned()));
    parents.chain([root.to_owned()]).collect()
}

/// Names and lengths of all files below a folder, relative to it with `/`; none if it does not exist.
fn stored_files(root: &Path) -> Result<Vec<(String, u64)>, TargetError> {
    let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(below) = folders.pop() {
        let folder = root.join(&below);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(io_error("cannot read", &folder))?,
        };
        for entry in entries {
            let entry = entry.map_err(io_error("cannot read", &folder))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            let status = entry.metadata().map_err(io_error("cannot read", &entry.path()))?;
            if status.is_dir() { folders.push(name) } else { found.push((name, status.len())) }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Length and CRC-32C of a file.
///
/// # Errors
/// Of the file system.
pub(crate) fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let (mut file, mut buffer) = (File::open(path)?, vec![0; super::CHUNK_BYTES]);
    let (mut bytes, mut checksum) = (0, 0);
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, checksum)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        bytes += count as u64;
        checksum = crc32c::crc32c_append(checksum, buffer.get(..count).unwrap_or_default());
    }
}
