//! The file `repairing` of the data folder: a repair of tables has begun and has not ended.
//!
//! A repair writes files of tables, commits once that they count, and then sets aside the files that no longer do. If it
//! is cut off before the commit, its files count for nothing, and a further repair must not take them for tables whose
//! records are lost. If it is cut off afterwards, files that nobody names are the originals. So while `repairing` exists,
//! a start removes no other file of a table than those that the repair has written.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use catchment_journal::{AtomicFileError, Disk, RealDisk, read_atomic, write_atomic};

use super::{RepairReport, Step};
use crate::store::{
    OpenError,
    catalog::catalog_store::Loaded,
    salvage::tables::{aside::Aside, places},
    tables::version,
};

/// Its name.
pub(in crate::store) const FILE: &str = "repairing";

/// A repair that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Attempt {
    /// The tables that it writes have this number or a later one.
    first: u64,
}

impl Attempt {
    /// No file is known to be the repair's.
    const OF_NONE: Self = Self { first: u64::MAX };

    /// The repair that has not ended; of a damaged file nothing else is known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(in crate::store) fn read<D: Disk>(disk: &D, data: &Path) -> io::Result<Option<Self>> {
        match read_atomic(disk, &data.join(FILE)) {
            Ok(bytes) => Ok(bytes.map(|bytes| {
                bytes.try_into().map_or(Self::OF_NONE, |bytes| Self { first: u64::from_be_bytes(bytes) })
            })),
            Err(AtomicFileError::Damaged { .. }) => Ok(Some(Self::OF_NONE)),
            Err(AtomicFileError::Io { source, .. }) => Err(source),
        }
    }

    /// Notes, durably, that a repair begins whose tables have this number or a later one.
    ///
    /// # Errors
    /// Of the disk.
    pub(in crate::store) fn begin<D: Disk>(disk: &D, data: &Path, first: u64) -> io::Result<()> {
        Self { first }.write(disk, data)
    }

    /// From now on others may take numbers of tables: none of their files is the repair's.
    ///
    /// # Errors
    /// Of the disk.
    pub(in crate::store) fn forget_files<D: Disk>(self, disk: &D, data: &Path) -> io::Result<()> {
        if self == Self::OF_NONE { Ok(()) } else { Self::OF_NONE.write(disk, data) }
    }

    fn write<D: Disk>(self, disk: &D, data: &Path) -> io::Result<()> {
        write_atomic(disk, &data.join(FILE), &self.first.to_be_bytes())
    }

    /// Whether a file that a catalog does not name was written by the repair, and never counted: a catalog that the
    /// repair has committed begins its next number after it.
    fn has_written(self, id: u64, next_table: u64) -> bool {
        id >= self.first && next_table <= self.first
    }
}

/// Removes the files of a repair that was cut off before they counted.
///
/// # Errors
/// Of the disk.
pub(in crate::store) fn remove_leftovers<D: Disk>(disk: &D, data: &Path, loaded: &Loaded) -> io::Result<()> {
    let Some(attempt) = Attempt::read(disk, data)? else { return Ok(()) };
    let folder = data.join(version::FOLDER);
    let known: HashSet<u64> = loaded.tables.iter().map(|entry| entry.id).collect();
    for name in disk.list(&folder)? {
        let id = version::id_of(&name).filter(|id| !known.contains(id));
        if id.is_some_and(|id| attempt.has_written(id, loaded.meta.next_table)) {
            disk.remove(&folder.join(name))?;
        }
    }
    // Before the note that tells them apart may go.
    disk.sync_dir(&folder)
}

/// Ends a repair whose tables count: sets all files aside that no longer do.
///
/// # Errors
/// Of the file system; a further repair continues.
pub(super) fn end(
    data: &Path,
    loaded: &Loaded,
    report: &mut RepairReport,
    step: Step<'_>,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { what: "cannot set a table aside".to_owned(), source };
    let Some(attempt) = Attempt::read(&RealDisk, data).map_err(failed)? else { return Ok(()) };
    remove_leftovers(&RealDisk, data, loaded).map_err(failed)?;
    attempt.forget_files(&RealDisk, data).and_then(|()| step()).map_err(failed)?;
    let mut aside = Aside::new(data);
    let named: HashSet<PathBuf> = loaded.tables.iter().map(|entry| entry.path(data)).collect();
    let folder = data.join(version::FOLDER);
    for name in RealDisk.list(&folder).map_err(failed)? {
        let path = folder.join(&name);
        if !named.contains(&path) && (version::id_of(&name).is_some() || places::is_moved(&path)) {
            aside.put(&path).and_then(|()| step()).map_err(failed)?;
        }
    }
    RealDisk.sync_dir(&folder).map_err(failed)?;
    fs::remove_file(data.join(FILE)).map_err(failed)?;
    RealDisk.sync_dir(data).and_then(|()| step()).map_err(failed)?;
    if let Some(folder) = aside.folder() {
        report.done.push(format!("tables: replaced files were set aside in {}", folder.display()));
    }
    Ok(())
}
