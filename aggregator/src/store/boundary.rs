//! What ingest and query know of a store: the trait and the data that it takes and gives.

mod changes;
mod rows;
pub(in crate::store) mod selection;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{Batch, GatewayId, SeriesKey, SharedSeries};
use futures_util::future::BoxFuture;

pub use self::{
    changes::{Change, ChangeListener},
    rows::{Merged, RowReader, RowRequest},
    selection::Selection,
};
use crate::{
    selector::Selector,
    store::{
        catalog::{
            progress_report::ProgressReport,
            run_history::{PreviousRuns, RunDelivered},
        },
        embedded::config::Shortage,
        error::StoreError,
    },
};

/// One epoch of a gateway: the lifetime of one data folder, which numbers its batches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayEpoch {
    /// The gateway, from its certificate.
    pub gateway: GatewayId,
    /// Identity of its data folder.
    pub id: u64,
    /// When that folder was created, Unix milliseconds.
    pub created_ms: i64,
    /// Number of its shards.
    pub shards: u32,
    /// The gateway's run that delivers; 0: not reported.
    pub run: u64,
    /// Previous runs on that folder.
    pub previous_runs: PreviousRuns,
}

impl GatewayEpoch {
    /// Whether both deliver from the same lifetime of a folder.
    pub fn is_same_folder(&self, other: &Self) -> bool {
        (self.id, &self.gateway) == (other.id, &other.gateway)
    }
}

/// What a shard has delivered, and by which runs of its gateway.
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

/// A series as listed by the store.
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

/// A gateway and its progress.
#[derive(Clone, Debug)]
pub struct GatewayEntry {
    /// The gateway with its present epoch (the newest created).
    pub epoch: GatewayEpoch,
    /// All of its shards have closed and delivered everything up to here; `None`: not yet. Never goes back within an
    /// epoch.
    pub watermark: Option<Timestamp>,
    /// Known losses before the watermark, in order of time, at most 64.
    pub gaps: Vec<Gap>,
    /// Number of its series in the store, from whichever data folder.
    pub series: u64,
    /// The series budget last sent to it; `None`: none yet, or the store gives none.
    pub series_max: Option<u64>,
}

/// Windows of a gateway that were closed, but are missing from the store, all or some of them. Late readings of
/// earlier windows may be lost with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// They end after this; `None`: from the beginning.
    pub from: Option<Timestamp>,
    /// They end at or before this; `None`: not known yet.
    pub to: Option<Timestamp>,
    /// Number of missing batches; 0: unknown.
    pub batches: u64,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In order; may be empty although the list continues.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` at the end of the list.
    pub next: Option<u32>,
}

/// How long partials of series are kept, by resolution. The first rule whose selector matches a series counts.
#[derive(Clone, Debug, Default)]
pub struct RetentionRule {
    /// The series; an empty selector matches all.
    pub selector: Selector,
    /// How long to keep windows, minutes, hours and days after their end; `None`: forever.
    pub keep: [Option<Duration>; 4],
}

/// What [`Store::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Rows removed, of all resolutions.
    pub rows: u64,
    /// Bytes given back to the file system.
    pub bytes: u64,
    /// Series removed, because nothing is left of them.
    pub series: u64,
}

