//! Opens a data folder: locks it, opens blocks and journal, and replays the journal to restore the state.
//!
//! Existing data is never replaced by an empty start: if the blocks cannot be opened, or lack data that the journal
//! no longer holds, opening fails with what is wrong, what is left and what to do. Damage in the journal is logged
//! and counted, and everything around it is kept.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use catchment_journal::{
    AtomicFileError, DataDir, Disk, GroupLog, Log, Position, ReadEvent, ReadOnlyLog, RealDisk,
};
use tokio::sync::watch;

use crate::store::{
    EmbeddedStore, GatewayEpoch, OpenReport, StoreConfig,
    blocks::migrate::migrate,
    catalog::{
        catalog_store::{CatalogStore, Loaded},
        quota::Quota,
    },
    embedded::{
        inner::{AdmissionState, FlushProgress, Inner},
        locks::{lock, read, write},
    },
    flush::{
        flusher::{self, FlushError},
        marker,
        signal::FlushSignal,
    },
    salvage::repair::switch,
    tree::{sled_tree::SledTree, tail},
    wal::{
        apply::{CheckedBatch, StoreState},
        entry,
    },
};

/// Kind of the data folder.
pub(crate) const KIND: &str = "aggregator";
/// Folder of the journal within it.
pub(in crate::store) const JOURNAL: &str = "journal";
/// Folder of sled within it.
pub(in crate::store) const SLED: &str = "sled";
/// sled needs room for a segment and a snapshot of all pages; else an opening stops half done.
pub(crate) const OPEN_FREE_MIN: u64 = 10 << 20;
/// Most lost batches listed individually.
const LOST_MAX: usize = 1000;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder is in use, of another kind, of a newer format, or not accessible.
    #[error(transparent)]
    Folder(#[from] catchment_journal::DataDirError),
    /// The flushed windows cannot be used.
    #[error(
        "{}: the flushed windows cannot be used: {reason}. The journal in {} holds the deliveries since the last \
         flush. Restore a copy of the whole data folder, or run `catchment-aggregator store repair`, which keeps \
         every readable window and reports what is lost",
        folder.display(), journal.display()
    )]
    Blocks {
        /// Folder of the blocks.
        folder: PathBuf,
        /// Folder of the journal.
        journal: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// The file system is full. Nothing is damaged: try again once there is space.
    #[error("{}: opening the flushed windows needs {needed} free bytes, only {free} are free", data.display())]
    Space {
        /// The data folder.
        data: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The journal cannot be opened.
    #[error("the store's journal: {0}")]
    Journal(#[from] catchment_journal::OpenError),
    /// The journal cannot be read, written or released.
    #[error("the store's journal: {0}")]
    Replay(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Error of the system.
        source: std::io::Error,
    },
}

impl EmbeddedStore {
    /// Opens the store in a data folder, or creates it. Reads the catalog, and the journal since the last flush, but
    /// not the blocks, so its duration does not grow with history.
    ///
    /// # Errors
    /// See [`OpenError`]; no data was given up.
    pub fn open(data: &Path, mut config: StoreConfig) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut data_dir = match &config.owner {
            Some(owner) => DataDir::open_owned(data, KIND, now, owner, &[])?,
            None => DataDir::open(data, KIND, now, &[])?,
        };
        // A journal of another folder is refused; if the journal is gone, the blocks tell what it held.
        let salts = data_dir.prepare_logs(&[JOURNAL.to_owned()])?;
        config.journal.salt = salts.get(JOURNAL).copied();
        let mut report = OpenReport::default();
        let (catalog_store, loaded) = open_catalog(data, &config, &mut report)?;
        let created_ms = data_dir.created_ms();
        let parts =
            Parts { disk: Arc::new(RealDisk), data, catalog_store, loaded, data_dir: Some(data_dir), config };
        let mut inner = assemble(parts, &mut report, |log| {
            GroupLog::start(log, "store").map_err(|source| OpenError::Io {
                what: "cannot start the journal's thread".to_owned(),
                source,
            })
        })?;
        if let Some(data_dir) = &mut inner.data_dir {
            data_dir.confirm_logs(&[JOURNAL.to_owned()], &[])?;
        }
        times::cap_times(&inner, now, created_ms);
        let store = Self::start(Arc::new(inner)).map_err(|source| OpenError::Io {
            what: "cannot start the flusher's thread".to_owned(),
            source,
        })?;
        Ok((Arc::new(store), report))
    }
}

/// Components of a store.
pub(in crate::store) struct Parts<'a, D: Disk> {
    pub(in crate::store) disk: Arc<D>,
    pub(in crate::store) data: &'a Path,
    pub(in crate::store) config: StoreConfig,
    pub(in crate::store) catalog_store: CatalogStore,
    pub(in crate::store) loaded: Loaded,
    pub(in crate::store) data_dir: Option<DataDir>,
}

