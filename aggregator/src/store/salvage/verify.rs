//! Checks everything on disk: the catalog, every table, the minutes, hours and days against the windows, and every entry
//! of the journal.
//!
//! Takes the folder's lock, so no aggregator may be running on it. Changes nothing: sled can only be opened for
//! writing, and then drops whatever it takes for the torn end of its log, so it gets a copy.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::UNIX_EPOCH,
};

use catchment_journal::{DataDir, Position, ReadEvent, ReadOnlyLog, RealDisk};
use catchment_proto::GatewayId;

use crate::store::{
    OpenError, StoreConfig,
    catalog::{
        Catalog,
        catalog_store::{CatalogStore, Loaded},
        groups::first_of,
    },
    flush::marker,
    salvage::{
        copy::TempCopy,
        repair::attempt,
        tables::{
            compare::{Differences, compare_all, part_name},
            loss::{LostWindows, Span},
            survey::Survey,
        },
    },
    tables::{table::Table, version},
    tree::{
        records::{self, BlockManifest},
        sled_tree::SledTree,
    },
    wal::{
        entry::{self, JournalEntry},
        open::{JOURNAL, KIND, SLED, lost_batches},
    },
};

/// Most findings listed.
const FINDINGS_MAX: usize = 1000;

/// Content and damage of a data folder.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Owner of the folder; `None`: none yet.
    pub owner: Option<String>,
    /// Whole tables.
    pub tables: u64,
    /// Tables that are missing, or damaged wholly or in part.
    pub damaged_tables: u64,
    /// Whole blocks.
    pub blocks: u64,
    /// Partials of windows in them.
    pub partials: u64,
    /// Partials of minutes, hours and days in them.
    pub merged_rows: u64,
    /// Damaged blocks.
    pub damaged_blocks: u64,
    /// Files of tables that count for nothing: left by a round or a merge that did not end, and removed by the next start.
    pub unnamed_files: u64,
    /// Series of the catalog.
    pub series: usize,
    /// Whole entries of the journal.
    pub entries: u64,
    /// Bytes at the journal's end that the next start truncates: never acknowledged, not damage.
    pub torn_tail_bytes: u64,
    /// Damage, one line each, at most 1000.
    pub findings: Vec<String>,
    /// Number of findings beyond those listed.
    pub findings_unlisted: u64,
    /// Tables, and partitions of them, that the system refused to open, one line each, at most 1000: nothing is known of
    /// them.
    pub unopened: Vec<String>,
    /// Groups of series that lack flushed windows of unknown times.
    pub(crate) lossy_groups: BTreeSet<u32>,
    /// Spans of rows that are lost.
    pub(in crate::store) lossy_spans: LostWindows,
}

impl VerifyReport {
    /// True if nothing is damaged, as far as it could be read.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// True if the system let everything be opened.
    pub fn is_complete(&self) -> bool {
        self.unopened.is_empty()
    }

    pub(in crate::store) fn note_unopened(&mut self, what: String) {
        if self.unopened.len() < FINDINGS_MAX {
            self.unopened.push(what);
        }
    }

    pub(in crate::store) fn note(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_unlisted += 1;
        }
    }
}

/// Checks the store in a data folder that no aggregator is using. Changes nothing: the catalog is checked in a copy,
/// because sled can only be opened for writing.
///
/// # Errors
/// There is no store, it is in use, there is no room for the copy, or the journal cannot be read at all. Damage is
/// not an error; it is in the report.
pub fn verify(data: &Path) -> Result<VerifyReport, OpenError> {
    let lock = lock_existing(data)?;
    let mut report = VerifyReport { owner: lock.owner().map(str::to_owned), ..VerifyReport::default() };
    if data.join(attempt::FILE).exists() {
        report.note("a repair of this store was cut off: run `store repair` again".to_owned());
    }
    let loaded = verify_catalog(data, &mut report)?;
    if let Some(loaded) = &loaded {
        verify_tables(data, loaded, &mut report)?;
    }
    verify_journal(data, loaded.as_ref(), &mut report)?;
    Ok(report)
}

/// Takes the lock of a folder that holds a store.
pub(crate) fn lock_existing(data: &Path) -> Result<DataDir, OpenError> {
    if !data.join(JOURNAL).is_dir() && !data.join(SLED).is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(OpenError::Io { what: format!("{} holds no store", data.display()), source });
    }
    let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
    let folder = DataDir::open(data, KIND, now, &[])?;
    // A journal of another folder is neither read nor repaired.
    folder.facts().missing_logs()?;
    Ok(folder)
}

