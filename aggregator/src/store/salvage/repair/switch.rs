//! Puts a rebuilt catalog in the place of the damaged one.
//!
//! The catalog grows in `sled.new`, which counts for nothing, and becomes `sled.ready` when it is complete. Then `sled` is
//! set aside, and `sled.ready` takes its name. So if there is no `sled`, a `sled.ready` is the catalog; while there is a
//! `sled`, that is the catalog, and it may have gone on since the other was made.

use std::{fs, io, path::Path};

use catchment_journal::{Disk, Position, RealDisk};

use super::{RepairReport, Step, free_name, io as io_error};
use crate::store::{
    OpenError, StoreConfig,
    catalog::catalog_store::CatalogStore,
    flush::marker,
    tree::{sled_tree::SledTree, tail},
    wal::open::SLED,
};

/// Where a catalog grows.
pub(super) const NEW: &str = "sled.new";
/// A complete one.
const READY: &str = "sled.ready";

/// Whether a repair was cut off while it put a catalog in its place: no start may make an empty one there.
pub(in crate::store) fn is_unfinished(data: &Path) -> bool {
    !data.join(SLED).exists() && data.join(READY).exists()
}

/// Removes what an earlier repair rebuilt: `sled` is there, and counts.
///
/// # Errors
/// Of the file system.
pub(in crate::store) fn discard(data: &Path) -> io::Result<()> {
    [READY, NEW]
        .iter()
        .map(|name| data.join(name))
        .filter(|folder| folder.exists())
        .try_for_each(fs::remove_dir_all)
}

/// Ends what an earlier repair began, if it was cut off between the renames.
///
/// # Errors
/// Of the file system; a further repair continues.
pub(super) fn finish(data: &Path, report: &mut RepairReport, step: Step<'_>) -> Result<(), OpenError> {
    if !is_unfinished(data) {
        return Ok(());
    }
    let opened = SledTree::open(&data.join(READY), StoreConfig::default().cache_bytes).map(CatalogStore::new);
    // If it cannot be read, the repair that follows rebuilds it in turn.
    let known =
        opened.and_then(|catalog_store| catalog_store.load()).ok().map(|loaded| loaded.meta.flushed_to);
    put_in_place(data, known, report, step)?;
    report.done.push("catalog: one that an earlier repair had rebuilt is in its place".to_owned());
    Ok(())
}

/// The catalog in `sled.new` is complete, and takes the place of the one that is there.
///
/// # Errors
/// Of the file system; a further repair continues.
pub(super) fn switch(
    data: &Path,
    known: Position,
    report: &mut RepairReport,
    step: Step<'_>,
) -> Result<(), OpenError> {
    let renamed = fs::rename(data.join(NEW), data.join(READY)).and_then(|()| RealDisk.sync_dir(data));
    renamed.and_then(|()| step()).map_err(io_error("cannot rebuild the blocks"))?;
    put_in_place(data, Some(known), report, step)
}

fn put_in_place(
    data: &Path,
    known: Option<Position>,
    report: &mut RepairReport,
    step: Step<'_>,
) -> Result<(), OpenError> {
    let failed = io_error("cannot put the rebuilt blocks in their place");
    let folder = data.join(SLED);
    if folder.exists() {
        let old = free_name(data, SLED)?;
        let renamed = fs::rename(&folder, &old).and_then(|()| RealDisk.sync_dir(data));
        renamed.and_then(|()| step()).map_err(&failed)?;
        report.done.push(format!("catalog: the damaged folder was set aside as {}", old.display()));
    }
    // While there is no catalog, no start believes the marker.
    if let Some(known) = known {
        lower_marker(data, known, report)?;
    }
    // What it holds is in the rebuilt catalog; beside that one it would bring back what the repair has removed.
    tail::remove(data);
    step().map_err(&failed)?;
    let renamed = fs::rename(data.join(READY), &folder).and_then(|()| RealDisk.sync_dir(data));
    renamed.and_then(|()| step()).map_err(&failed)
}

/// Makes the marker say how far the tables reach, if it is damaged or says more.
///
/// # Errors
/// It cannot be written.
pub(super) fn lower_marker(data: &Path, known: Position, report: &mut RepairReport) -> Result<(), OpenError> {
    let noted = marker::read(&RealDisk, data);
    if !matches!(noted, Ok(None)) && !matches!(noted, Ok(Some(released)) if released <= known) {
        marker::write(&RealDisk, data, known).map_err(io_error("cannot write the blocks' position"))?;
        report.done.push(format!("packed: now records that the blocks reach journal position {known}"));
    }
    Ok(())
}