/// Opens the journal and replays the part that the blocks lack; `share` decides how later appends are committed.
pub(in crate::store) fn assemble<D: Disk>(
    parts: Parts<'_, D>,
    report: &mut OpenReport,
    share: impl FnOnce(Log<D>) -> Result<GroupLog<D>, OpenError>,
) -> Result<Inner<D>, OpenError> {
    let Parts { disk, data, config, catalog_store, mut loaded, data_dir } = parts;
    let flushed_to = loaded.meta.flushed_to;
    let (mut log, recovery) = Log::open(Arc::clone(&disk), &data.join(JOURNAL), config.journal.clone())?;
    report.torn_tail_bytes = recovery.torn_tail_bytes;
    if log.end() < flushed_to {
        report.damage += 1;
        tracing::error!(
            journal_end = %log.end(), %flushed_to,
            "the journal ends before the blocks: its content since the last flush is lost"
        );
        log.advance_to(flushed_to).map_err(|e| OpenError::Replay(e.to_string()))?;
    }
    if log.start() > flushed_to {
        report.damage += 1;
        tracing::error!(
            journal_start = %log.start(), %flushed_to,
            "the beginning of the journal is missing: batches in this range are lost"
        );
    }
    let tables = tables::open(&disk, data, &mut loaded, config.cache_bytes, report)?;
    let mut inner = Inner {
        live_limits: config.live_limits(),
        state: RwLock::new(StoreState {
            catalog: loaded.catalog,
            applied_to: flushed_to,
            ..StoreState::default()
        }),
        admission: Mutex::new(AdmissionState::new(Quota::new(config.series_bounds()))),
        turn: tokio::sync::Mutex::new(()),
        flush_lock: Mutex::new(loaded.meta),
        log: share(log)?,
        disk,
        catalog_store,
        folder: data.to_owned(),
        flushed_to: AtomicU64::new(flushed_to.get()),
        tables,
        compaction: FlushSignal::default(),
        forgotten: AtomicU64::new(0),
        expired: AtomicU64::new(0),
        damage: 0,
        damaged_tables: 0,
        damaged_series: AtomicU64::new(0),
        progress: watch::Sender::new(FlushProgress::default()),
        signal: FlushSignal::default(),
        failure: OnceLock::new(),
        folder_gone: OnceLock::new(),
        config,
        folder_check_failed: AtomicBool::new(false),
        data_dir,
    };
    report.damage += migrate(&inner).map_err(|error| tables::not_migrated(data, error))?.len() as u64;
    replay(&inner, flushed_to, report)?;
    read(&inner.state).catalog.report_usages(&mut lock(&inner.admission).quota);
    (inner.damage, inner.damaged_tables) = (report.damage, report.damaged_tables);
    report.series = read(&inner.state).catalog.series.len();
    Ok(inner)
}

/// Opens blocks and catalog, and checks that they hold everything that the journal has released.
fn open_catalog(
    data: &Path,
    config: &StoreConfig,
    report: &mut OpenReport,
) -> Result<(CatalogStore, Loaded), OpenError> {
    let folder = data.join(SLED);
    let refused = |reason| OpenError::Blocks { folder: folder.clone(), journal: data.join(JOURNAL), reason };
    // Opening sled would put an empty catalog in the place of the rebuilt one.
    if switch::is_unfinished(data) {
        return Err(refused("a repair was cut off before it had put them in their place".to_owned()));
    }
    let start = journal_start(&Arc::new(RealDisk), data)?;
    let free = RealDisk.free_bytes(data).map_err(|source| OpenError::Io {
        what: format!("cannot read the free space of {}", data.display()),
        source,
    })?;
    if free < OPEN_FREE_MIN {
        return Err(OpenError::Space { data: data.to_owned(), needed: OPEN_FREE_MIN, free });
    }
    let reason = match load_blocks(data, config.cache_bytes, start, report) {
        Ok(opened) => return Ok(opened),
        Err(reason) => reason,
    };
    if !config.set_blocks_aside {
        return Err(refused(reason));
    }
    let io = |source| OpenError::Io { what: format!("cannot set {} aside", folder.display()), source };
    let aside = tables::set_aside(data).map_err(io)?;
    let aside =
        aside.ok_or_else(|| refused("ten thousand folders have been set aside already".to_owned()))?;
    tail::remove(data);
    marker::write(&RealDisk, data, Position::ZERO).map_err(io)?;
    tracing::error!(reason, aside = %aside.display(), "flushed windows cannot be used and were set aside, as configured");
    report.blocks_set_aside = Some(aside);
    load_blocks(data, config.cache_bytes, start, report).map_err(refused)
}

fn load_blocks(
    data: &Path,
    cache_bytes: u64,
    journal: Option<Position>,
    report: &mut OpenReport,
) -> Result<(CatalogStore, Loaded), String> {
    let folder = data.join(SLED);
    tail::save(data, &folder).map_err(|error| format!("{}: {error}", tail::path(data).display()))?;
    let catalog_store = CatalogStore::new(SledTree::open(&folder, cache_bytes)?);
    let loaded = load(&RealDisk, data, &catalog_store, journal, report)?;
    tail::remove(data);
    // From now on the rebuilt catalog of a repair that was cut off lacks what comes.
    switch::discard(data).map_err(|error| format!("cannot remove an unused catalog: {error}"))?;
    Ok((catalog_store, loaded))
}

