//! Makes a damaged store usable again: keeps whatever can be read, sets the damaged originals aside, and reports the
//! losses.
//!
//! Order: identity, journal, catalog and tables, then the marker of how far these reach. After each step a further repair
//! can continue: `switch` puts a catalog that was built anew from the values of the damaged one in its place, and
//! `attempt` notes that tables are mended. Damaged files of catalog and tables are renamed, never written to. One commit
//! leaves out rows that cannot be read and records that they are lost, so no answer is ever complete without them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use catchment_journal::{AtomicFileError, DataDir, Disk, RealDisk, quarantine, read_atomic};

use crate::store::{
    OpenError, StoreConfig, VerifyReport,
    catalog::catalog_store::{CatalogStore, Loaded},
    flush::marker,
    memtable::row::bucket_of,
    salvage::{
        self, ValueLocation, salvage,
        tables::mend::mend,
        verify::{check_blocks, lock_existing, verify_catalog, verify_journal, verify_tables},
    },
    tables::{resolution::Resolution, version::TableEntry},
    tree::{
        WriteBatch,
        records::{self, BlockManifest, META, Meta, Stored},
        sled_tree::SledTree,
        tail,
    },
    wal::open::{JOURNAL, KIND, SLED},
};

use after::{from_journal, record_losses};
use attempt::Attempt;

const IDENTITY: &str = "identity";
/// Size of a write batch while a tree is rebuilt, bytes.
const WRITE_BATCH_BYTES: usize = 4 << 20;

/// Actions and findings of a repair.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// Actions, one line each; empty: there was nothing to do.
    pub done: Vec<String>,
    /// Losses, as far as they can be known.
    pub lost: VerifyReport,
    /// Names of series are lost: the gateways of their flushed windows are unknown.
    pub(in crate::store) names_lost: bool,
}

/// Called after each durable step of a repair; an error ends it there. Tests so end one after each of its steps.
pub(in crate::store) type Step<'a> = &'a dyn Fn() -> io::Result<()>;

/// Repairs the store in a data folder that no aggregator is using.
///
/// # Errors
/// There is no store, it is in use or of a newer version, or an I/O error; the steps done until then remain and do no
/// harm: a further repair continues.
pub fn repair(data: &Path) -> Result<RepairReport, OpenError> {
    repair_in_steps(data, &|| Ok(()))
}

fn repair_in_steps(data: &Path, step: Step<'_>) -> Result<RepairReport, OpenError> {
    let mut report = RepairReport::default();
    let failed = io("cannot repair the store");
    let lock = match lock_existing(data) {
        Err(OpenError::Folder(_)) if repair_identity(data)? => {
            report.done.push(format!("{IDENTITY}: was damaged and has been rewritten"));
            lock_existing(data)?
        }
        locked => locked?,
    };
    let journal = data.join(JOURNAL);
    RealDisk.create_dir_all(&journal).map_err(io("cannot create the journal's folder"))?;
    let damaged = catchment_journal::verify(&RealDisk, &journal).unwrap_or_default();
    let mended = quarantine(&RealDisk, &journal, lock.facts().salt(JOURNAL))?;
    step().map_err(&failed)?;
    let files = mended.files.iter().map(|file| file.display().to_string());
    report.done.extend(files.map(|file| format!("journal: damaged bytes were copied to {file}")));
    if mended.headers > 0 {
        report.done.push(format!("journal: {} segment headers were rewritten", mended.headers));
    }
    if Attempt::read(&RealDisk, data).map_err(&failed)?.is_some() {
        let told = "an earlier repair had not ended: the gaps of gateways tell what it lost";
        report.done.push(told.to_owned());
    }
    switch::finish(data, &mut report, step)?;
    let mut found = VerifyReport::default();
    let loaded = verify_catalog(data, &mut found)?;
    let loaded = match loaded {
        Some(loaded) if found.is_clean() || only_marker_damaged(data, &found) => {
            let mut tables = VerifyReport::default();
            verify_tables(data, &loaded, &mut tables)?;
            if tables.is_clean() && tables.is_complete() {
                loaded
            } else {
                mend_tables(data, &mut report, step)?
            }
        }
        _ => rebuild(data, &mut report, step)?,
    };
    let known = loaded.meta.flushed_to;
    switch::lower_marker(data, known, &mut report)?;
    attempt::end(data, &loaded, &mut report, step)?;
    // Everything below that position is flushed.
    let damaged =
        damaged.segments.iter().flat_map(|segment| &segment.damage).filter(|damage| damage.to > known);
    damaged.for_each(|damage| report.lost.note(damage.to_string()));
    verify_journal(data, Some(&loaded), &mut report.lost)?;
    Ok(report)
}

