//! A store for simulations: no thread, no system file, every step taken by its owner.
//!
//! The owner polls the futures of [`crate::store::Store`], steps the journal's [`Committer`], and flushes with
//! [`EmbeddedStore::flush_now`], so one seed determines one history. Everything else is production code.

use std::{path::Path, sync::Arc};

use catchment_journal::{Committer, Disk, GroupLog};

use crate::store::{
    EmbeddedStore, MemoryTree, OpenError, OpenReport, StoreConfig, StoreError,
    catalog::catalog_store::CatalogStore,
    flush::flusher::{self, FlushError},
    tables::compactor,
    wal::open::{JOURNAL, Parts, SLED, assemble, journal_start, load},
};

impl<D: Disk> EmbeddedStore<D> {
    /// Opens a store on a disk, in the folder `data` (which need not exist and is not locked), with its blocks in
    /// `tree`. To start after a crash, pass the same disk and tree again.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn manual(
        disk: Arc<D>,
        data: &Path,
        config: StoreConfig,
        tree: MemoryTree,
    ) -> Result<(Arc<Self>, Committer<D>, OpenReport), OpenError> {
        let mut report = OpenReport::default();
        let catalog_store = CatalogStore::new(tree);
        let journal = journal_start(&disk, data)?;
        let loaded = load(&*disk, data, &catalog_store, journal, &mut report).map_err(|reason| {
            OpenError::Blocks { folder: data.join(SLED), journal: data.join(JOURNAL), reason }
        })?;
        let mut committer = None;
        let parts = Parts { disk, data, config, catalog_store, loaded, data_dir: None };
        let inner = assemble(parts, &mut report, |log| {
            let (log, by_hand) = GroupLog::manual(log);
            committer = Some(by_hand);
            Ok(log)
        })?;
        let committer = committer.ok_or_else(|| OpenError::Replay("it was not shared".to_owned()))?;
        Ok((Arc::new(Self::without_flusher(Arc::new(inner))), committer, report))
    }

    /// A flush round, as the flusher's thread runs it; after [`crate::store::MaintenanceStore::close`] was polled, the last one.
    /// Without space it does nothing, like the thread.
    ///
    /// # Errors
    /// [`StoreError::Failed`]: the store has failed, now or earlier.
    pub fn flush_now(&self) -> Result<(), StoreError> {
        flusher::turn(&self.inner, self.inner.signal.take()).map_err(StoreError::Failed)
    }

    /// Merges the tables of one partition where that is worth it, as the compactor's thread does. Without space it does
    /// nothing, like the thread.
    ///
    /// # Errors
    /// [`StoreError::Failed`]: the store has failed, now or earlier.
    pub fn compact_now(&self) -> Result<(), StoreError> {
        match compactor::compact_once(&self.inner, false, &|| false) {
            Ok(_) | Err(FlushError::Space { .. } | FlushError::Refused(_)) => Ok(()),
            Err(error) => Err(flusher::to_store_error(&self.inner, error)),
        }
    }

    /// Whether a flush round was requested since the last one, for memory, journal or shutdown.
    pub fn flush_is_due(&self) -> bool {
        self.inner.signal.is_requested()
    }
}

#[cfg(test)]
mod tests;