/// Start of the journal, before anything is opened; `None`: there is no journal.
pub(in crate::store) fn journal_start<D: Disk>(
    disk: &Arc<D>,
    data: &Path,
) -> Result<Option<Position>, OpenError> {
    let folder = data.join(JOURNAL);
    disk.create_dir_all(&folder)
        .map_err(|source| OpenError::Io { what: format!("cannot create {}", folder.display()), source })?;
    Ok(ReadOnlyLog::open(Arc::clone(disk), &folder)?.map(|journal| journal.start_position()))
}

/// Loads the catalog, and checks that blocks and journal together hold everything acknowledged.
pub(in crate::store) fn load<D: Disk>(
    disk: &D,
    data: &Path,
    catalog_store: &CatalogStore,
    journal: Option<Position>,
    report: &mut OpenReport,
) -> Result<Loaded, String> {
    let loaded = catalog_store.load()?;
    for finding in &loaded.findings {
        tracing::error!(finding, "the store is damaged");
        report.damage += 1;
    }
    let known = loaded.meta.flushed_to;
    let released = match marker::released(disk, data, journal) {
        Ok(released) => released,
        Err(error @ AtomicFileError::Damaged { .. }) => {
            tracing::error!(%error, "the store is damaged: the journal's start is used as the position that the blocks must have reached");
            report.damage += 1;
            journal.unwrap_or(Position::ZERO)
        }
        Err(error) => return Err(error.to_string()),
    };
    if known < released && journal.is_none_or(|start| start > known) {
        return Err(format!(
            "they reach journal position {known}, but were complete up to {released} before, and the journal no longer \
             holds the missing part"
        ));
    }
    if known < released {
        tracing::error!(
            %known, %released,
            "flushed windows went back to an older state: the journal still holds the missing part, nothing is lost"
        );
        report.damage += 1;
    }
    Ok(loaded)
}

/// Applies the journal from a position on.
fn replay<D: Disk>(inner: &Inner<D>, from: Position, report: &mut OpenReport) -> Result<(), OpenError> {
    let failed = |what: String| OpenError::Replay(what);
    let mut reader = inner.log.read(from);
    let mut buffer = Vec::new();
    loop {
        match reader.next(&mut buffer).map_err(|e| failed(e.to_string()))? {
            ReadEvent::Record(position) => {
                replay_one(inner, position, std::mem::take(&mut buffer), report);
                write(&inner.state).applied_to = position.next();
            }
            ReadEvent::Damage(damage) => {
                report.damage += 1;
                tracing::error!(%damage, "the store's journal is damaged");
            }
            ReadEvent::End => break,
        }
        let memtable = read(&inner.state).memtable.bytes();
        if memtable > inner.config.memory_bytes_max {
            match flusher::flush_applied(inner) {
                Ok(()) => {}
                // Senders waited at the limit, so the journal holds hardly more, unless rounds ended half-way: then
                // it is better to start than to wait for space.
                Err(FlushError::Space { .. } | FlushError::Refused(_))
                    if memtable / 2 <= inner.config.memory_bytes_max => {}
                Err(error) => return Err(failed(error.to_string())),
            }
        }
    }
    write(&inner.state).applied_to = inner.log.durable();
    Ok(())
}

fn replay_one<D: Disk>(inner: &Inner<D>, position: Position, record: Vec<u8>, report: &mut OpenReport) {
    let entry = entry::decode(record.into()).map_err(|e| e.to_string());
    let checked = match entry.and_then(|entry| CheckedBatch::new(entry).map_err(|e| e.to_string())) {
        Ok(checked) => checked,
        Err(reason) => {
            report.damage += 1;
            tracing::error!(%position, reason, "an entry of the store's journal cannot be read");
            return;
        }
    };
    let lost = write(&inner.state).apply(&checked);
    report.replayed += 1;
    if lost == 0 {
        return;
    }
    let what = lost_batches(checked.epoch(), checked.batch().shard, checked.follows(), lost);
    tracing::error!(lost = what, "acknowledged batches are lost by damage to the store's journal");
    report.lost_batches = report.lost_batches.saturating_add(lost);
    if report.lost.len() < LOST_MAX {
        report.lost.push(what);
    }
}

/// Describes the lost batches: the `lost` batches up to number `to`.
pub(in crate::store) fn lost_batches(epoch: &GatewayEpoch, shard: u32, to: u64, lost: u64) -> String {
    let from = to.saturating_sub(lost.saturating_sub(1));
    format!("gateway {}, epoch {}, shard {shard}: batches {from} to {to}", epoch.gateway, epoch.id)
}

mod tables;
#[cfg(test)]
mod tests;
mod times;
