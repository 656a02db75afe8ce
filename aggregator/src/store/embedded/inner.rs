//! Shared parts of the embedded store: the state, the journal and the blocks, and how a durable batch gets from the
//! journal into the state.
//!
//! Lock order: flush_lock, state, admission. A batch is appended to the journal and to `pending` under the admission
//! lock, and taken from `pending` under the state lock, so batches are applied in journal order, and none before it
//! is durable.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use catchment_journal::{DataDir, Disk, GroupLog, Position, RealDisk};
use catchment_partial::Timestamp;
use catchment_proto::GatewayId;
use catchment_settings::supervise::latest_panic;
use tokio::sync::watch;

use crate::store::{
    catalog::{catalog_store::CatalogStore, epochs::PendingEpochs, quota::Quota},
    embedded::{
        config::StoreConfig,
        locks::{lock, read, write},
    },
    flush::signal::FlushSignal,
    memtable::live::LiveLimits,
    tables::current::Tables,
    tree::records::Meta,
    wal::apply::{CheckedBatch, StoreState},
};

/// The last batch of a shard that was appended to the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct LastAppended {
    pub(in crate::store) number: u64,
    pub(in crate::store) position: Position,
    /// The shard has delivered its windows up to here, with this batch.
    pub(in crate::store) delivered_to: Option<Timestamp>,
}

/// The run of an epoch that began last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct CurrentRun {
    pub(in crate::store) run: u64,
    /// Streams of the epoch that have not ended: each may still deliver.
    pub(in crate::store) streams: usize,
}

/// Batches between the senders and the state, and the data that decides which are admitted.
#[derive(Debug)]
pub(in crate::store) struct AdmissionState {
    /// By gateway and epoch, then by shard; never more epochs than the catalog has.
    pub(in crate::store) last_appended: HashMap<(GatewayId, u64), Vec<LastAppended>>,
    /// The run that began last, by gateway and epoch; one per epoch with a stream.
    pub(in crate::store) current_runs: HashMap<(GatewayId, u64), CurrentRun>,
    /// Epochs of batches in the journal that are not applied yet.
    pub(in crate::store) pending_epochs: PendingEpochs,
    /// Batches in the journal that are not applied yet.
    pub(in crate::store) pending: VecDeque<(Position, CheckedBatch)>,
    pub(in crate::store) pending_bytes: usize,
    pub(in crate::store) duplicates: u64,
    pub(in crate::store) closed: bool,
    /// How many series each gateway may have.
    pub(in crate::store) quota: Quota,
}

impl AdmissionState {
    pub(in crate::store) fn new(quota: Quota) -> Self {
        Self {
            last_appended: HashMap::new(),
            current_runs: HashMap::new(),
            pending_epochs: PendingEpochs::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            duplicates: 0,
            closed: false,
            quota,
        }
    }
}

/// Progress of the flusher.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct FlushProgress {
    pub(in crate::store) rounds: u64,
    pub(in crate::store) flushed: u64,
    pub(in crate::store) closed: bool,
}

/// The embedded store without its threads.
pub(in crate::store) struct Inner<D: Disk = RealDisk> {
    pub(in crate::store) config: StoreConfig,
    pub(in crate::store) live_limits: LiveLimits,
    pub(in crate::store) state: RwLock<StoreState>,
    pub(in crate::store) admission: Mutex<AdmissionState>,
    /// Held by the sender that is about to append, while it waits for room: senders proceed in order.
    pub(in crate::store) turn: tokio::sync::Mutex<()>,
    /// Held by any code that changes blocks: the metadata of the last write batch.
    pub(in crate::store) flush_lock: Mutex<Meta>,
    /// The disk of the journal and the data folder.
    pub(in crate::store) disk: Arc<D>,
    pub(in crate::store) log: GroupLog<D>,
    pub(in crate::store) catalog_store: CatalogStore,
    /// The data folder.
    pub(in crate::store) folder: PathBuf,
    pub(in crate::store) flushed_to: AtomicU64,
    /// The windows on the disk.
    pub(in crate::store) tables: Tables<D>,
    /// Wakes the compactor.
    pub(in crate::store) compaction: FlushSignal,
    pub(in crate::store) forgotten: AtomicU64,
    /// Rows of days that were older than everything that is kept when they arrived.
    pub(in crate::store) expired: AtomicU64,
    /// Damaged places found by the start, and those of them that are tables.
    pub(in crate::store) damage: u64,
    pub(in crate::store) damaged_tables: u64,
    /// Series with damaged or missing blocks, found by the check since the start.
    pub(in crate::store) damaged_series: AtomicU64,
    pub(in crate::store) progress: watch::Sender<FlushProgress>,
    pub(in crate::store) signal: FlushSignal,
    pub(in crate::store) failure: OnceLock<Arc<str>>,
    /// What is gone of the folder, once noticed.
    pub(in crate::store) folder_gone: OnceLock<Arc<str>>,
    /// The folder could not be checked, and that was reported.
    pub(in crate::store) folder_check_failed: AtomicBool,
    /// Dropped last: holds the lock on the folder. `None` in a simulation, which has no lock.
    pub(in crate::store) data_dir: Option<DataDir>,
}

