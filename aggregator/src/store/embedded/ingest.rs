//! The embedded store as streams of gateways see it.

use catchment_journal::{Commit, Disk};
use catchment_proto::{Batch, GatewayId, SeriesKey, SharedSeries, batch::SHARDS_MAX};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

use crate::store::{
    Delivered, EmbeddedStore, GatewayEpoch, IngestStore, ProgressReport, StoreError,
    embedded::{
        ended,
        locks::{lock, read, write},
        retire,
    },
    wal::{
        admission::{AdmitOutcome, stopping},
        apply::{CheckedBatch, live::LIVE_ROWS_AT_ONCE},
        entry::JournalEntry,
    },
};

impl<D: Disk> IngestStore for EmbeddedStore<D> {
    fn put<'a>(
        &'a self,
        epoch: &'a GatewayEpoch,
        batch: Batch,
        stream_start: bool,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        if batch.live {
            return self.put_live(epoch, batch).boxed();
        }
        self.put_final(epoch, batch, stream_start).boxed()
    }

    fn attach(&self, epoch: &GatewayEpoch) {
        self.inner.attach(epoch);
    }

    fn detach(&self, epoch: &GatewayEpoch) {
        if self.inner.detach(epoch) {
            self.drop_live(epoch);
        }
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
            catalog.report_usages(&mut lock(&inner.admission).quota);
            retire::take_back(inner, catalog, &epoch.gateway);
            let number = catalog.find_epoch(&epoch.gateway, epoch.id);
            let delivered =
                |shard| number.map_or_else(Delivered::default, |number| catalog.delivered_by(number, shard));
            Ok((0..epoch.shards.min(SHARDS_MAX)).map(delivered).collect())
        }
        .boxed()
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

    fn created_ms(&self, epoch: &GatewayEpoch) -> Option<i64> {
        let catalog = &read(&self.inner.state).catalog;
        let Some(number) = catalog.find_epoch(&epoch.gateway, epoch.id) else {
            return catalog.provisional_created_ms(epoch);
        };
        catalog.epoch(number).map(|known| known.epoch.created_ms)
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

    fn series_budget(&self, epoch: &GatewayEpoch) -> Option<u64> {
        self.inner.apply_durable();
        self.inner.check_epochs(epoch, 0).ok()?;
        Some(self.inner.series_budget(epoch))
    }

    fn known_series(&self, gateway: &GatewayId, key: &SeriesKey) -> Option<SharedSeries> {
        read(&self.inner.state).catalog.known_series(gateway, key)
    }

    fn is_behind(&self) -> bool {
        self.inner.is_behind()
    }

    fn caught_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait_for_tables())
    }
}

impl<D: Disk> EmbeddedStore<D> {
    async fn wait_for_tables(&self) {
        let inner = &*self.inner;
        let mut progress = inner.progress.subscribe();
        while inner.is_behind() {
            inner.signal.request(|request| request.flush = true);
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    async fn put_final(
        &self,
        epoch: &GatewayEpoch,
        batch: Batch,
        stream_start: bool,
    ) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let mut checked = Box::new(CheckedBatch::new(JournalEntry::new(epoch, batch))?);
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
            return Err(StoreError::Failed(
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

    /// Others get the state, and this thread, between pieces of a long batch.
    async fn put_live(&self, epoch: &GatewayEpoch, batch: Batch) -> Result<(), StoreError> {
        let inner = &*self.inner;
        inner.healthy()?;
        inner.check_epochs(epoch, batch.names_epoch)?;
        if !inner.is_current_run(epoch) {
            return Err(StoreError::Superseded);
        }
        let checked = CheckedBatch::new(JournalEntry::new(epoch, batch))?;
        let (mut from, rows) = (0, checked.batch().entries.len());
        loop {
            inner.apply_durable();
            let to = rows.min(from + LIVE_ROWS_AT_ONCE);
            {
                let mut state = write(&inner.state);
                // Nothing of an earlier run comes after the live state of that run was dropped.
                if !inner.is_current_run(epoch) {
                    return Err(StoreError::Superseded);
                }
                let room = inner.has_room_for_series(&state, &checked);
                state.apply_live(&checked, from..to, inner.live_limits, room);
            }
            if to == rows {
                return Ok(());
            }
            from = to;
            tokio::task::yield_now().await;
            inner.healthy()?;
        }
    }
}
