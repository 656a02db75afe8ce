//! The embedded store: journal, memory and sled blocks in one data folder, for one aggregator.
//!
//! A batch is checked, appended to the journal, and acknowledged once the journal is synced; only then do queries see
//! it. Memory holds the state folded from the journal (`apply`); the flusher moves it into sled and releases the
//! journal (`flusher`). A start loads the catalog from sled and replays the journal from the end of the blocks
//! (`open`).
//!
//! Backpressure: when memory is full, senders wait in order until the flusher has made room; when the journal is
//! full, they get an error and nothing of the batch is stored. Neither gives up acknowledged data.

pub(in crate::store) mod background;
pub(in crate::store) mod config;
pub(in crate::store) mod inner;
pub(in crate::store) mod locks;
#[cfg(any(test, feature = "sim"))]
pub(in crate::store) mod manual;
pub(in crate::store) mod stats;

use std::{sync::Arc, thread::JoinHandle};

use catchment_journal::{Commit, Disk, RealDisk, Watchdog};
use catchment_partial::Timestamp;
use catchment_proto::{Batch, GatewayId, SeriesKey, SharedSeries, batch::SHARDS_MAX};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

use crate::{
    selector::Selector,
    store::{
        ChangeListener, Delivered, GatewayEntry, GatewayEpoch, Page, ProgressReport, Retained, RetentionRule,
        RowReader, RowRequest, Selection, SeriesEntry, SeriesId, Shortage, Store, StoreError,
        catalog::index::{indexer, selection::IndexSelection},
        embedded::{
            background::{Background, guarded},
            inner::Inner,
            locks::{lock, read, write},
        },
        removal::{forget_series, retain},
        salvage::{check, folder_watch},
        tables::{compactor, reader::TableReader},
        wal::{
            admission::{AdmitOutcome, stopping},
            apply::CheckedBatch,
            entry::JournalEntry,
        },
    },
};

/// A store in a data folder of its own. Dropping it stops its threads; [`Store::close`] also flushes what memory holds.
pub struct EmbeddedStore<D: Disk = RealDisk> {
    pub(in crate::store) inner: Arc<Inner<D>>,
    flusher: Option<JoinHandle<()>>,
    compactor: Option<Background>,
    checker: Option<Background>,
    indexer: Option<Background>,
    folder: Option<Watchdog>,
}

impl<D: Disk> EmbeddedStore<D> {
    /// A store whose owner drives the flushes.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::store) fn without_flusher(inner: Arc<Inner<D>>) -> Self {
        Self { inner, flusher: None, compactor: None, checker: None, indexer: None, folder: None }
    }

    /// Starts the flusher and the block check of an opened store.
    pub(in crate::store) fn start(inner: Arc<Inner<D>>) -> std::io::Result<Self> {
        let shared = Arc::clone(&inner);
        let thread = std::thread::Builder::new().name("store-flusher".to_owned());
        let flusher = thread.spawn(move || {
            guarded(&shared, "flushes windows", || crate::store::flush::flusher::run(&shared))
        })?;
        let mut store = Self {
            inner,
            flusher: Some(flusher),
            compactor: None,
            checker: None,
            indexer: None,
            folder: None,
        };
        store.folder = Some(folder_watch::watch(&store.inner)?);
        store.indexer = Some(Background::start(&store.inner, "store-index", indexer::run)?);
        store.compactor = Some(Background::start(&store.inner, "store-compactor", |inner, stop| {
            guarded(inner, "merges tables", || compactor::run(inner, stop));
        })?);
        store.checker = Some(Background::start(&store.inner, "store-check", |inner, stop| {
            guarded(inner, "checks tables", || check::run(inner, stop));
        })?);
        Ok(store)
    }

    /// Lets a test see what commits notice by themselves.
    #[cfg(test)]
    pub(in crate::store) fn stop_watching(&mut self) {
        self.folder = None;
    }

    /// Requests a flush and waits until a round that began after this call has ended.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`].
    pub async fn flush(&self) -> Result<(), StoreError> {
        let mut progress = self.inner.progress.subscribe();
        // A round in progress may not include what was applied since it began: the second round does.
        for _ in 0..2 {
            let rounds = progress.borrow_and_update().rounds;
            self.inner.signal.request(|request| request.flush = true);
            let done =
                progress.wait_for(|p| p.rounds > rounds || p.closed || self.inner.failure().is_some()).await;
            drop(done);
            self.inner.healthy()?;
        }
        Ok(())
    }

    async fn put_final(
        &self,
        epoch: &GatewayEpoch,
        batch: Batch,
        stream_start: bool,
    ) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let mut checked =
            Box::new(CheckedBatch::new(JournalEntry { epoch: epoch.clone(), follows: 0, batch })?);
        let mut commits = inner.log.subscribe();
        let position = {
            let _turn = inner.turn.lock().await;
            loop {
                self.room(&mut commits).await?;
                commits.mark_unchanged();
                match inner.admit(checked, stream_start)? {
                    AdmitOutcome::InJournal(position) => break position,
                    AdmitOutcome::AlreadyDurable => return Ok(()),
                    AdmitOutcome::BufferFull(again) => checked = again,
                }
                commits.changed().await.map_err(|_| ended())?;
            }
        };
        let durable = |commit: &Commit| commit.durable > position || commit.poisoned.is_some();
        let commit = commits.wait_for(durable).await.map_err(|_| ended())?.clone();
        if commit.durable <= position {
            return Err(StoreError::Poisoned(
                commit.poisoned.unwrap_or_else(|| "the journal has closed".into()),
            ));
        }
        inner.apply_durable();
        inner.healthy()?;
        inner.flush_if_due();
        Ok(())
    }

    /// Waits until memory has room for another batch.
    async fn room(&self, commits: &mut watch::Receiver<Commit>) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let mut progress = inner.progress.subscribe();
        loop {
            progress.mark_unchanged();
            commits.mark_unchanged();
            inner.healthy()?;
            inner.apply_durable();
            let waiting = {
                let admission = lock(&inner.admission);
                if admission.closed {
                    return Err(stopping());
                }
                admission.pending_bytes
            };
            if read(&inner.state).memtable.bytes() + waiting < inner.config.memory_bytes_max {
                return Ok(());
            }
            inner.signal.request(|request| request.flush = true);
            tokio::select! {
                biased;
                flushed = progress.changed() => flushed.map_err(|_| ended())?,
                committed = commits.changed() => committed.map_err(|_| ended())?,
            }
        }
    }

    fn put_live(&self, epoch: &GatewayEpoch, batch: Batch) -> Result<(), StoreError> {
        let inner = &*self.inner;
        inner.healthy()?;
        inner.check_epochs(epoch, batch.names_epoch)?;
        if !inner.is_current_run(epoch) {
            return Err(StoreError::Superseded);
        }
        let checked = CheckedBatch::new(JournalEntry { epoch: epoch.clone(), follows: 0, batch })?;
        inner.apply_durable();
        let mut state = write(&inner.state);
        let room = inner.has_room_for_series(&state, &checked);
        state.apply_live(&checked, inner.live_limits, room);
        Ok(())
    }
}

