//! Removal of series with all their windows, on an operator's request.
//!
//! The journal may hold batches of a series, which a replay would bring back. So each step begins with a flush round,
//! after which the journal is no longer needed for anything durable; then the series are removed from blocks and
//! memory, and a last round releases the journal up to what arrived meanwhile. The flusher waits during a step. After
//! a crash in between fewer series are removed, without damage: blocks, manifests and records change together.

use std::collections::{BTreeMap, HashSet};

use catchment_journal::Disk;
use catchment_proto::{GatewayId, SeriesKey};

use crate::store::{
    StoreError,
    blocks::{
        block,
        block_store::Block,
        flusher::{FlushError, flush_applied_locked, manifest_of, put_groups},
        groups::group_of,
    },
    embedded::{
        inner::Inner,
        locks::{lock, read, write},
    },
    memtable::row::Row,
    tree::{
        WriteBatch,
        records::{self, BlockManifest, Meta},
    },
};

/// A write batch is committed once it has this many bytes of keys and values.
const WRITE_BATCH_BYTES: usize = 1 << 20;
/// Number of groups of series after which the flusher gets a turn.
const STEP_GROUPS: usize = 256;

/// See [`super::Store::forget_series`].
pub(in crate::store) fn forget_series<D: Disk>(
    inner: &Inner<D>,
    wanted: &dyn Fn(&GatewayId, &SeriesKey) -> bool,
) -> Result<u64, StoreError> {
    inner.apply_durable();
    let mut chosen: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
    let mut next = Some(0);
    while let Some(from) = next {
        // Matches without holding the lock, which batches need.
        let page = read(&inner.state).catalog.entries_from(from);
        for entry in page.entries.into_iter().filter(|entry| wanted(&entry.gateway, &entry.key)) {
            chosen.entry(group_of(entry.id.0)).or_default().insert(entry.id.0);
        }
        next = page.next;
    }
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
    }
    Ok(forgotten)
}

fn to_store_error<D: Disk>(inner: &Inner<D>, error: FlushError) -> StoreError {
    match error {
        FlushError::Space { .. } => StoreError::Full(error.to_string()),
        FlushError::Failed(reason) => {
            inner.fail(reason.clone());
            StoreError::Poisoned(reason)
        }
    }
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
        remove_from_blocks(inner, *group, series, meta)
            .map_err(|reason| FlushError::Failed(reason.into()))?;
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

/// Removes series from the blocks of their group. A block that cannot be read stays, unless it can hold no other
/// series.
fn remove_from_blocks<D: Disk>(
    inner: &Inner<D>,
    group: u32,
    series: &HashSet<u32>,
    meta: &mut Meta,
) -> Result<(), String> {
    let whole =
        read(&inner.state).catalog.series.group(group).is_none_or(|known| known.len() <= series.len());
    let mut manifest = manifest_of(inner, group);
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    let mut from = i64::MIN;
    while let Some(bucket) = inner.blocks.first_bucket(group, from, i64::MAX)? {
        for (number, block) in inner.blocks.bucket(group, bucket, None)? {
            let key = records::block_key(group, bucket, number);
            let Ok(Block { sequence: written, rows, .. }) = block else {
                if whole {
                    writes.remove(key);
                }
                continue;
            };
            let kept: Vec<_> = rows.iter().filter(|row| !series.contains(&row.series)).collect();
            if kept.len() == rows.len() {
                continue;
            }
            manifest.remove(&key, written);
            if kept.is_empty() {
                writes.remove(key);
            } else {
                manifest.add(&key, writes.sequence());
                let rows: Vec<_> = kept.into_iter().map(Row::borrowed).collect();
                writes.insert(key, &block::encode(&rows));
            }
        }
        if writes.bytes() >= WRITE_BATCH_BYTES {
            let full = std::mem::replace(&mut writes, WriteBatch::new(0));
            commit(inner, group, manifest, full, meta)?;
            writes = WriteBatch::new(meta.sequence.saturating_add(1));
        }
        let Some(following) = bucket.checked_add(1) else { break };
        from = following;
    }
    if whole {
        // Blocks that could not be read are gone too.
        manifest = BlockManifest::default();
    }
    if writes.bytes() > 0 { commit(inner, group, manifest, writes, meta) } else { Ok(()) }
}

fn commit<D: Disk>(
    inner: &Inner<D>,
    group: u32,
    manifest: BlockManifest,
    mut writes: WriteBatch,
    meta: &mut Meta,
) -> Result<(), String> {
    put_groups(inner, &[(group, manifest)].into(), &mut writes, meta);
    inner.blocks.commit(writes, meta)
}

#[cfg(test)]
mod tests;