impl<D: Disk> Inner<D> {
    /// Applies the batches that have become durable. Others get the state between pieces of this work.
    pub(in crate::store) fn apply_durable(&self) {
        let (durable, mut again) = (self.log.durable(), false);
        while !self.is_applied(durable) {
            if std::mem::replace(&mut again, true) {
                std::thread::yield_now();
            }
            if !self.apply_some(durable) {
                return;
            }
        }
    }

    /// Whether everything before a position is applied.
    fn is_applied(&self, durable: Position) -> bool {
        lock(&self.admission).pending.front().is_none_or(|(position, _)| *position >= durable)
            && read(&self.state).applied_to >= durable
    }

    /// Applies the next batches before a durable position: as many as have [`ROWS_AT_ONCE`] rows, and one in any case.
    /// False: none, because it is unknown what was applied, and the next start replays it from the journal.
    pub(in crate::store) fn apply_some(&self, durable: Position) -> bool {
        let mut state = write(&self.state);
        if self.is_half_applied() {
            return false;
        }
        let (applied_to, ready) = {
            let admission = &mut *lock(&self.admission);
            let (mut ready, mut rows) = (Vec::new(), 0);
            while rows < ROWS_AT_ONCE
                && let Some((_, checked)) =
                    admission.pending.pop_front_if(|(position, _)| *position < durable)
            {
                rows += checked.batch().entries.len();
                admission.pending_bytes = admission.pending_bytes.saturating_sub(checked.bytes());
                // It enters the catalog before anybody sees the state again.
                let (epoch, names) = (checked.epoch(), checked.batch().names_epoch);
                admission.quota.release(&epoch.gateway, &checked.new_series);
                admission.pending_epochs.release(&epoch.gateway, [epoch.id, names]);
                ready.push(checked);
            }
            let next = admission.pending.front().map_or(durable, |(position, _)| *position);
            (next.min(durable), ready)
        };
        for checked in &ready {
            state.apply(checked);
        }
        state.applied_to = state.applied_to.max(applied_to);
        true
    }

    /// Requests a flush round once memory or journal have grown enough.
    pub(in crate::store) fn flush_if_due(&self) {
        let journal = self.log.durable().get().saturating_sub(self.flushed_to.load(Ordering::Acquire));
        let (memtable, (rows, groups)) = {
            let memtable = &read(&self.state).memtable;
            (memtable.bytes(), memtable.unfrozen())
        };
        // A backlog of few series: tables answer sooner than memory.
        let long = rows >= backlog_rows(groups);
        if long || journal > self.config.flush_journal_bytes || memtable > self.config.memory_bytes_max / 2 {
            self.signal.request(|request| request.flush = true);
        }
    }

    /// Whether memory holds twice the rows of a backlog at which a flush is due. Not while there is no space for one, nor
    /// once the store has failed: then batches meet the bounds of memory and journal.
    pub(in crate::store) fn is_behind(&self) -> bool {
        let (rows, groups) = {
            let memtable = &read(&self.state).memtable;
            (memtable.len(), memtable.unfrozen().1.max(memtable.frozen_groups()))
        };
        rows >= 2 * backlog_rows(groups) && !self.signal.is_retrying() && self.failure().is_none()
    }

    /// Makes the store fail for good, and wakes everybody who waits.
    pub(in crate::store) fn fail(&self, reason: Arc<str>) {
        if self.failure.set(Arc::clone(&reason)).is_ok() {
            tracing::error!(%reason, "the store has failed and acknowledges nothing more: fix the cause, then restart the aggregator");
        }
        self.progress.send_modify(|_| ());
    }

    /// Why the store has failed, if it has.
    pub(in crate::store) fn failure(&self) -> Option<Arc<str>> {
        let failed = self.failure.get().cloned().or_else(|| self.log.poisoned());
        failed.or_else(|| self.is_half_applied().then(|| HALF_APPLIED.into()))
    }

    /// Whether a panic interrupted a change of the state, of admission or of the blocks. Memory may then lack data
    /// that the journal holds: nothing may be acknowledged, flushed or released any more.
    pub(in crate::store) fn is_half_applied(&self) -> bool {
        self.state.is_poisoned() || self.admission.is_poisoned() || self.flush_lock.is_poisoned()
    }

    /// Like [`Inner::failure`]; also reports a panic to everybody who waits.
    pub(in crate::store) fn notice_failure(&self) -> Option<Arc<str>> {
        if self.failure.get().is_none() && self.is_half_applied() {
            self.fail(format!("{HALF_APPLIED}: {}", latest_panic()).into());
        }
        self.failure()
    }
}

/// Rows that are applied while the state is locked, about: some milliseconds. A batch alone may have eight times as many.
pub(in crate::store) const ROWS_AT_ONCE: usize = 8 << 10;

/// Rows in memory at which a backlog of few series is flushed, and how many each group of series then has.
const BACKLOG_ROWS: usize = 64 << 10;
const BACKLOG_ROWS_A_GROUP: usize = 4 << 10;

/// Rows in memory at which a backlog of some groups of series is flushed.
fn backlog_rows(groups: usize) -> usize {
    BACKLOG_ROWS.max(groups.saturating_mul(BACKLOG_ROWS_A_GROUP))
}

const HALF_APPLIED: &str = "a panic interrupted a change of the store";
