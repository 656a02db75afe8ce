//! Where partials live: the trait that ingest and query see, and its implementations.
//!
//! A partial has a name (gateway, epoch, shard, series, window, part) and a revision; a store keeps the highest
//! revision under each name, so delivering anything twice, late, or in another order changes nothing.

mod admission;
mod apply;
mod block;
mod block_store;
mod catalog;
mod check;
mod config;
mod copy;
mod embedded;
mod entry;
mod epochs;
mod flush_marker;
mod flush_signal;
mod flusher;
mod folder_watch;
mod forget;
mod forget_series;
mod gaps;
mod groups;
mod inner;
mod listing;
mod live;
mod locks;
mod loss;
#[cfg(any(test, feature = "sim"))]
mod manual;
#[cfg(any(test, feature = "sim"))]
mod memory;
mod memtable;
mod open;
mod progress_report;
mod quota;
mod records;
mod repair;
mod row;
mod runs;
mod salvage;
mod scan;
mod sealed;
mod sled_tree;
mod stats;
mod tail;
#[cfg(test)]
mod testing;
mod tree;
mod verify;

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{Batch, GatewayId, SeriesKey, SharedSeries};
use futures_util::future::BoxFuture;

#[cfg(any(test, feature = "sim"))]
pub use self::memory::MemoryTree;
pub use self::{
    config::{OpenReport, Shortage, StoreConfig, StoreStats},
    embedded::EmbeddedStore,
    open::OpenError,
    progress_report::ProgressReport,
    repair::{RepairReport, repair},
    runs::{PreviousRuns, RunDelivered, previous_runs},
    verify::{VerifyReport, verify},
};
pub(crate) use self::{open::KIND, verify::lock_existing};

/// One life of a gateway's data folder, from which batches come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayEpoch {
    /// The gateway, as its certificate says.
    pub gateway: GatewayId,
    /// Identity of its data folder.
    pub id: u64,
    /// When that folder was created, Unix milliseconds.
    pub created_ms: i64,
    /// Number of its shards.
    pub shards: u32,
    /// The run of the gateway that delivers; 0: it did not say.
    pub run: u64,
    /// Runs before it on that folder.
    pub previous_runs: PreviousRuns,
}

impl GatewayEpoch {
    /// Whether two runs deliver from the same life of a folder.
    pub fn is_same_folder(&self, other: &Self) -> bool {
        (self.id, &self.gateway) == (other.id, &other.gateway)
    }
}

/// How far a shard was delivered before, and by which runs of its gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Highest durable batch number; 0: none.
    pub number: u64,
    /// The last runs that delivered, in order.
    pub runs: Vec<RunDelivered>,
}

/// Number of a series in a store; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// A series and what the store knows of it.
#[derive(Clone, Debug)]
pub struct SeriesEntry {
    /// Its number in this store.
    pub id: SeriesId,
    /// The gateway that delivers it.
    pub gateway: GatewayId,
    /// Device, metric and labels.
    pub key: SeriesKey,
    /// Start of its first and of its last window.
    pub windows: (Timestamp, Timestamp),
    /// Event time of its newest reading.
    pub last_reading: Timestamp,
}

/// A gateway and how far it has delivered.
#[derive(Clone, Debug)]
pub struct GatewayEntry {
    /// The gateway and its present (newest created) epoch.
    pub epoch: GatewayEpoch,
    /// Everything up to here is closed and delivered, by all of its shards; `None`: never yet. Never goes back
    /// within an epoch.
    pub watermark: Option<Timestamp>,
    /// What of that is known to be lost, in order of time, at most 64.
    pub gaps: Vec<Gap>,
    /// Series that the store holds of it, whichever data folder delivered them.
    pub series: u64,
    /// The budget that it was told last; `None`: none yet, or the store gives none.
    pub series_max: Option<u64>,
}

/// Windows of a gateway that were closed and are not in the store, all of them or some. With them may be lost what came late
/// for earlier windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// They end after this; `None`: from the beginning.
    pub from: Option<Timestamp>,
    /// They end at or before this; `None`: that is not known yet.
    pub to: Option<Timestamp>,
    /// Batches that are missing; 0: it is not known how many.
    pub batches: u64,
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In order; there may be none although the list continues.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<u32>,
}

