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
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use catchment_journal::{DataDir, Disk, GroupLog, Position, RealDisk};
use catchment_proto::GatewayId;
use catchment_settings::supervise::latest_panic;
use tokio::sync::watch;

use super::{
    apply::{CheckedBatch, LiveLimits, StoreState},
    block_store::BlockStore,
    config::StoreConfig,
    epochs::PendingEpochs,
    flush_signal::FlushSignal,
    quota::Quota,
    records::Meta,
};

/// The last batch of a shard that was appended to the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LastAppended {
    pub(super) number: u64,
    pub(super) position: Position,
}

/// The run of an epoch that began last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CurrentRun {
    pub(super) run: u64,
    /// Streams of the epoch that have not ended: each may still deliver.
    pub(super) streams: usize,
}

/// Batches between the senders and the state, and the data that decides which are admitted.
#[derive(Debug)]
pub(super) struct AdmissionState {
    /// By gateway and epoch, then by shard; never more epochs than the catalog has.
    pub(super) last_appended: HashMap<(GatewayId, u64), Vec<LastAppended>>,
    /// The run that began last, by gateway and epoch; one per epoch with a stream.
    pub(super) current_runs: HashMap<(GatewayId, u64), CurrentRun>,
    /// Epochs of batches in the journal that are not applied yet.
    pub(super) pending_epochs: PendingEpochs,
    /// Batches in the journal that are not applied yet.
    pub(super) pending: VecDeque<(Position, CheckedBatch)>,
    pub(super) pending_bytes: usize,
    pub(super) duplicates: u64,
    pub(super) closed: bool,
    /// How many series each gateway may have.
    pub(super) quota: Quota,
}

impl AdmissionState {
    pub(super) fn new(quota: Quota) -> Self {
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
pub(super) struct FlushProgress {
    pub(super) rounds: u64,
    pub(super) flushed: u64,
    pub(super) closed: bool,
}

/// The embedded store without its threads.
pub(super) struct Inner<D: Disk = RealDisk> {
    pub(super) config: StoreConfig,
    pub(super) live_limits: LiveLimits,
    pub(super) state: RwLock<StoreState>,
    pub(super) admission: Mutex<AdmissionState>,
    /// Held by the sender that is about to append, while it waits for room: senders proceed in order.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Held by any code that changes blocks: the metadata of the last write batch.
    pub(super) flush_lock: Mutex<Meta>,
    /// The disk of the journal and the data folder.
    pub(super) disk: Arc<D>,
    pub(super) log: GroupLog<D>,
    pub(super) blocks: BlockStore,
    /// The data folder.
    pub(super) folder: PathBuf,
    pub(super) flushed_to: AtomicU64,
    pub(super) forgotten: AtomicU64,
    /// Damaged places found by the start.
    pub(super) damage: u64,
    /// Series with damaged or missing blocks, found by the check since the start.
    pub(super) damaged_series: AtomicU64,
    pub(super) progress: watch::Sender<FlushProgress>,
    pub(super) signal: FlushSignal,
    pub(super) failure: OnceLock<Arc<str>>,
    /// What is gone of the folder, once noticed.
    pub(super) folder_gone: OnceLock<Arc<str>>,
    /// The folder could not be checked, and that was reported.
    pub(super) folder_check_failed: AtomicBool,
    /// Dropped last: holds the lock on the folder. `None` in a simulation, which has no lock.
    pub(super) data_dir: Option<DataDir>,
}

impl<D: Disk> Inner<D> {
    /// Applies the batches that have become durable.
    pub(super) fn apply_durable(&self) {
        let durable = self.log.durable();
        if lock(&self.admission).pending.front().is_none_or(|(position, _)| *position >= durable)
            && read(&self.state).applied_to >= durable
        {
            return;
        }
        let mut state = write(&self.state);
        if self.is_half_applied() {
            // It is unknown what was applied: the next start replays it from the journal.
            return;
        }
        let (durable, ready) = {
            let mut admission = lock(&self.admission);
            let durable = self.log.durable();
            let count = admission.pending.iter().take_while(|(position, _)| *position < durable).count();
            let ready: Vec<CheckedBatch> =
                admission.pending.drain(..count).map(|(_, checked)| checked).collect();
            let bytes: usize = ready.iter().map(CheckedBatch::bytes).sum();
            admission.pending_bytes = admission.pending_bytes.saturating_sub(bytes);
            // They enter the catalog before anybody sees the state again.
            for checked in &ready {
                let (epoch, names) = (checked.epoch(), checked.batch().names_epoch);
                admission.quota.release(&epoch.gateway, &checked.new_series);
                admission.pending_epochs.release(&epoch.gateway, [epoch.id, names]);
            }
            (durable, ready)
        };
        for checked in &ready {
            state.apply(checked);
        }
        state.applied_to = state.applied_to.max(durable);
    }

    /// Requests a flush round once memory or journal have grown enough.
    pub(super) fn flush_if_due(&self) {
        let journal = self.log.durable().get().saturating_sub(self.flushed_to.load(Ordering::Acquire));
        let memtable = read(&self.state).memtable.bytes();
        if journal > self.config.flush_journal_bytes || memtable > self.config.memory_bytes_max / 2 {
            self.signal.request(|request| request.flush = true);
        }
    }

    /// Makes the store fail for good, and wakes everybody who waits.
    pub(super) fn fail(&self, reason: Arc<str>) {
        if self.failure.set(Arc::clone(&reason)).is_ok() {
            tracing::error!(%reason, "the store has failed and acknowledges nothing more: fix the cause, then restart the aggregator");
        }
        self.progress.send_modify(|_| ());
    }

    /// Why the store has failed, if it has.
    pub(super) fn failure(&self) -> Option<Arc<str>> {
        let failed = self.failure.get().cloned().or_else(|| self.log.poisoned());
        failed.or_else(|| self.is_half_applied().then(|| HALF_APPLIED.into()))
    }

    /// Whether a panic interrupted a change of the state, of admission or of the blocks. Memory may then lack data
    /// that the journal holds: nothing may be acknowledged, flushed or released any more.
    pub(super) fn is_half_applied(&self) -> bool {
        self.state.is_poisoned() || self.admission.is_poisoned() || self.flush_lock.is_poisoned()
    }

    /// Like [`Inner::failure`]; also reports a panic to everybody who waits.
    pub(super) fn notice_failure(&self) -> Option<Arc<str>> {
        if self.failure.get().is_none() && self.is_half_applied() {
            self.fail(format!("{HALF_APPLIED}: {}", latest_panic()).into());
        }
        self.failure()
    }
}

const HALF_APPLIED: &str = "a panic interrupted a change of the store";

/// Locks, even after a panic: code that changes something must ask [`Inner::is_half_applied`].
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading.
pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing.
pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