fn ended() -> StoreError {
    StoreError::Poisoned("the store has closed".into())
}

impl<D: Disk> Store for EmbeddedStore<D> {
    fn put<'a>(
        &'a self,
        epoch: &'a GatewayEpoch,
        batch: Batch,
        stream_start: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if batch.live {
            return std::future::ready(self.put_live(epoch, batch)).boxed();
        }
        self.put_final(epoch, batch, stream_start).boxed()
    }

    fn progress(&self, epoch: &GatewayEpoch, report: &ProgressReport) -> Result<(), StoreError> {
        self.inner.apply_durable();
        if !self.inner.is_current_run(epoch) {
            return Err(StoreError::Superseded);
        }
        // The batches before it may be missing in memory.
        if report.shard >= epoch.shards.min(SHARDS_MAX) || self.inner.is_half_applied() {
            return Ok(());
        }
        write(&self.inner.state).catalog.progress_of(epoch, report);
        Ok(())
    }

    fn attach(&self, epoch: &GatewayEpoch) {
        self.inner.attach(epoch);
    }

    fn detach(&self, epoch: &GatewayEpoch) {
        if self.inner.detach(epoch) {
            self.drop_live(epoch);
        }
    }

    fn created_ms(&self, epoch: &GatewayEpoch) -> Option<i64> {
        let catalog = &read(&self.inner.state).catalog;
        let Some(number) = catalog.find_epoch(&epoch.gateway, epoch.id) else {
            return catalog.provisional_created_ms(epoch);
        };
        catalog.epoch(number).map(|known| known.epoch.created_ms)
    }

    fn begin<'a>(&'a self, epoch: &'a GatewayEpoch) -> BoxFuture<'a, Result<Vec<Delivered>, StoreError>> {
        async {
            let inner = &*self.inner;
            let (end, changed) = inner.fence(epoch);
            let mut commits = inner.log.subscribe();
            let settled = commits.wait_for(|c| c.durable >= end || c.poisoned.is_some()).await;
            drop(settled.map_err(|_| ended())?);
            inner.healthy()?;
            inner.apply_durable();
            if changed {
                // An earlier run's live state may come from another branch of the folder's history.
                self.drop_live(epoch);
            }
            let catalog = &mut write(&inner.state).catalog;
            catalog.begin(epoch);
            let number = catalog.find_epoch(&epoch.gateway, epoch.id);
            let delivered =
                |shard| number.map_or_else(Delivered::default, |number| catalog.delivered_by(number, shard));
            Ok((0..epoch.shards.min(SHARDS_MAX)).map(delivered).collect())
        }
        .boxed()
    }

    fn newer_epoch(&self, epoch: &GatewayEpoch) -> Option<u64> {
        let newer = read(&self.inner.state).catalog.newer_epoch(epoch);
        // Without room for the new epoch, a folder that begins one could not deliver any more.
        newer.filter(|_| self.inner.has_room_for_epoch(epoch))
    }

    fn delivered(&self, epoch: &GatewayEpoch) -> Vec<u64> {
        self.inner.apply_durable();
        let shards = 0..epoch.shards.min(SHARDS_MAX);
        let catalog = &read(&self.inner.state).catalog;
        let number = catalog.find_epoch(&epoch.gateway, epoch.id);
        shards.map(|shard| number.map_or(0, |number| catalog.delivered(number, shard))).collect()
    }

    fn drop_live(&self, epoch: &GatewayEpoch) {
        let state = &mut *write(&self.inner.state);
        state.catalog.end(epoch);
        let Some(number) = state.catalog.find_epoch(&epoch.gateway, epoch.id) else { return };
        if let Some(gateway) = state.catalog.epoch(number).map(|known| known.gateway) {
            state.drop_live(gateway, number);
        }
    }

    fn series_from(&self, from: SeriesId) -> Page<SeriesEntry> {
        self.inner.apply_durable();
        read(&self.inner.state).catalog.entries_from(from.0)
    }

    fn select<'a>(&'a self, selector: &'a Selector) -> Box<dyn Selection + 'a> {
        self.inner.apply_durable();
        Box::new(IndexSelection::new(&self.inner.state, selector))
    }

    fn gateways_from(&self, from: u32) -> Page<GatewayEntry> {
        self.inner.apply_durable();
        let state = read(&self.inner.state);
        let mut page = state.catalog.gateway_entries_from(from);
        let quota = &lock(&self.inner.admission).quota;
        for entry in &mut page.entries {
            // The folder still holds the names of forgotten series, so its own budget is larger by those.
            let forgotten = state.catalog.forgotten(&entry.epoch.gateway);
            let sent = quota.last_sent(&entry.epoch.gateway);
            entry.series_max = sent.map(|sent| sent.saturating_sub(forgotten));
        }
        page
    }

    fn series_budget(&self, epoch: &GatewayEpoch) -> Option<u64> {
        self.inner.apply_durable();
        self.inner.check_epochs(epoch, 0).ok()?;
        Some(self.inner.series_budget(epoch))
    }

    fn known_series(&self, gateway: &GatewayId, key: &SeriesKey) -> Option<SharedSeries> {
        read(&self.inner.state).catalog.known_series(gateway, key)
    }

    fn forget_series(&self, wanted: &dyn Fn(&GatewayId, &SeriesKey) -> bool) -> Result<u64, StoreError> {
        self.inner.healthy()?;
        forget_series::forget_series(&self.inner, wanted)
    }

    fn rows<'a>(&'a self, request: &RowRequest) -> Result<Box<dyn RowReader + 'a>, StoreError> {
        Ok(Box::new(TableReader::new(&self.inner, request)?))
    }

    fn listen(&self, listener: Arc<dyn ChangeListener>) {
        write(&self.inner.state).listen(listener);
    }

    fn retain(&self, rules: &[RetentionRule], now: Timestamp) -> Result<Retained, StoreError> {
        self.inner.healthy()?;
        retain::retain(&self.inner, rules, now)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            let inner = &*self.inner;
            let end = {
                let mut admission = lock(&inner.admission);
                admission.closed = true;
                inner.log.end()
            };
            let mut commits = inner.log.subscribe();
            let settled = commits.wait_for(|c| c.durable >= end || c.poisoned.is_some()).await;
            drop(settled.map_err(|_| ended())?);
            inner.healthy()?;
            let mut progress = inner.progress.subscribe();
            inner.signal.request(|request| request.close = true);
            let closed = progress.wait_for(|p| p.closed || inner.failure().is_some()).await;
            drop(closed);
            inner.healthy()
        }
        .boxed()
    }

    fn shortage(&self) -> Shortage {
        let inner = &*self.inner;
        let waiting = lock(&inner.admission).pending_bytes;
        let memtable = read(&inner.state).memtable.bytes();
        let memory = memtable.saturating_add(waiting) >= inner.config.memory_bytes_max;
        Shortage { journal: inner.log.shortage(), memory }
    }

    fn poisoned(&self) -> Option<Arc<str>> {
        self.inner.notice_failure()
    }

    fn folder_gone(&self) -> Option<Arc<str>> {
        self.inner.folder_gone.get().cloned()
    }

    fn check_folder(&self) -> Result<(), Arc<str>> {
        folder_watch::check(&self.inner)
    }
}

impl<D: Disk> Drop for EmbeddedStore<D> {
    fn drop(&mut self) {
        self.folder = None;
        self.inner.signal.request(|request| request.stop = true);
        self.inner.compaction.request(|request| request.stop = true);
        (self.checker, self.indexer, self.compactor) = (None, None, None);
        if let Some(flusher) = self.flusher.take()
            && flusher.join().is_err()
        {
            tracing::error!("the store's flusher panicked");
        }
    }
}

#[cfg(test)]
mod tests;
