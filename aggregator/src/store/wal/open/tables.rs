//! Opens tables: finds missing files, and removes those that count for nothing.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use catchment_journal::Disk;

use super::{OpenError, SLED};
use crate::store::{
    OpenReport,
    catalog::catalog_store::Loaded,
    flush::flusher::FlushError,
    salvage::{
        repair::attempt::{Attempt, remove_leftovers},
        tables::loss::Span,
    },
    tables::{
        current::Tables,
        version::{self, Version},
    },
};

/// Opens the tables that count, and removes files that count for nothing: left by a round, or a merge, that did not end.
/// After damage to the catalog or the journal, or if a file is missing, all files stay, for a repair.
pub(super) fn open<D: Disk>(
    disk: &Arc<D>,
    data: &Path,
    loaded: &mut Loaded,
    cache_bytes: u64,
    report: &mut OpenReport,
) -> Result<Tables<D>, OpenError> {
    let folder = data.join(version::FOLDER);
    let io =
        |what: &str, source| OpenError::Io { what: format!("cannot {what} {}", folder.display()), source };
    disk.create_dir_all(&folder).map_err(|source| io("create", source))?;
    note_repair(disk, data, loaded, report).map_err(|source| io("clean", source))?;
    let names = disk.list(&folder).map_err(|source| io("read", source))?;
    let files: Vec<(u64, String)> =
        names.into_iter().filter_map(|name| Some((version::id_of(&name)?, name))).collect();
    // A catalog that was never written may be one that was lost, and one that is behind cannot know all tables.
    let behind = report.damage > 0;
    let whole = check_lengths(disk, data, loaded, report)? && !behind;
    let known: HashSet<u64> = loaded.tables.iter().map(|entry| entry.id).collect();
    for (_, name) in files.iter().filter(|(id, _)| whole && loaded.meta.sequence > 0 && !known.contains(id)) {
        disk.remove(&folder.join(name)).map_err(|source| io("clean", source))?;
    }
    let tables = loaded.tables.iter().map(|entry| entry.open(disk, data)).collect();
    let used =
        loaded.tables.iter().map(|entry| entry.id.max(entry.age)).chain(files.iter().map(|(id, _)| *id));
    let next_id = loaded.meta.next_table.max(used.max().map_or(0, |id| id.saturating_add(1)));
    Ok(Tables::new(Version::default().changed(&[], tables), loaded.applied.clone(), next_id, cache_bytes))
}

/// Reports a repair that was cut off, and removes its tables, which never counted: their numbers are given again.
fn note_repair<D: Disk>(
    disk: &Arc<D>,
    data: &Path,
    loaded: &Loaded,
    report: &mut OpenReport,
) -> io::Result<()> {
    let Some(attempt) = Attempt::read(&**disk, data)? else { return Ok(()) };
    report.damage += 1;
    tracing::error!(
        data = %data.display(),
        "a repair of this store was cut off: stop the aggregator and run `store repair` again"
    );
    remove_leftovers(&**disk, data, loaded)?;
    attempt.forget_files(&**disk, data)
}

/// Why the windows of an earlier version are not in tables: there may be space later.
pub(super) fn not_migrated(data: &Path, error: FlushError) -> OpenError {
    match error {
        FlushError::Space { free, needed } => OpenError::Space { data: data.to_owned(), needed, free },
        FlushError::Refused(why) => OpenError::Replay(why),
        FlushError::Failed(why) => OpenError::Replay(why.to_string()),
    }
}

/// Sets catalog and tables aside, under one number: without the catalog, files of tables count for nothing, and would be
/// removed. Returns the folder of the catalog; `None` if there is no free number.
///
/// # Errors
/// Of the file system.
pub(super) fn set_aside(data: &Path) -> io::Result<Option<PathBuf>> {
    let of = |n: u32| [SLED, version::FOLDER].map(|name| data.join(format!("{name}.aside-{n}")));
    let free = (1..10_000).map(of).find(|paths| !paths.iter().any(|path| path.exists()));
    let Some([catalog, tables]) = free else { return Ok(None) };
    if data.join(version::FOLDER).exists() {
        std::fs::rename(data.join(version::FOLDER), tables)?;
    }
    std::fs::rename(data.join(SLED), &catalog)?;
    Ok(Some(catalog))
}

/// Checks that the file of every table has its length; marks the gateways of tables without. Reads no content, so that
/// the duration of a start does not grow with it.
fn check_lengths<D: Disk>(
    disk: &Arc<D>,
    data: &Path,
    loaded: &mut Loaded,
    report: &mut OpenReport,
) -> Result<bool, OpenError> {
    let mut whole = true;
    for entry in &loaded.tables {
        let (path, must) = (entry.path(data), entry.summary.bytes);
        let found = disk.len(&path).map_err(|source| OpenError::Io {
            what: format!("cannot read the length of {}", path.display()),
            source,
        })?;
        if found == Some(must) {
            continue;
        }
        whole = false;
        report.damage += 1;
        report.damaged_tables += 1;
        let span = Span::of_table(&entry.summary);
        let what = match found {
            None => "is missing".to_owned(),
            Some(found) => format!("has {found} bytes instead of {must}"),
        };
        tracing::error!(
            table = %path.display(),
            rows = span.text(&loaded.catalog),
            "a table {what}: stop the aggregator; `store verify` lists everything that cannot be read, `store repair` \
             keeps what can"
        );
        loaded.catalog.mark_span_damaged(&span);
    }
    Ok(whole)
}
