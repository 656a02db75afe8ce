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
mod retire;
pub(in crate::store) mod stats;

mod ingest;
mod maintenance;
mod query;

use std::{sync::Arc, thread::JoinHandle};

use catchment_journal::{Disk, RealDisk, Watchdog};

use crate::store::{
    StoreError,
    catalog::index::indexer,
    embedded::{
        background::{Background, guarded},
        inner::Inner,
    },
    salvage::{check, folder_watch},
    tables::compactor,
};

/// A store in a data folder of its own. Dropping it stops its threads; [`crate::store::MaintenanceStore::close`] also
/// flushes what memory holds.
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
        if store.inner.tables.next_purge().is_some() {
            store.inner.compaction.request(|request| request.flush = true);
        }
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
    /// [`StoreError::Failed`].
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
}

fn ended() -> StoreError {
    StoreError::Failed("the store has closed".into())
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
