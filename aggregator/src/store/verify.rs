//! Checks all that is on disk: every pack's checksum, the catalog, and every entry of the journal.
//!
//! Takes the folder's lock, so no aggregator may be running on it. It changes nothing itself; but sled can only be
//! opened for writing, and does then what it does at every start: it drops the torn end of its own log.

use std::{collections::HashMap, path::Path, sync::Arc, time::UNIX_EPOCH};

use catchment_journal::{DataDir, Log, Position, ReadEvent, RealDisk};
use catchment_proto::GatewayId;

use super::{
    OpenError, StoreConfig,
    catalog::Catalog,
    entry::{self, Entry},
    open::{JOURNAL, KIND, SLED, lost_batches},
    packed,
    packs::{BadPack, Packs},
    records::Meta,
    sled_tree::SledTree,
};

/// Most findings that are listed.
const FINDINGS_MAX: usize = 1000;

/// What a data folder holds and what of it is damaged.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Packs that are whole.
    pub packs: u64,
    /// Partials in them.
    pub partials: u64,
    /// Packs that are damaged.
    pub damaged_packs: u64,
    /// Series of the catalog.
    pub series: usize,
    /// Entries of the journal that are whole.
    pub entries: u64,
    /// Bytes at the journal's end that the next start cuts: never acknowledged, no damage.
    pub torn_tail_bytes: u64,
    /// What is damaged, a line each, at most 1000.
    pub findings: Vec<String>,
    /// Findings beyond those listed.
    pub findings_unlisted: u64,
}

impl VerifyReport {
    /// True if nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn note(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_unlisted += 1;
        }
    }
}

/// Checks the store in a data folder.
///
/// # Errors
/// There is no store, it is in use, or the journal cannot be read at all. Damage is no error but in the report.
pub fn verify(data: &Path) -> Result<VerifyReport, OpenError> {
    if !data.join(JOURNAL).is_dir() && !data.join(SLED).is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(OpenError::Io { what: format!("{} holds no store", data.display()), source });
    }
    let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
    let _lock = DataDir::open(data, KIND, now, &[])?;
    let mut report = VerifyReport::default();
    let (catalog, packed_to) = verify_packs(data, &mut report);
    verify_journal(data, &catalog, packed_to, &mut report)?;
    Ok(report)
}

/// Checks catalog and packs; returns the catalog and how far the packs are, as far as they can be read.
fn verify_packs(data: &Path, report: &mut VerifyReport) -> (Catalog, Position) {
    let none = (Catalog::default(), Position::ZERO);
    let folder = data.join(SLED);
    if !folder.is_dir() {
        report.note(format!("{}: the folder of the packed windows is missing", folder.display()));
        return none;
    }
    let packs = match SledTree::open(&folder, StoreConfig::default().cache_bytes) {
        Ok(tree) => Packs::new(tree),
        Err(reason) => {
            report.note(format!("{}: the packed windows cannot be opened: {reason}", folder.display()));
            return none;
        }
    };
    let mut bad: Vec<BadPack> = Vec::new();
    let walked = packs.every_pack(|pack| match pack {
        Ok(rows) => {
            report.packs += 1;
            report.partials += rows as u64;
        }
        Err(damaged) => {
            report.damaged_packs += 1;
            bad.push(damaged);
            bad.truncate(FINDINGS_MAX);
        }
    });
    let (catalog, meta) = match packs.load() {
        Ok(loaded) => (loaded.catalog, loaded.meta.unwrap_or_default()),
        Err(reason) => {
            report.note(reason);
            (Catalog::default(), Meta::default())
        }
    };
    if let Err(reason) = walked {
        report.note(format!("{}: reading the packs ended early: {reason}", folder.display()));
    }
    for damaged in bad {
        let series = catalog.series.get(&damaged.series);
        let gateway = series.and_then(|series| catalog.gateways.get(series.gateway as usize));
        match (series, gateway) {
            (Some(series), Some(gateway)) => {
                report.note(format!("{damaged} ({} of {})", series.key, gateway.id))
            }
            _ => report.note(damaged.to_string()),
        }
    }
    report.series = catalog.series.len();
    match packed::read(&RealDisk, data) {
        Ok(Some(released)) if released > meta.packed_to => report.note(format!(
            "{}: the packs reach to journal position {}, but were complete up to {released} before",
            folder.display(),
            meta.packed_to
        )),
        Ok(_) => {}
        Err(error) => report.note(error.to_string()),
    }
    (catalog, meta.packed_to)
}

/// Checks the journal's files, then its entries and that none is missing between them.
fn verify_journal(
    data: &Path,
    catalog: &Catalog,
    packed_to: Position,
    report: &mut VerifyReport,
) -> Result<(), OpenError> {
    let folder = data.join(JOURNAL);
    let files = catchment_journal::verify(&RealDisk, &folder)?;
    for segment in &files.segments {
        segment.damage.iter().for_each(|damage| report.note(damage.to_string()));
        report.findings_unlisted += segment.damage_unlisted;
        report.torn_tail_bytes += segment.torn_tail_bytes;
    }
    if files.segments.is_empty() {
        return Ok(());
    }
    let (log, _) = Log::open(Arc::new(RealDisk), &folder, StoreConfig::default().journal)?;
    let mut reader = log.read(Position::ZERO);
    let mut buffer = Vec::new();
    let mut highest = HashMap::new();
    loop {
        match reader.next(&mut buffer).map_err(|e| OpenError::Replay(e.to_string()))? {
            ReadEvent::Record(position) => match entry::decode(std::mem::take(&mut buffer).into()) {
                Ok(entry) if position >= packed_to => {
                    report.entries += 1;
                    if let Some(lost) = lost_before(&entry, catalog, &mut highest) {
                        report.note(format!("lost by damage to the journal: {lost}"));
                    }
                }
                Ok(_) => report.entries += 1,
                Err(error) => report.note(format!("journal position {position}: {error}")),
            },
            // Told by the check of the files.
            ReadEvent::Damage(_) => {}
            ReadEvent::End => return Ok(()),
        }
    }
}

/// Batches that must have stood before an entry and do not.
fn lost_before(
    entry: &Entry,
    catalog: &Catalog,
    highest: &mut HashMap<(GatewayId, u64, u32), u64>,
) -> Option<String> {
    let Entry { origin, follows, batch } = entry;
    let stored = || {
        let number = catalog.find_origin(&origin.gateway, origin.epoch);
        number.map_or(0, |number| catalog.delivered(number, batch.shard))
    };
    let known = highest.entry((origin.gateway.clone(), origin.epoch, batch.shard)).or_insert_with(stored);
    let lost = follows.saturating_sub(*known);
    *known = (*known).max(batch.number);
    (lost > 0).then(|| lost_batches(origin, batch.shard, *follows, lost))
}
