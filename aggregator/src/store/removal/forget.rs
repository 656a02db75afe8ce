//! Retention (no server calls it in this version): removes old windows, one bounded step at a time.
//!
//! A block whose windows all end early enough is removed; a block at the boundary is rewritten without the old ones.
//! The flusher waits during a step. After a crash in between fewer windows are removed; the next call continues.

use std::collections::{BTreeMap, HashSet};

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Width};

use crate::store::{
    StoreError,
    blocks::{
        block,
        block_store::Block,
        flusher::{manifest_of, put_groups},
        groups::{first_of, group_of},
        scan,
    },
    embedded::{
        inner::Inner,
        locks::{lock, read, write},
    },
    memtable::row::{PartialName, Row, bucket_end, bucket_of},
    tree::{
        WriteBatch,
        records::{self, BlockManifest},
    },
};

/// Bytes of keys and values, or number of groups, after which a step ends.
const STEP_BYTES: usize = 1 << 20;
const STEP_GROUPS: usize = 100;

/// Where the next step continues.
#[derive(Clone)]
struct Cursor {
    group: u32,
    bucket: i64,
    removed: Removed,
}

/// What was removed from a group's blocks.
#[derive(Clone, Default)]
struct Removed {
    /// Series that lost windows.
    changed: HashSet<u32>,
    /// Some blocks cannot be read, and may hold windows of any series.
    unread: bool,
}

impl Cursor {
    fn new(group: u32) -> Self {
        Self { group, bucket: i64::MIN, removed: Removed::default() }
    }
}

/// See [`super::Store::forget_before`].
pub(in crate::store) fn forget_before<D: Disk>(
    inner: &Inner<D>,
    before: Timestamp,
) -> Result<u64, StoreError> {
    inner.apply_durable();
    let mut forgotten = 0;
    let mut cursor = Some(Cursor::new(0));
    while let Some(at) = cursor {
        cursor = step(inner, before, at, &mut forgotten).map_err(|reason| {
            let reason: std::sync::Arc<str> = reason.into();
            inner.fail(reason.clone());
            StoreError::Poisoned(reason)
        })?;
    }
    inner.forgotten.fetch_add(forgotten, std::sync::atomic::Ordering::Relaxed);
    Ok(forgotten)
}

fn step<D: Disk>(
    inner: &Inner<D>,
    before: Timestamp,
    from: Cursor,
    forgotten: &mut u64,
) -> Result<Option<Cursor>, String> {
    let meta = &mut *lock(&inner.flush_lock);
    if let Some(why) = inner.failure() {
        return Err(why.to_string());
    }
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    let mut manifests = BTreeMap::new();
    let mut done: Vec<(u32, Removed)> = Vec::new();
    let mut at = from;
    let next = loop {
        let Some((group, first)) = next_group(inner, at.group) else { break None };
        if group != at.group {
            at = Cursor::new(group);
        }
        if first < before {
            let mut manifest = manifest_of(inner, group);
            let stopped = forget_group(inner, before, &mut at, &mut writes, &mut manifest, forgotten)?;
            if !at.removed.changed.is_empty() {
                manifests.insert(group, manifest);
            }
            if stopped {
                break Some(at);
            }
            done.push((group, at.removed));
        }
        let Some(following) = group.checked_add(1) else { break None };
        at = Cursor::new(following);
        if done.len() >= STEP_GROUPS || writes.bytes() >= STEP_BYTES {
            break Some(at);
        }
    };
    if writes.bytes() > 0 {
        put_groups(inner, &manifests, &mut writes, meta);
        inner.blocks.commit(writes, meta)?;
    }
    for (group, removed) in done {
        *forgotten += finish_group(inner, before, group, &removed);
    }
    Ok(next)
}

/// The first group from a number on, and the start of its first window.
fn next_group<D: Disk>(inner: &Inner<D>, from: u32) -> Option<(u32, Timestamp)> {
    let all = &read(&inner.state).catalog.series;
    let group = all.next_group(from)?;
    let first = all.group(group)?.series().map(|(_, series)| series.first).min();
    Some((group, first.unwrap_or(Timestamp::MAX)))
}