fn io(what: &str) -> impl Fn(io::Error) -> OpenError + use<> {
    let what = what.to_owned();
    move |source| OpenError::Io { what: what.clone(), source }
}

fn blocks_error(data: &Path) -> impl Fn(String) -> OpenError + use<> {
    let (folder, journal) = (data.join(SLED), data.join(JOURNAL));
    move |reason| OpenError::Blocks { folder: folder.clone(), journal: journal.clone(), reason }
}

/// Replaces a damaged or missing identity by a new one: nothing in this store refers to it. Returns false if the
/// identity is not the problem.
fn repair_identity(data: &Path) -> Result<bool, OpenError> {
    let path = data.join(IDENTITY);
    match read_atomic(&RealDisk, &path) {
        Ok(None) | Err(AtomicFileError::Damaged { .. }) => {}
        _ => return Ok(false),
    }
    let new = data.join(".identity-new");
    let failed = io("cannot write a new identity");
    let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
    drop(DataDir::open(&new, KIND, now, &[])?);
    if path.exists() {
        fs::rename(&path, free_name(data, IDENTITY)?).map_err(&failed)?;
    }
    fs::rename(new.join(IDENTITY), &path).map_err(&failed)?;
    fs::remove_dir_all(&new).map_err(&failed)?;
    RealDisk.sync_dir(data).map_err(&failed)?;
    Ok(true)
}

/// Whether the flush marker is the only damage.
fn only_marker_damaged(data: &Path, found: &VerifyReport) -> bool {
    found.findings.len() == 1 && matches!(marker::read(&RealDisk, data), Err(AtomicFileError::Damaged { .. }))
}

/// A free name for something to set aside.
pub(in crate::store) fn free_name(data: &Path, name: &str) -> Result<PathBuf, OpenError> {
    let free = (1..10_000).map(|n| data.join(format!("{name}.aside-{n}"))).find(|path| !path.exists());
    free.ok_or_else(|| {
        io("cannot set anything aside")(io::Error::other("ten thousand have been set aside already"))
    })
}

/// Mends tables that an undamaged catalog names.
fn mend_tables(data: &Path, report: &mut RepairReport, step: Step<'_>) -> Result<Loaded, OpenError> {
    let folder = data.join(SLED);
    let tree = SledTree::open(&folder, StoreConfig::default().cache_bytes).map_err(blocks_error(data))?;
    let catalog_store = CatalogStore::new(tree);
    let mut loaded = catalog_store.load().map_err(blocks_error(data))?;
    let mut writes = mend(data, &mut loaded, report, None, step)?;
    record_losses(&mut writes, &mut loaded, report, true);
    catalog_store.commit(writes, &mut loaded.meta).map_err(blocks_error(data))?;
    step().map_err(io("cannot repair the tables"))?;
    Ok(loaded)
}