/// Stores partials by series and window.
pub trait Store: Send + Sync + 'static {
    /// Stores a batch. `Ok` means that it survives a crash (a live batch: that queries see it). A known number is
    /// `Ok` and changes nothing. `stream_start` marks the first batch of its shard on a stream: its number may skip
    /// ahead (this store lost the previous batches, or never had them), which is counted.
    ///
    /// The future may be dropped at any await: the batch is then either stored or not, and the gateway sends it
    /// again.
    fn put<'a>(
        &'a self,
        epoch: &'a GatewayEpoch,
        batch: Batch,
        stream_start: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// A stream of an epoch has begun; it lives until [`Store::detach`]. A stream without batches leaves no trace.
    fn attach(&self, _epoch: &GatewayEpoch) {}

    /// A stream of an epoch has ended: nothing of it is in flight.
    fn detach(&self, _epoch: &GatewayEpoch) {}

    /// Begins a run: from now on nothing of another run of the same folder is accepted, and everything accepted
    /// before is durable and included in the result.
    fn begin<'a>(&'a self, epoch: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>>;

    /// Records that a shard has closed its windows up to a watermark and delivered all its batches. Not durable by
    /// itself.
    ///
    /// # Errors
    /// [`StoreError::Superseded`].
    fn progress(&self, epoch: &GatewayEpoch, report: &ProgressReport) -> Result<(), StoreError>;

    /// Creation time of a data folder, Unix milliseconds, if this store knows it.
    fn created_ms(&self, epoch: &GatewayEpoch) -> Option<i64>;

    /// The gateway's newest epoch, if it is newer than this one, has no stream, this one never delivered concurrently
    /// with it, and there is room for another epoch.
    fn newer_epoch(&self, _epoch: &GatewayEpoch) -> Option<u64> {
        None
    }

    /// Highest durable batch number of each shard of an epoch.
    fn delivered(&self, epoch: &GatewayEpoch) -> Vec<u64>;

    /// Drops the live state of an epoch's open windows, once the epoch has no stream.
    fn drop_live(&self, epoch: &GatewayEpoch);

    /// A bounded page of the series from a number on, ordered by id. The caller may take its time: processing a page
    /// holds no lock. A series missing from the page is new or removed.
    fn series_from(&self, from: SeriesId) -> Page<SeriesEntry>;

    /// The series that a selector selects, ordered by id: those that there are now, and maybe some that come meanwhile.
    fn select<'a>(&'a self, selector: &'a Selector) -> Box<dyn Selection + 'a> {
        selection::walk(self, selector)
    }

    /// A bounded page, from a number on, of the gateways that ever delivered or sent a Start since the store was
    /// opened.
    fn gateways_from(&self, from: u32) -> Page<GatewayEntry>;

    /// A reader of rows of a series. Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError>;

    /// Reports changes of rows to this listener from now on; a store has one. A store without changes to report ignores it.
    fn listen(&self, _listener: Arc<dyn ChangeListener>) {}

    /// Removes what is older than the rules say, one bounded step after the other, and gives its space back. Series that
    /// no rule matches are kept. Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] if the disk fails.
    fn retain(&self, _rules: &[RetentionRule], _now: Timestamp) -> Result<Retained, StoreError> {
        Ok(Retained::default())
    }

    /// All series for which `wanted` returns true, ordered by id. Walks all series: for tests and small stores.
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

    /// All gateways of [`Store::gateways_from`]. Walks all of them: for tests and small stores.
    fn gateways(&self) -> Vec<GatewayEntry> {
        let (mut found, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let page = self.gateways_from(from);
            found.extend(page.entries);
            next = page.next;
        }
        found
    }

    /// Visits the partials of the series whose windows start in [from, to): the highest revision of each name, series
    /// by series in the given order, windows in order of their start. Blocks on the disk: call it on a thread that
    /// may block.
    ///
    /// # Errors
    /// [`StoreError::Read`]; the partials visited before are valid.
    fn scan(
        &self,
        series: &[SeriesId],
        from: Timestamp,
        to: Timestamp,
        visit: &mut dyn FnMut(SeriesId, Window, &Partial) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        for id in series {
            let resolution = Merged::OnlyWithoutWindows;
            let request = RowRequest { series: *id, from, to, step_ms: None, resolution };
            let mut reader = self.rows(&request)?;
            let mut flow = Ok(ControlFlow::Continue(()));
            let mut take = |window: Window, body: &[u8]| {
                if matches!(flow, Ok(ControlFlow::Continue(()))) {
                    flow = Partial::decode(body, window.start()).map(|partial| visit(*id, window, &partial));
                }
            };
            while reader.advance(&mut take)? {}
            let damaged = |what: String| StoreError::Read(format!("series {}: {what}", id.0));
            if let Some((first, last)) = reader.damaged().first() {
                return Err(damaged(format!("rows from {first:?} to {last:?} cannot be read")));
            }
            if flow.map_err(|error| damaged(error.to_string()))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Most series that the data folder of an epoch may hold, so that all of them find room here; `None`: this store
    /// has no such limit. The result is reserved for that gateway.
    fn series_budget(&self, epoch: &GatewayEpoch) -> Option<u64>;

    /// A stored series, to be shared by the streams of its gateway; `None`: unknown, or the store does not share.
    fn known_series(&self, _gateway: &GatewayId, _key: &SeriesKey) -> Option<SharedSeries> {
        None
    }

    /// Removes the series for which `wanted` returns true, with all windows that were durable at the call; returns
    /// the number of series. After a crash in between, fewer are removed. A series delivered again is a new one.
    /// Blocks on the disk: call it on a thread that may block.
    ///
    /// # Errors
    /// [`StoreError::Full`] if the disk is full: try again once there is space. [`StoreError::Poisoned`] if it fails.
    fn forget_series(&self, wanted: &dyn Fn(&GatewayId, &SeriesKey) -> bool) -> Result<u64, StoreError>;

    /// Makes durable whatever only memory holds, and stops; called once, for a graceful shutdown.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What lacks room now. Asks the file system: call it on a thread that may block.
    fn shortage(&self) -> Shortage {
        Shortage::default()
    }

    /// Why the store acknowledges nothing more, if it has failed.
    fn poisoned(&self) -> Option<Arc<str>>;

    /// What is gone of the data folder, once noticed: the reason of the failure.
    fn folder_gone(&self) -> Option<Arc<str>> {
        None
    }

    /// Checks that the data folder is still in its place; blocks on the disk.
    ///
    /// # Errors
    /// What is gone; the store has then failed.
    fn check_folder(&self) -> Result<(), Arc<str>> {
        Ok(())
    }
}