/// The partials of a series in a stretch of time.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// In order of their windows; there may be none.
    pub rows: Vec<StoredPartial>,
    /// Where the next stretch begins.
    pub next: Timestamp,
}

/// A partial as it is stored.
#[derive(Clone, Debug)]
pub struct StoredPartial {
    /// Its window.
    pub window: Window,
    /// Encoded relative to the window's start.
    pub body: Bytes,
}

impl StoredPartial {
    /// Decodes it; `series` is for the message.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn partial(&self, series: SeriesId) -> Result<Partial, StoreError> {
        let start = self.window.start();
        Partial::decode(&self.body, start)
            .map_err(|error| StoreError::Read(format!("series {}, window {start:?}: {error}", series.0)))
    }
}

/// What can go wrong in a store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store has no room; it takes again when there is. The sender must wait and send again.
    #[error("the store has no room: {0}")]
    Full(String),
    /// The batch has new series for which there is no room; nothing of it was taken. It can be sent again when there
    /// is.
    #[error("{message}")]
    TooManySeries {
        /// Which bound is full, and what to do.
        message: String,
    },
    /// The batch is of a data folder that is new, and for which there is no room; nothing of it was taken.
    #[error("{message}")]
    TooManyEpochs {
        /// Which bound is reached, and what to do.
        message: String,
    },
    /// A batch does not follow its predecessor of the same stream.
    #[error("shard {shard}: batch {got} does not follow {highest}")]
    Gap {
        /// The shard.
        shard: u32,
        /// Highest number that was applied.
        highest: u64,
        /// The number that came.
        got: u64,
    },
    /// Another run of the gateway has begun to deliver from the same folder; nothing of the batch was taken.
    #[error("another run of this gateway delivers from the same data folder")]
    Superseded,
    /// A partial of the batch cannot be decoded; nothing of the batch was taken.
    #[error("entry {entry}: {reason}")]
    Body {
        /// Its number within the batch.
        entry: usize,
        /// Why.
        reason: String,
    },
    /// A write or sync failed, nothing more is acknowledged by this process.
    #[error("the store has failed and takes nothing more: {0}")]
    Poisoned(Arc<str>),
    /// Reading failed.
    #[error("the store cannot be read: {0}")]
    Read(String),
}

