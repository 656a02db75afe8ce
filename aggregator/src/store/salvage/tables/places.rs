//! Which file is which table: files may have been exchanged or renamed, and each tells itself what it is.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use catchment_journal::{Disk, RealDisk};

use crate::store::{
    VerifyReport,
    salvage::{
        repair::Step,
        tables::{
            known::Known,
            survey::{Condition, Survey, examine},
        },
    },
    tables::{
        table::Table,
        version::{self, TableEntry},
    },
};

/// A file that is a table, but not the one that its name and the catalog say.
pub(in crate::store) struct Stray {
    pub(in crate::store) path: PathBuf,
    pub(in crate::store) table: Arc<Table<RealDisk>>,
}

/// Ends the name of a copy that is to be put in a place.
const COPY: &str = "new";
/// Ends the name of a file that was moved out of another's place.
const MOVED: &str = "old";

/// Whether a repair has copied or moved a file, which is in no place.
pub(in crate::store) fn is_moved(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == COPY || end == MOVED)
}

/// Whether a file is the table of a record.
fn is_of(table: &Table<RealDisk>, entry: &TableEntry) -> bool {
    (table.resolution(), table.partition(), *table.summary())
        == (entry.resolution, entry.partition, entry.summary)
}

/// Files that no record names, or that are not the table of their record; after them what a repair that was cut off had
/// copied or moved, unless that is in its place.
///
/// # Errors
/// The folder cannot be read, or the system refuses to open a file.
pub(in crate::store) fn strays(disk: &Arc<RealDisk>, data: &Path, survey: &Survey) -> io::Result<Vec<Stray>> {
    let folder = data.join(version::FOLDER);
    let unnamed = survey.unnamed.iter().map(|name| folder.join(name));
    let is_usable = |condition: &Condition| !matches!(condition, Condition::Unusable(_));
    let unusable = survey.tables.iter().filter(|(_, condition)| !is_usable(condition));
    let unusable = unusable.map(|(entry, _)| entry.path(data));
    let mut moved: Vec<PathBuf> = disk.list(&folder)?.iter().map(|name| folder.join(name)).collect();
    moved.retain(|path| is_moved(path));
    // A moved file comes before a copy, which may have been cut off.
    moved.sort_by_key(|path| (path.extension().is_some_and(|end| end == COPY), path.clone()));
    let mut strays = Vec::new();
    for path in unnamed.chain(unusable).chain(moved) {
        let in_place = |table: &Table<RealDisk>| {
            let usable = |(entry, condition): &_| is_usable(condition) && is_of(table, entry);
            is_moved(&path) && survey.tables.iter().any(usable)
        };
        match Table::inspect(Arc::clone(disk), path.clone()) {
            Ok(table) if in_place(&table) => {}
            Ok(table) => strays.push(Stray { path, table: Arc::new(table) }),
            Err(error) if error.is_refusal() => return Err(error.to_io()),
            Err(_) => {}
        }
    }
    Ok(strays)
}

impl Stray {
    /// The number in the name of its file.
    pub(in crate::store) fn id(&self) -> Option<u64> {
        version::id_of(self.path.file_name()?.to_str()?)
    }
}

/// Puts files that have another's name in their places, as copies. What stood there stays in the folder under a name of
/// its own: it may hold what is nowhere else. Returns how many.
///
/// # Errors
/// Of the file system.
pub(in crate::store) fn restore(
    disk: &Arc<RealDisk>,
    data: &Path,
    known: &Known<'_>,
    survey: &mut Survey,
    strays: &mut Vec<Stray>,
    step: Step<'_>,
) -> io::Result<usize> {
    let mut copied: Vec<(TableEntry, PathBuf)> = Vec::new();
    let mut used: Vec<PathBuf> = Vec::new();
    for (entry, condition) in &survey.tables {
        if !matches!(condition, Condition::Unusable(_)) {
            continue;
        }
        let Some(stray) = strays.iter().find(|stray| is_of(&stray.table, entry)) else { continue };
        let copy = entry.path(data).with_extension(COPY);
        if stray.path != copy {
            fs::copy(&stray.path, &copy)?;
        }
        File::open(&copy)?.sync_all()?;
        step()?;
        used.push(stray.path.clone());
        copied.push((*entry, copy));
    }
    strays.retain(|stray| !used.contains(&stray.path));
    // All copies are durable before the first file is moved.
    disk.sync_dir(&data.join(version::FOLDER))?;
    for (entry, copy) in &copied {
        let place = entry.path(data);
        if place.exists() {
            make_way(disk, &place, strays)?;
            step()?;
        }
        fs::rename(copy, place)?;
        step()?;
    }
    disk.sync_dir(&data.join(version::FOLDER))?;
    for (entry, condition) in &mut survey.tables {
        if copied.iter().any(|(restored, _)| restored.id == entry.id) {
            *condition =
                examine(disk, data, *entry, known, &mut survey.extents, &mut VerifyReport::default());
        }
    }
    Ok(copied.len())
}

/// Moves a file out of another's place.
fn make_way(disk: &Arc<RealDisk>, place: &Path, strays: &mut [Stray]) -> io::Result<()> {
    let mut names = (1..10_000).map(|n| place.with_extension(format!("{n}.{MOVED}")));
    let free = names.find(|name| !name.exists());
    let moved = free.ok_or_else(|| io::Error::other("ten thousand files have been moved already"))?;
    fs::rename(place, &moved)?;
    for stray in strays.iter_mut().filter(|stray| stray.path == place) {
        let table = Table::inspect(Arc::clone(disk), moved.clone()).map_err(|error| error.to_io())?;
        *stray = Stray { path: moved.clone(), table: Arc::new(table) };
    }
    Ok(())
}
