//! Removal of series with all their windows, on an operator's request.
//!
//! The journal may hold batches of a series, which a replay would bring back. So each step begins with a flush round,
//! after which the journal is no longer needed for anything durable; then the series are removed from catalog and
//! memory, and a last round releases the journal up to what arrived meanwhile. The flusher waits during a step. After
//! a crash in between fewer series are removed. Their rows in tables belong to nobody from then on, because numbers of
//! series are never used again. The compactor writes the tables anew without them: each step marks the tables that may
//! hold such rows, durably before the removal is, so a start continues where it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use crate::{
    selector::Selector,
    store::{
        Selection as _, StoreError,
        catalog::groups::group_of,
        catalog::{index::selection::IndexSelection, listing::number_of},
        embedded::{
            inner::Inner,
            locks::{lock, write},
        },
        flush::flusher::{FlushError, flush_applied_locked, to_store_error},
        tables::version::{StoredTable, TableEntry},
        tree::{WriteBatch, records::Meta},
    },
};
use catchment_journal::Disk;

/// Number of groups of series after which the flusher gets a turn.
const STEP_GROUPS: usize = 256;
/// Most tables marked by one commit.
const MARKS_AT_ONCE: usize = 4_096;

/// See [`crate::store::MaintenanceStore::forget_series`].
pub(in crate::store) fn forget_series<D: Disk>(
    inner: &Inner<D>,
    selector: &Selector,
) -> Result<u64, StoreError> {
    inner.apply_durable();
    let mut chosen: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
    // Matches without holding the lock, which batches need.
    let mut selection = IndexSelection::new(&inner.state, selector);
    while let Some(page) = selection.next_page() {
        for number in page.into_iter().map(|entry| number_of(entry.id)) {
            chosen.entry(group_of(number)).or_default().insert(number);
        }
    }
    drop(selection);
    let mut forgotten = 0;
    let mut groups = chosen.iter().peekable();
    while groups.peek().is_some() {
        forgotten +=
            step(inner, groups.by_ref().take(STEP_GROUPS)).map_err(|error| to_store_error(inner, error))?;
    }
    if forgotten > 0 {
        let meta = &mut *lock(&inner.flush_lock);
        inner.apply_durable();
        flush_applied_locked(inner, meta).map_err(|error| to_store_error(inner, error))?;
        inner.compaction.request(|request| request.flush = true);
    }
    Ok(forgotten)
}

/// Removes series of some groups; returns how many.
fn step<'a, D: Disk>(
    inner: &Inner<D>,
    groups: impl Iterator<Item = (&'a u32, &'a HashSet<u32>)>,
) -> Result<u64, FlushError> {
    let meta = &mut *lock(&inner.flush_lock);
    inner.apply_durable();
    flush_applied_locked(inner, meta)?;
    let mut forgotten = BTreeSet::new();
    for (group, series) in groups {
        debug_assert!(series.iter().all(|id| group_of(*id) == *group));
        let state = &mut *write(&inner.state);
        for id in series {
            let Some(gateway) = state.catalog.series.get(*id).map(|known| known.gateway) else { continue };
            state.memtable.drop_series(*id);
            state.live.drop_series(gateway, *id);
            state.catalog.remove_series(*id);
            forgotten.insert(*id);
        }
    }
    // A merge that began before this passes the mark on to its result.
    mark(inner, meta, &forgotten)?;
    Ok(forgotten.len() as u64)
}

/// Marks the tables that may hold rows of removed series, durably.
fn mark<D: Disk>(inner: &Inner<D>, meta: &mut Meta, series: &BTreeSet<u32>) -> Result<(), FlushError> {
    let holds = |entry: &TableEntry| {
        series.range(entry.summary.least_series..=entry.summary.greatest_series).next().is_some()
    };
    let version = inner.tables.version();
    let tables: Vec<_> = version.all().filter(|table| !table.entry.purge && holds(&table.entry)).collect();
    for tables in tables.chunks(MARKS_AT_ONCE) {
        let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
        let mut marked = Vec::new();
        for table in tables {
            let entry = TableEntry { purge: true, ..table.entry };
            writes.record(entry.key(), &entry.record());
            marked.push(Arc::new(StoredTable { entry, table: Arc::clone(&table.table) }));
        }
        inner.catalog_store.commit(writes, meta).map_err(|reason| FlushError::Failed(reason.into()))?;
        let before: Vec<u64> = tables.iter().map(|table| table.entry.id).collect();
        inner.tables.set_version(inner.tables.version().changed(&before, marked));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
