//! Removal of series with all their windows, on an operator's request.
//!
//! The journal may hold batches of a series, which a replay would bring back. So each step begins with a flush round,
//! after which the journal is no longer needed for anything durable; then the series are removed from catalog and
//! memory, and a last round releases the journal up to what arrived meanwhile. The flusher waits during a step. After
//! a crash in between fewer series are removed. Their rows in tables belong to nobody from then on, because numbers of
//! series are never used again; the compactor leaves them out when it writes the tables anew, which is requested.

use std::collections::{BTreeMap, HashSet};

use crate::{
    selector::Selector,
    store::{
        Selection as _, StoreError,
        blocks::groups::group_of,
        catalog::{index::selection::IndexSelection, listing::number_of},
        embedded::{
            inner::Inner,
            locks::{lock, write},
        },
        flush::flusher::{FlushError, flush_applied_locked, to_store_error},
    },
};
use catchment_journal::Disk;

/// Number of groups of series after which the flusher gets a turn.
const STEP_GROUPS: usize = 256;

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
        inner.tables.purge(&chosen.values().flatten().copied().collect());
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
    let mut forgotten = 0;
    for (group, series) in groups {
        debug_assert!(series.iter().all(|id| group_of(*id) == *group));
        let state = &mut *write(&inner.state);
        for id in series {
            let Some(gateway) = state.catalog.series.get(*id).map(|known| known.gateway) else { continue };
            state.memtable.drop_series(*id);
            state.live.drop_series(gateway, *id);
            state.catalog.remove_series(*id);
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests;
