//! Forgetting series with all of their windows, because an operator says so.
//!
//! The journal may hold batches of a series, which a replay would bring back. So each step begins with a round of packing,
//! which takes all that is durable out of the journal's care; then packs and memory let the series go, and a last round
//! moves the journal's start behind what came meanwhile. The packer waits during a step. A crash in between forgets less, and never
//! damages: packs, tallies and records change together.

use std::collections::{BTreeMap, HashSet};

use catchment_journal::Disk;
use catchment_proto::{GatewayId, SeriesKey};

use super::{
    StoreError,
    groups::group_of,
    inner::{Inner, lock, read, write},
    pack,
    packer::{PackError, put_groups, round_within, tally_of},
    packs::GoodPack,
    records::{self, Meta, Tally},
    row::Row,
    tree::Change,
};

/// Bytes of keys and values after which a change is committed.
const CHANGE_BYTES: usize = 1 << 20;
/// Groups of series after which the packer has its turn.
const STEP_GROUPS: usize = 256;

/// See [`super::Store::forget_series`].
pub(super) fn forget_series<D: Disk>(
    inner: &Inner<D>,
    wanted: &dyn Fn(&GatewayId, &SeriesKey) -> bool,
) -> Result<u64, StoreError> {
    inner.settle();
    let mut chosen: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
    let mut next = Some(0);
    while let Some(from) = next {
        // Matched without the lock, which batches need.
        let page = read(&inner.state).catalog.entries_from(from);
        for entry in page.entries.into_iter().filter(|entry| wanted(&entry.gateway, &entry.key)) {
            chosen.entry(group_of(entry.id.0)).or_default().insert(entry.id.0);
        }
        next = page.next;
    }
    let mut forgotten = 0;
    let mut groups = chosen.iter().peekable();
    while groups.peek().is_some() {
        forgotten += step(inner, groups.by_ref().take(STEP_GROUPS)).map_err(|error| told(inner, error))?;
    }
    if forgotten > 0 {
        let meta = &mut *lock(&inner.packing);
        inner.settle();
        round_within(inner, meta).map_err(|error| told(inner, error))?;
    }
    Ok(forgotten)
}

fn told<D: Disk>(inner: &Inner<D>, error: PackError) -> StoreError {
    match error {
        PackError::Space { .. } => StoreError::Full(error.to_string()),
        PackError::Failed(reason) => {
            inner.fail(reason.clone());
            StoreError::Poisoned(reason)
        }
    }
}

/// Forgets series of some groups; returns how many.
fn step<'a, D: Disk>(
    inner: &Inner<D>,
    groups: impl Iterator<Item = (&'a u32, &'a HashSet<u32>)>,
) -> Result<u64, PackError> {
    let meta = &mut *lock(&inner.packing);
    inner.settle();
    round_within(inner, meta)?;
    let mut forgotten = 0;
    for (group, series) in groups {
        unpack(inner, *group, series, meta).map_err(|reason| PackError::Failed(reason.into()))?;
        let state = &mut *write(&inner.state);
        for id in series {
            let Some(gateway) = state.catalog.series.get(*id).map(|known| known.gateway) else { continue };
            state.recent.drop_series(*id);
            state.live.drop_series(gateway, *id);
            state.catalog.remove_series(*id);
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// Takes series out of the packs of their group. A pack that cannot be read stays, unless no other series can be in it.
fn unpack<D: Disk>(
    inner: &Inner<D>,
    group: u32,
    series: &HashSet<u32>,
    meta: &mut Meta,
) -> Result<(), String> {
    let whole =
        read(&inner.state).catalog.series.group(group).is_none_or(|known| known.len() <= series.len());
    let mut tally = tally_of(inner, group);
    let mut change = Change::new(meta.change.saturating_add(1));
    let mut from = i64::MIN;
    while let Some(bucket) = inner.packs.first_bucket(group, from, i64::MAX)? {
        for (number, pack) in inner.packs.bucket(group, bucket, None)? {
            let key = records::pack_key(group, bucket, number);
            let Ok(GoodPack { change: written, rows, .. }) = pack else {
                if whole {
                    change.remove(key);
                }
                continue;
            };
            let kept: Vec<_> = rows.iter().filter(|row| !series.contains(&row.series)).collect();
            if kept.len() == rows.len() {
                continue;
            }
            tally.remove(&key, written);
            if kept.is_empty() {
                change.remove(key);
            } else {
                tally.add(&key, change.number());
                let rows: Vec<_> = kept.into_iter().map(Row::borrowed).collect();
                change.insert(key, &pack::encode(&rows));
            }
        }
        if change.bytes() >= CHANGE_BYTES {
            let full = std::mem::replace(&mut change, Change::new(0));
            commit(inner, group, tally, full, meta)?;
            change = Change::new(meta.change.saturating_add(1));
        }
        let Some(following) = bucket.checked_add(1) else { break };
        from = following;
    }
    if whole {
        // What could not be read is gone too.
        tally = Tally::default();
    }
    if change.bytes() > 0 { commit(inner, group, tally, change, meta) } else { Ok(()) }
}

fn commit<D: Disk>(
    inner: &Inner<D>,
    group: u32,
    tally: Tally,
    mut change: Change,
    meta: &mut Meta,
) -> Result<(), String> {
    put_groups(inner, &[(group, tally)].into(), &mut change, meta);
    inner.packs.commit(change, meta)
}

#[cfg(test)]
mod tests;