/// Rebuilds the tree from all whole values in the file of the old one.
fn rebuild(data: &Path, report: &mut RepairReport, step: Step<'_>) -> Result<Loaded, OpenError> {
    let (folder, new) = (data.join(SLED), data.join(switch::NEW));
    let failed = io("cannot rebuild the blocks");
    switch::discard(data).map_err(&failed)?;
    let loaded = {
        let tree = SledTree::open(&new, StoreConfig::default().cache_bytes).map_err(blocks_error(data))?;
        let fresh = CatalogStore::new(tree);
        let files: Vec<File> =
            [folder.join("db"), tail::path(data)].iter().filter_map(|file| File::open(file).ok()).collect();
        let (mut loaded, must) = fill_tree(data, &fresh, &files, report).map_err(blocks_error(data))?;
        step().map_err(&failed)?;
        let mut writes = mend(data, &mut loaded, report, Some(must), step)?;
        from_journal(data, &mut loaded, report).map_err(blocks_error(data))?;
        record_losses(&mut writes, &mut loaded, report, false);
        fresh.commit(writes, &mut loaded.meta).map_err(blocks_error(data))?;
        loaded
    };
    step().map_err(&failed)?;
    switch::switch(data, loaded.meta.flushed_to, report, step)?;
    let (series, tables) = (loaded.catalog.series.len(), loaded.tables.len());
    report
        .done
        .push(format!("catalog: rebuilt from whole values; it knows {series} series and {tables} tables"));
    Ok(loaded)
}

/// Fills a new tree; reports the losses. Returns also the number of tables that must exist.
fn fill_tree(
    data: &Path,
    fresh: &CatalogStore,
    files: &[File],
    report: &mut RepairReport,
) -> Result<(Loaded, u64), String> {
    let found = salvage(files).map_err(|e| e.to_string())?;
    let value = |location: &ValueLocation| salvage::value(files, *location).map_err(|e| e.to_string());
    let mut meta = match found.get(META) {
        Some(location) => {
            records::message(META, &value(location)?).ok().and_then(Meta::restore).unwrap_or_default()
        }
        None => Meta::default(),
    };
    let dense = |kind| (0..).take_while(|n| found.contains_key(&records::numbered(kind, *n))).count() as u32;
    let (gateways, epochs) = (dense(records::GATEWAY), dense(records::EPOCH));
    if meta.sequence == 0 || gateways < meta.gateways || epochs < meta.epochs {
        let what = "the names of gateways are lost, and with them the owners of flushed windows: all flushed windows are lost";
        report.lost.note(format!("catalog: {what}"));
        return Ok((fresh.load()?, 0));
    }
    // Values newer than the newest whole record hold only acknowledged data.
    let newest = found.values().map(|location| location.sequence).max().unwrap_or(0);
    (meta.sequence, meta.gateways, meta.epochs) = (newest, gateways, epochs);
    let mut keep = kept(&found, &meta, &value)?;
    drop_superseded(data, &mut keep, &value)?;
    let (must, tables) = (meta.groups, meta.tables);
    meta.tables = keep.keys().filter(|key| key.first() == Some(&records::TABLE)).count() as u64;
    meta.groups = keep.keys().filter(|key| key.first() == Some(&records::GROUP)).count() as u32;
    let mut writes = WriteBatch::new(meta.sequence);
    for (key, location) in keep {
        writes.copy(key.clone(), value(location)?);
        if writes.bytes() >= WRITE_BATCH_BYTES {
            fresh.commit(std::mem::replace(&mut writes, WriteBatch::new(meta.sequence)), &mut meta)?;
        }
    }
    fresh.commit(writes, &mut meta)?;
    if meta.groups > must {
        report
            .lost
            .note(format!("catalog: {} groups of forgotten series have reappeared", meta.groups - must));
    }
    Ok((verify_rebuilt(fresh, &mut meta, must, report)?, tables))
}

/// Leaves out records of tables that are no records, or of which others were made whose files exist: sled keeps the
/// values of removed keys for a while.
fn drop_superseded(
    data: &Path,
    keep: &mut BTreeMap<&Vec<u8>, &ValueLocation>,
    value: &impl Fn(&ValueLocation) -> Result<Vec<u8>, String>,
) -> Result<(), String> {
    let mut parts: BTreeMap<(Resolution, i32), Vec<TableEntry>> = BTreeMap::new();
    for (key, location) in keep.iter().filter(|(key, _)| key.first() == Some(&records::TABLE)) {
        let record = records::message(key, &value(location)?).ok();
        if let Some(entry) = record.and_then(|record| TableEntry::restore(key, &record)) {
            parts.entry((entry.resolution, entry.partition)).or_default().push(entry);
        }
    }
    let mut known: BTreeSet<Vec<u8>> = BTreeSet::new();
    for entries in parts.values() {
        let exists: Vec<&TableEntry> = entries.iter().filter(|entry| entry.path(data).is_file()).collect();
        let superseded =
            |entry: &TableEntry| exists.iter().any(|other| other.id > entry.id && other.shares_ages(entry));
        known.extend(entries.iter().filter(|entry| !superseded(entry)).map(TableEntry::key));
    }
    keep.retain(|key, _| key.first() != Some(&records::TABLE) || known.contains(*key));
    Ok(())
}