/// Removes flushed windows of a group; true if the write batch is full before the group is done.
fn forget_group<D: Disk>(
    inner: &Inner<D>,
    before: Timestamp,
    at: &mut Cursor,
    writes: &mut WriteBatch,
    manifest: &mut BlockManifest,
    forgotten: &mut u64,
) -> Result<bool, String> {
    let memtable = read(&inner.state).memtable.names(at.group);
    while let Some(bucket) = inner.blocks.first_bucket(at.group, at.bucket, bucket_of(before))? {
        if writes.bytes() >= STEP_BYTES {
            at.bucket = bucket;
            return Ok(true);
        }
        let names = forget_bucket(inner, before, at, bucket, writes, manifest)?;
        // Windows that memory holds too are counted when they are removed there.
        *forgotten += names.iter().filter(|name| !memtable.contains(*name)).count() as u64;
        at.removed.changed.extend(names.into_iter().map(|(series, _)| series));
        let Some(following) = bucket.checked_add(1) else { break };
        at.bucket = following;
    }
    Ok(false)
}

/// Removes flushed windows of a bucket; returns their series and names.
fn forget_bucket<D: Disk>(
    inner: &Inner<D>,
    before: Timestamp,
    at: &mut Cursor,
    bucket: i64,
    writes: &mut WriteBatch,
    manifest: &mut BlockManifest,
) -> Result<HashSet<(u32, PartialName)>, String> {
    // The widest window that starts in the bucket has ended: unreadable blocks are old enough too.
    let all_old = bucket_end(bucket).saturating_add_nanos(Width::MAX.as_nanos()) <= before;
    let mut removed = HashSet::new();
    for (number, block) in inner.blocks.bucket(at.group, bucket, None)? {
        let key = records::block_key(at.group, bucket, number);
        let Ok(Block { sequence: written, rows, .. }) = block else {
            // It stays in the manifest, which records until a repair that something was there.
            if all_old {
                writes.remove(key);
            } else {
                at.removed.unread = true;
            }
            continue;
        };
        let (old, kept): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.name.window().end() <= before);
        if !old.is_empty() {
            manifest.remove(&key, written);
            if kept.is_empty() {
                writes.remove(key);
            } else {
                manifest.add(&key, writes.sequence());
                writes.insert(key, &block::encode(&kept.iter().map(Row::borrowed).collect::<Vec<_>>()));
            }
            removed.extend(old.into_iter().map(|row| (row.series, row.name)));
        }
    }
    Ok(removed)
}

/// Removes windows of a group's series in memory, and the series without any windows left.
fn finish_group<D: Disk>(inner: &Inner<D>, before: Timestamp, group: u32, removed: &Removed) -> u64 {
    let series: Vec<u32> = {
        let all = &read(&inner.state).catalog.series;
        let places = all.group(group).into_iter().flat_map(|group| group.series());
        places.map(|(place, _)| first_of(group) + place).collect()
    };
    debug_assert!(series.iter().all(|series| group_of(*series) == group));
    series.into_iter().map(|series| finish_series(inner, before, series, removed)).sum()
}

fn finish_series<D: Disk>(inner: &Inner<D>, before: Timestamp, series: u32, removed: &Removed) -> u64 {
    let dropped = {
        let mut state = write(&inner.state);
        let state = &mut *state;
        let known = state.catalog.series.get(series).map(|known| (known.gateway, known.end));
        let Some((gateway, end)) = known else { return 0 };
        let dropped = state.memtable.drop_before(series, before);
        state.live.drop_before(gateway, series, before);
        // No readable block holds any of it.
        if end <= before && !removed.unread && !state.holds(series) {
            state.catalog.remove_series(series);
            return dropped;
        }
        dropped
    };
    if removed.changed.contains(&series) || dropped > 0 {
        raise_first(inner, series);
    }
    dropped
}

/// Moves the start of a series forward. A damaged block stops this: the series may still begin there.
fn raise_first<D: Disk>(inner: &Inner<D>, series: u32) {
    let mut from = Timestamp::MIN;
    while let Ok(Some((bucket, rows))) = scan::next_bucket(inner, series, from, Timestamp::MAX) {
        if let Some(row) = rows.first() {
            write(&inner.state).catalog.raise_first(series, row.name.start);
            return;
        }
        from = bucket_end(bucket);
    }
}

#[cfg(test)]
mod tests;
