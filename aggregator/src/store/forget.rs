//! Forgetting windows for their age, a bounded step at a time.
//!
//! A pack all of whose windows end early enough is removed, one at the boundary is written again without them. The
//! packer waits during a step. A crash in between forgets less; the next call goes on.

use std::collections::{BTreeMap, BTreeSet};

use catchment_journal::Disk;
use catchment_partial::{Timestamp, Width};

use super::{
    StoreError,
    inner::{Inner, lock, read, write},
    pack,
    packer::{put_series, tally_of},
    packs::GoodPack,
    records::{self, Tally},
    row::{Name, bucket_end, bucket_of},
    scan,
    tree::Change,
};

/// Bytes of keys and values, or number of series, after which a step ends.
const STEP_BYTES: usize = 1 << 20;
const STEP_SERIES: usize = 1000;

/// Where the next step goes on.
#[derive(Clone, Copy)]
struct Cursor {
    series: u32,
    bucket: i64,
    /// Whether an earlier step has removed something of this series.
    changed: bool,
}

/// See [`super::Store::forget_before`].
pub(super) fn forget_before<D: Disk>(inner: &Inner<D>, before: Timestamp) -> Result<u64, StoreError> {
    inner.settle();
    let mut forgotten = 0;
    let mut cursor = Some(Cursor { series: 0, bucket: i64::MIN, changed: false });
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
    let meta = &mut *lock(&inner.packing);
    let mut change = Change::new(meta.change.saturating_add(1));
    let mut tallies = BTreeMap::new();
    let mut done: Vec<(u32, bool)> = Vec::new();
    let mut at = from;
    let next = loop {
        let found = read(&inner.state).catalog.series.range(at.series..).next().map(|(id, s)| (*id, s.first));
        let Some((series, first)) = found else { break None };
        if series != at.series {
            at = Cursor { series, bucket: i64::MIN, changed: false };
        }
        if first < before {
            let mut tally = tally_of(inner, series);
            let stopped = forget_series(inner, before, &mut at, &mut change, &mut tally, forgotten)?;
            if at.changed {
                tallies.insert(series, tally);
            }
            if stopped {
                break Some(at);
            }
            done.push((series, at.changed));
        }
        let Some(following) = series.checked_add(1) else { break None };
        at = Cursor { series: following, bucket: i64::MIN, changed: false };
        if done.len() >= STEP_SERIES || change.bytes() >= STEP_BYTES {
            break Some(at);
        }
    };
    if change.bytes() > 0 {
        put_series(inner, &BTreeSet::new(), &tallies, &mut change, meta);
        inner.packs.commit(change, meta)?;
    }
    for (series, changed) in done {
        *forgotten += finish_series(inner, before, series, changed)?;
    }
    Ok(next)
}

/// Forgets packed windows of a series; true if the change is full before the series is done.
fn forget_series<D: Disk>(
    inner: &Inner<D>,
    before: Timestamp,
    at: &mut Cursor,
    change: &mut Change,
    tally: &mut Tally,
    forgotten: &mut u64,
) -> Result<bool, String> {
    while let Some(bucket) = inner.packs.first_bucket(at.series, at.bucket, bucket_of(before))? {
        if change.bytes() >= STEP_BYTES {
            at.bucket = bucket;
            return Ok(true);
        }
        let gone = forget_bucket(inner, before, at.series, bucket, change, tally)?;
        at.changed |= !gone.is_empty();
        // What memory has too is counted when it goes from there.
        let recent = &read(&inner.state).recent;
        *forgotten += gone.iter().filter(|name| recent.revision(at.series, name).is_none()).count() as u64;
        let Some(following) = bucket.checked_add(1) else { break };
        at.bucket = following;
    }
    Ok(false)
}

/// Forgets packed windows of a bucket; tells their names.
fn forget_bucket<D: Disk>(
    inner: &Inner<D>,
    before: Timestamp,
    series: u32,
    bucket: i64,
    change: &mut Change,
    tally: &mut Tally,
) -> Result<BTreeSet<Name>, String> {
    // The widest window that starts in the bucket has ended: what cannot be read is old enough too.
    let all_old = bucket_end(bucket).saturating_add_nanos(Width::MAX.as_nanos()) <= before;
    let mut gone = BTreeSet::new();
    for (number, pack) in inner.packs.bucket(series, bucket)? {
        let key = records::pack_key(series, bucket, number);
        let Ok(GoodPack { change: written, rows, .. }) = pack else {
            // It stays in the tally, which tells until a repair that something was there.
            if all_old {
                change.remove(key);
            }
            continue;
        };
        let (old, kept): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.name.window().end() <= before);
        if !old.is_empty() {
            tally.remove(&key, written);
            if kept.is_empty() {
                change.remove(key);
            } else {
                tally.add(&key, change.number());
                change.insert(key, &pack::encode(&kept));
            }
            gone.extend(old.into_iter().map(|row| row.name));
        }
    }
    Ok(gone)
}

/// Forgets a series' windows in memory, and the series itself if nothing is left of it. `changed`: packed windows went.
fn finish_series<D: Disk>(
    inner: &Inner<D>,
    before: Timestamp,
    series: u32,
    changed: bool,
) -> Result<u64, String> {
    let packed = inner.packs.first_bucket(series, i64::MIN, i64::MAX)?.is_some();
    let dropped = {
        let mut state = write(&inner.state);
        let state = &mut *state;
        let known = state.catalog.series.get(&series).map(|known| (known.gateway, known.end));
        let Some((gateway, end)) = known else { return Ok(0) };
        let dropped = state.recent.drop_before(series, before);
        state.live.drop_before(gateway, series, before);
        if end <= before && !packed && !state.holds(series) {
            state.catalog.remove_series(series);
            return Ok(dropped);
        }
        dropped
    };
    // A damaged pack leaves the start as it was: the series may still begin there.
    if (changed || dropped > 0)
        && let Ok(Some((_, rows))) = scan::next_bucket(inner, series, Timestamp::MIN, Timestamp::MAX)
        && let Some(row) = rows.first()
    {
        write(&inner.state).catalog.raise_first(series, row.name.start);
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests;
