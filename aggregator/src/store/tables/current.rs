//! The tables of an open store: the present version, what was applied of retention, and the cache of blocks.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use catchment_journal::Disk;

use crate::store::{
    catalog::{Catalog, Series},
    embedded::locks::{lock, read, write},
    tables::{
        applied::Applied,
        cache::BlockCache,
        pieces::{ALL_KEPT, Floors},
        version::{StoredTable, Version},
    },
};

/// The tables of an open store.
pub(in crate::store) struct Tables<D: Disk> {
    version: RwLock<Arc<Version<D>>>,
    applied: RwLock<Arc<Applied>>,
    next_id: AtomicU64,
    /// Tables that cannot be merged, because they are damaged.
    given_up: Mutex<HashSet<u64>>,
    pub(in crate::store) cache: Arc<BlockCache>,
}

impl<D: Disk> Tables<D> {
    pub(in crate::store) fn new(
        version: Version<D>,
        applied: Applied,
        next_id: u64,
        cache_bytes: u64,
    ) -> Self {
        Self {
            version: RwLock::new(Arc::new(version)),
            applied: RwLock::new(Arc::new(applied)),
            next_id: AtomicU64::new(next_id),
            given_up: Mutex::default(),
            cache: Arc::new(BlockCache::new(cache_bytes)),
        }
    }

    /// The tables that count now.
    pub(in crate::store) fn version(&self) -> Arc<Version<D>> {
        Arc::clone(&read(&self.version))
    }

    /// Puts another version in its place. Only for the holder of the flush lock, after its commit.
    pub(in crate::store) fn set_version(&self, version: Version<D>) {
        let before = std::mem::replace(&mut *write(&self.version), Arc::new(version));
        // Freed without the lock: it may remove files.
        drop(before);
    }

    /// What was applied of retention.
    pub(in crate::store) fn applied(&self) -> Arc<Applied> {
        Arc::clone(&read(&self.applied))
    }

    /// As [`Tables::set_version`].
    pub(in crate::store) fn set_applied(&self, applied: Applied) {
        *write(&self.applied) = Arc::new(applied);
    }

    /// From when on each resolution of a series is complete.
    pub(in crate::store) fn floors_of(&self, catalog: &Catalog, series: &Series) -> Floors {
        let applied = self.applied();
        let gateway = catalog.gateways.get(series.gateway as usize);
        gateway.map_or(ALL_KEPT, |gateway| applied.floors_of(&gateway.id, series.key.key()))
    }

    /// A number for a new table, or for the age of the tables of a flush; never used before.
    pub(in crate::store) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// All numbers below this one are used.
    pub(in crate::store) fn ids_used(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed)
    }

    /// The next table to be written without removed series.
    pub(in crate::store) fn next_purge(&self) -> Option<Arc<StoredTable<D>>> {
        let version = self.version();
        version.all().find(|table| table.entry.purge && !self.is_given_up(table.entry.id)).cloned()
    }

    /// Leaves these tables out of merges until the next start.
    pub(in crate::store) fn give_up(&self, ids: impl Iterator<Item = u64>) {
        lock(&self.given_up).extend(ids);
    }

    /// Whether a table was given up.
    pub(in crate::store) fn is_given_up(&self, id: u64) -> bool {
        lock(&self.given_up).contains(&id)
    }
}