/// Partials by series and window.
pub trait Store: Send + Sync + 'static {
    /// Takes a batch. `Ok` means that it survives a crash (a live batch: that it is visible to queries). A number
    /// seen before is `Ok` and changes nothing. `stream_start` marks the first batch of its shard on a stream, for
    /// which a number beyond the next is taken too (this store lost what came before, or never had it) and counted.
    ///
    /// The future may be dropped at any await: the batch is then either taken or not, and will be sent again.
    fn put<'a>(
        &'a self,
        epoch: &'a GatewayEpoch,
        batch: Batch,
        stream_start: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// A stream of an epoch lives from here on, until [`Store::detach`]. Nothing lasts of a stream that brings no
    /// batch.
    fn attach(&self, _epoch: &GatewayEpoch) {}

    /// A stream of an epoch is over: nothing that it brought is on its way.
    fn detach(&self, _epoch: &GatewayEpoch) {}

    /// A run begins to deliver: nothing of another run of the same folder is taken from here on, and everything that was taken
    /// before is durable and in the answer.
    fn begin<'a>(&'a self, epoch: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>>;

    /// A shard has closed its windows up to a watermark, and delivered all of its batches. Not durable by itself.
    ///
    /// # Errors
    /// [`StoreError::Superseded`].
    fn progress(&self, epoch: &GatewayEpoch, report: &ProgressReport) -> Result<(), StoreError>;

    /// When a data folder was created, Unix milliseconds, as far as this store knows.
    fn created_ms(&self, epoch: &GatewayEpoch) -> Option<i64>;

    /// The newest epoch of a gateway, if that is newer than this one, has no stream, this one never delivered beside it, and there is a
    /// place for another.
    fn newer_epoch(&self, _epoch: &GatewayEpoch) -> Option<u64> {
        None
    }

    /// Highest durable batch number of each shard of an epoch.
    fn delivered(&self, epoch: &GatewayEpoch) -> Vec<u64>;

    /// An epoch has no stream any more: forgets the live state of its open windows.
    fn drop_live(&self, epoch: &GatewayEpoch);

    /// The series from a number on, ordered by id, a bounded page of them. Whatever is done with them, and however long it
    /// takes, holds nothing up: a series that is not in the page is new or gone.
    fn series_from(&self, from: SeriesId) -> Page<SeriesEntry>;

    /// The gateways that ever delivered, and those that said hello since a start, from a number on, a bounded page of them.
    fn gateways_from(&self, from: u32) -> Page<GatewayEntry>;

    /// The partials of the first stretch of time at or after `from` in which a series may have windows that start before `to`:
    /// the highest revision of each name, in order of their windows. `None`: there are no more. Blocks on the disk: call
    /// it on a thread that may.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn chunk(&self, series: SeriesId, from: Timestamp, to: Timestamp) -> Result<Option<Chunk>, StoreError>;

    /// All series for which `wanted` answers yes, ordered by id. For tests and small stores: it walks all of them.
    fn series(&self, wanted: &dyn Fn(&GatewayId, &SeriesKey) -> bool) -> Vec<SeriesEntry> {
        let mut found = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            let page = self.series_from(SeriesId(from));
            found.extend(page.entries.into_iter().filter(|entry| wanted(&entry.gateway, &entry.key)));
            next = page.next;
        }
        found
    }

    /// Every gateway that ever delivered, or said hello since the start. For tests and small stores: it walks all of them.
    fn gateways(&self) -> Vec<GatewayEntry> {
        let mut found = Vec::new();
        let mut next = Some(0);
        while let Some(from) = next {
            let page = self.gateways_from(from);
            found.extend(page.entries);
            next = page.next;
        }
        found
    }

    /// Visits the partials of the series whose windows start in [from, to): the highest revision of each name,
    /// series by series in the order given, windows in order of their start. Blocks on the disk: call it on a
    /// thread that may.
    ///
    /// # Errors
    /// [`StoreError::Read`]; what was visited before is valid.
    fn scan(
        &self,
        series: &[SeriesId],
        from: Timestamp,
        to: Timestamp,
        visit: &mut dyn FnMut(SeriesId, Window, &Partial) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for id in series {
            let mut at = from;
            while at < to
                && let Some(chunk) = self.chunk(*id, at, to)?
            {
                for row in &chunk.rows {
                    if visit(*id, row.window, &row.partial(*id)?).is_break() {
                        return Ok(());
                    }
                }
                at = chunk.next;
            }
        }
        Ok(())
    }

    /// Forgets the windows that end before; returns how many partials went.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] when the disk fails.
    fn forget_before(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// The most series that the data folder of an epoch may hold, so that all of them find places here; `None`: this
    /// store has no such bound. What it answers is reserved for that gateway.
    fn series_budget(&self, epoch: &GatewayEpoch) -> Option<u64>;

    /// A series that the store has, to be shared by streams of its gateway; `None`: it has not, or does not share.
    fn known_series(&self, _gateway: &GatewayId, _key: &SeriesKey) -> Option<SharedSeries> {
        None
    }

    /// Forgets the series for which `wanted` answers yes, with all windows that were durable when this was called; returns how
    /// many series. A crash in between forgets less. A series that is delivered again is a new one. Blocks on the disk: call it
    /// on a thread that may.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk is full: try again when it is not. [`StoreError::Poisoned`] when it fails.
    fn forget_series(&self, wanted: &dyn Fn(&GatewayId, &SeriesKey) -> bool) -> Result<u64, StoreError>;

    /// Makes durable what only memory holds, and stops; used once, at an ordered end.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What there is no room for now. Asks the file system: call it on a thread that may wait.
    fn shortage(&self) -> Shortage {
        Shortage::default()
    }

    /// Why nothing more is acknowledged, when that is so.
    fn poisoned(&self) -> Option<Arc<str>>;

    /// What is missing of the data folder, once that was noticed: the reason for the failure.
    fn folder_gone(&self) -> Option<Arc<str>> {
        None
    }

    /// Checks that the data folder is still in its place; blocks on the disk.
    ///
    /// # Errors
    /// What is gone; the store has failed then.
    fn check_folder(&self) -> Result<(), Arc<str>> {
        Ok(())
    }
}