/// The values of the new tree: all except forgotten ones and those whose gateway's name is unknown.
fn kept<'a>(
    found: &'a BTreeMap<Vec<u8>, ValueLocation>,
    meta: &Meta,
    value: &impl Fn(&ValueLocation) -> Result<Vec<u8>, String>,
) -> Result<BTreeMap<&'a Vec<u8>, &'a ValueLocation>, String> {
    let (mut first, mut migrated) = (BTreeMap::new(), BTreeSet::new());
    let mut keep = BTreeMap::new();
    for (key, location) in
        found.iter().filter(|(key, location)| key.as_slice() != META && location.sequence <= meta.sequence)
    {
        let numbered = match (key.first(), records::number_of(key)) {
            (Some(&records::GATEWAY | &records::HOURS), Some(number)) => number < meta.gateways,
            (Some(&records::EPOCH | &records::SHARDS), Some(number)) => number < meta.epochs,
            _ => true,
        };
        if key.first() == Some(&records::GROUP)
            && let Ok(record) = records::message(key, &value(location)?)
            && let Some(group) = crate::store::catalog::groups::Group::restore(record)
            && let Some(number) = records::number_of(key)
            && let Some(start) = group.series().map(|(_, series)| series.first).min()
        {
            first.insert(number, bucket_of(start));
            if group.manifest == BlockManifest::default() {
                migrated.insert(number);
            }
        }
        if numbered {
            keep.insert(key, location);
        }
    }
    keep.retain(|key, _| {
        let Some((group, bucket, _)) = records::parse_block_key(key) else { return true };
        // A group of this version has no blocks: their windows are in tables.
        !migrated.contains(&group) && first.get(&group).is_none_or(|first| bucket >= *first)
    });
    Ok(keep)
}

/// Reports what the new tree lacks, and updates the manifests of its groups to the blocks that exist.
fn verify_rebuilt(
    fresh: &CatalogStore,
    meta: &mut Meta,
    must: u32,
    report: &mut RepairReport,
) -> Result<Loaded, String> {
    let mut loaded = fresh.load()?;
    loaded.findings.iter().for_each(|finding| report.lost.note(finding.clone()));
    report.names_lost = meta.groups < must || !loaded.findings.is_empty();
    if meta.groups < must {
        let lost = must - meta.groups;
        report.lost.note(format!(
            "catalog: the names of {lost} groups of series are lost, and with them their flushed windows"
        ));
    }
    check_blocks(fresh, &loaded, &mut report.lost);
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    let mut next = loaded.catalog.series.next_group(0);
    while let Some(number) = next {
        let (manifest, _) = fresh.manifest(number)?;
        if let Some(group) = loaded.catalog.series.group_mut(number)
            && group.manifest != manifest
        {
            group.manifest = manifest;
            writes.record(records::numbered(records::GROUP, number), &group.record());
        }
        next = number.checked_add(1).and_then(|from| loaded.catalog.series.next_group(from));
        if writes.bytes() >= WRITE_BATCH_BYTES {
            let next = WriteBatch::new(writes.sequence().saturating_add(1));
            fresh.commit(std::mem::replace(&mut writes, next), meta)?;
        }
    }
    fresh.commit(writes, meta)?;
    loaded.meta = *meta;
    Ok(loaded)
}

mod after;
pub(in crate::store) mod attempt;
pub(in crate::store) mod switch;
#[cfg(test)]
mod tests;