/// Checks all tables that a catalog names, and minutes, hours and days against the windows.
pub(in crate::store) fn verify_tables(
    data: &Path,
    loaded: &Loaded,
    report: &mut VerifyReport,
) -> Result<(), OpenError> {
    let disk = Arc::new(RealDisk);
    let survey = Survey::of(&disk, data, loaded, report)?;
    report.unnamed_files = survey.unnamed.len() as u64;
    if let Some(from) = newer_from(data, loaded, &survey) {
        for (id, name) in survey.unnamed.iter().filter_map(|name| Some((version::id_of(name)?, name))) {
            if id >= from {
                report.unnamed_files -= 1;
                let path = data.join(version::FOLDER).join(name);
                report.note(newer_text(&disk, &path, &loaded.catalog));
            }
        }
    }
    compare_all(&disk, data, loaded, &survey, |part, compared| {
        let name = part_name(part);
        match compared {
            Ok(Differences { intervals, span }) => {
                let text = span.map(|span| span.text(&loaded.catalog)).unwrap_or_default();
                report.note(format!(
                    "tables, {name}: {intervals} intervals are not what finer rows give: {text}"
                ));
            }
            Err(error) => report.note_unopened(format!("tables, {name}, were not compared: {error}")),
        }
    });
    Ok(())
}

/// If the catalog is older than the tables: the first number of a table that it cannot know. So it is when the journal
/// was released further, or when tables that it names are gone: an old copy of it was put back.
pub(in crate::store) fn newer_from(data: &Path, loaded: &Loaded, survey: &Survey) -> Option<u64> {
    let journal = data.join(JOURNAL);
    let journal = journal.is_dir().then(|| ReadOnlyLog::open(Arc::new(RealDisk), &journal).ok().flatten());
    let start = journal.flatten().map(|journal| journal.start_position());
    let released = marker::released(&RealDisk, data, start).unwrap_or(Position::ZERO);
    (released > loaded.meta.flushed_to || survey.misses_files()).then_some(loaded.meta.next_table)
}

/// Describes a table that the catalog is too old to name.
fn newer_text(disk: &Arc<RealDisk>, path: &Path, catalog: &Catalog) -> String {
    let what = format!("{}: newer than the catalog, which does not name it", path.display());
    match Table::inspect(Arc::clone(disk), path.to_owned()) {
        Ok(table) => format!("{what}: {}", Span::of_table(table.summary()).text(catalog)),
        Err(error) => format!("{what}, and not to be read: {error}"),
    }
}

/// Checks the catalog, and blocks of an earlier version, in a copy; returns the catalog if it is usable.
pub(in crate::store) fn verify_catalog(
    data: &Path,
    report: &mut VerifyReport,
) -> Result<Option<Loaded>, OpenError> {
    let folder = data.join(SLED);
    if !folder.is_dir() {
        report.note(format!("{}: the folder of the flushed windows is missing", folder.display()));
        return Ok(None);
    }
    let copy = TempCopy::of(&folder)?;
    let opened = SledTree::open(copy.path(), StoreConfig::default().cache_bytes).map(CatalogStore::new);
    let loaded = opened.and_then(|catalog_store| {
        let loaded = catalog_store.load()?;
        check_blocks(&catalog_store, &loaded, report);
        Ok(loaded)
    });
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(reason) => {
            report.note(format!("{}: the flushed windows cannot be used: {reason}", folder.display()));
            return Ok(None);
        }
    };
    report.series = loaded.catalog.series.len();
    loaded.findings.iter().for_each(|finding| report.note(finding.clone()));
    let known = loaded.meta.flushed_to;
    match marker::read(&RealDisk, data) {
        Ok(Some(released)) if released > known => report.note(format!(
            "{}: the catalog reaches journal position {known}, but tables were complete up to {released} before: it \
             is older than they",
            folder.display(),
        )),
        Ok(_) => {}
        Err(error) => report.note(error.to_string()),
    }
    Ok(Some(loaded))
}

/// Reads every block, and compares the blocks of each group of series with its manifest.
pub(in crate::store) fn check_blocks(
    catalog_store: &CatalogStore,
    loaded: &Loaded,
    report: &mut VerifyReport,
) {
    let catalog = &loaded.catalog;
    let mut manifests: HashMap<u32, BlockManifest> = HashMap::new();
    let mut damaged: HashSet<u32> = HashSet::new();
    let name = |group: u32| catalog.group_name(group);
    let walked = catalog_store.blocks_of(None, |key, block| {
        let group = records::parse_block_key(key).map_or(u32::MAX, |(group, ..)| group);
        match block {
            Ok(block) => {
                report.blocks += 1;
                report.partials += block.rows.len() as u64;
                manifests.entry(group).or_default().add(key, block.sequence);
            }
            Err(bad) => {
                report.damaged_blocks += 1;
                damaged.insert(group);
                report.note(format!("{bad} ({})", name(group)));
            }
        }
    });
    if let Err(reason) = walked {
        report.note(format!("reading the blocks ended early, the rest is not checked: {reason}"));
        return;
    }
    let migrating = loaded.meta.next_table > 0;
    for (number, group) in catalog.series.groups() {
        let found = manifests.remove(&number).unwrap_or_default();
        let missing = !migrating && found.blocks <= group.manifest.blocks && found != group.manifest;
        if damaged.contains(&number) || missing {
            report.lossy_groups.insert(number);
        }
        if migrating && found.blocks < group.manifest.blocks {
            // They are in tables.
            continue;
        }
        if let Some(what) = difference(group.manifest, found, damaged.contains(&number)) {
            let (first, name) = (first_of(number), name(number));
            report.note(format!("series from {first} on ({name}): {what}"));
        }
    }
    for (group, manifest) in manifests {
        let BlockManifest { blocks, .. } = manifest;
        let first = first_of(group);
        report.note(format!(
            "series from {first} on: their names are lost, their {blocks} blocks are not shown"
        ));
    }
}

