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
    salvage::tables::{
        known::Known,
        survey::{Condition, Survey, examine},
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

/// Files that no record names, or that are not the table of their record.
///
/// # Errors
/// The system refuses to open one.
pub(in crate::store) fn strays(disk: &Arc<RealDisk>, data: &Path, survey: &Survey) -> io::Result<Vec<Stray>> {
    let folder = data.join(version::FOLDER);
    let unnamed = survey.unnamed.iter().map(|name| folder.join(name));
    let unusable = survey.tables.iter().filter(|(_, condition)| matches!(condition, Condition::Unusable(_)));
    let unusable = unusable.map(|(entry, _)| entry.path(data));
    let mut strays = Vec::new();
    for path in unnamed.chain(unusable) {
        match Table::inspect(Arc::clone(disk), path.clone()) {
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

/// Puts files that have another's name in their places, as copies; what stood there is set aside by `aside`. Returns how
/// many.
///
/// # Errors
/// Of the file system.
pub(in crate::store) fn restore(
    disk: &Arc<RealDisk>,
    data: &Path,
    known: &Known<'_>,
    survey: &mut Survey,
    strays: &mut Vec<Stray>,
    aside: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> io::Result<usize> {
    let mut copied: Vec<(TableEntry, PathBuf)> = Vec::new();
    let mut used: Vec<PathBuf> = Vec::new();
    for (entry, condition) in &survey.tables {
        if !matches!(condition, Condition::Unusable(_)) {
            continue;
        }
        let of_entry = |stray: &&Stray| {
            let table = &stray.table;
            (table.resolution(), table.partition(), *table.summary())
                == (entry.resolution, entry.partition, entry.summary)
        };
        let Some(stray) = strays.iter().find(of_entry) else { continue };
        let copy = entry.path(data).with_extension("new");
        fs::copy(&stray.path, &copy)?;
        File::open(&copy)?.sync_all()?;
        used.push(stray.path.clone());
        copied.push((*entry, copy));
    }
    for (entry, copy) in &copied {
        let place = entry.path(data);
        if place.exists() {
            aside(&place)?;
        }
        fs::rename(copy, place)?;
    }
    disk.sync_dir(&data.join(version::FOLDER))?;
    for (entry, condition) in &mut survey.tables {
        if copied.iter().any(|(restored, _)| restored.id == entry.id) {
            *condition =
                examine(disk, data, *entry, known, &mut survey.extents, &mut VerifyReport::default());
        }
    }
    strays.retain(|stray| !used.contains(&stray.path));
    Ok(copied.len())
}