/// What is wrong if the blocks do not match the manifest; `None`: nothing, or it is reported already.
pub(in crate::store) fn difference(
    must: BlockManifest,
    found: BlockManifest,
    damaged: bool,
) -> Option<String> {
    match must.blocks.checked_sub(found.blocks) {
        Some(0) if must.sum == found.sum => None,
        Some(0) => Some("a block went back to an older state: windows in it are lost".to_owned()),
        Some(_) if damaged => None,
        Some(lost) => Some(format!("{lost} of {} blocks are missing: windows in them are lost", must.blocks)),
        None => Some(format!(
            "{} blocks instead of {}: forgotten windows have reappeared",
            found.blocks, must.blocks
        )),
    }
}

/// Checks the journal's files, then its entries, and that no entry is missing among them or between them and the
/// blocks (`None`: the content of the blocks is unknown).
pub(in crate::store) fn verify_journal(
    data: &Path,
    loaded: Option<&Loaded>,
    report: &mut VerifyReport,
) -> Result<(), OpenError> {
    let folder = data.join(JOURNAL);
    if !folder.is_dir() {
        report.note(format!("{}: the folder of the journal is missing", folder.display()));
        return Ok(());
    }
    let files = catchment_journal::verify(&RealDisk, &folder)?;
    for segment in &files.segments {
        segment.damage.iter().for_each(|damage| report.note(damage.to_string()));
        report.findings_unlisted += segment.damage_unlisted;
        report.torn_tail_bytes += segment.torn_tail_bytes;
    }
    let Some(journal) = ReadOnlyLog::open(Arc::new(RealDisk), &folder)? else { return Ok(()) };
    let flushed_to = loaded.map_or(journal.start_position(), |loaded| loaded.meta.flushed_to);
    let catalog = loaded.map(|loaded| &loaded.catalog);
    if journal.end < flushed_to || journal.start_position() > flushed_to {
        let (start, end) = (journal.start_position(), journal.end);
        report.note(format!(
            "{}: it holds positions {start} to {end}, but the blocks end at {flushed_to}: the part between is lost",
            folder.display()
        ));
    }
    let mut reader = journal.read(Position::ZERO);
    let mut buffer = Vec::new();
    let mut highest = HashMap::new();
    loop {
        match reader.next(&mut buffer).map_err(|e| OpenError::Replay(e.to_string()))? {
            ReadEvent::Record(position) => match entry::decode(std::mem::take(&mut buffer).into()) {
                Ok(entry) if position >= flushed_to => {
                    report.entries += 1;
                    if let Some(lost) = lost_before(&entry, catalog, &mut highest) {
                        report.note(format!("lost: {lost}"));
                    }
                }
                Ok(_) => report.entries += 1,
                Err(error) => report.note(format!("journal position {position}: {error}")),
            },
            // Reported by the check of the files.
            ReadEvent::Damage(_) => {}
            ReadEvent::End => return Ok(()),
        }
    }
}

/// Describes the batches that must precede an entry but are missing.
fn lost_before(
    entry: &JournalEntry,
    catalog: Option<&Catalog>,
    highest: &mut HashMap<(GatewayId, u64, u32), u64>,
) -> Option<String> {
    let JournalEntry { epoch, follows, batch, .. } = entry;
    let stored = || {
        let Some(catalog) = catalog else { return *follows };
        let number = catalog.find_epoch(&epoch.gateway, epoch.id);
        let known = number.and_then(|number| Some((number, catalog.epoch(number)?)));
        known.map_or(0, |(number, known)| match catalog.delivered(number, batch.shard) {
            0 if known.unknown => *follows,
            delivered => delivered,
        })
    };
    let known = highest.entry((epoch.gateway.clone(), epoch.id, batch.shard)).or_insert_with(stored);
    let lost = follows.saturating_sub(*known);
    *known = (*known).max(batch.number);
    (lost > 0).then(|| lost_batches(epoch, batch.shard, *follows, lost))
}
