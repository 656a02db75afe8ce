//! Retention: removes whole tables that are older than the rules say, and rewrites those that hold series which are
//! kept longer.
//!
//! First the floors become durable: from then on readers and flushes take the coarser resolutions for what is below
//! them. Then the tables go, one commit for each partition. A crash in between leaves tables that nobody reads; the next
//! round removes them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use crate::{
    selector::Selector,
    store::{
        Retained, RetentionRule, StoreError,
        embedded::{
            inner::Inner,
            locks::{lock, read, write},
        },
        flush::flusher::{FlushError, to_store_error, unfailed},
        tables::{
            applied::Applied,
            compactor::{RewriteError, replace, rewrite},
            pieces::Floors,
            resolution::Resolution,
            version::StoredTable,
        },
        tree::{WriteBatch, records::APPLIED},
    },
};

/// Free space that a commit needs, bytes: sled cannot undo a write that found none.
const RESERVE: u64 = 4 << 20;

/// See [`crate::store::Store::retain`].
pub(in crate::store) fn retain<D: Disk>(
    inner: &Inner<D>,
    rules: &[RetentionRule],
    now: Timestamp,
) -> Result<Retained, StoreError> {
    let applied = raise(inner, rules, now).map_err(|error| to_store_error(inner, error))?;
    let mut retained = Retained::default();
    let stops = || inner.failure().is_some() || lock(&inner.admission).closed;
    for resolution in Resolution::ALL {
        let number = usize::from(resolution.number());
        let floors: Vec<Timestamp> = (0..=applied.len())
            .map(|rule| applied.rule_floors(rule).get(number).copied().unwrap_or(Timestamp::MIN))
            .collect();
        if resolution == Resolution::Day
            && let Some(kept_from) = floors.iter().min().filter(|floor| **floor > Timestamp::MIN)
        {
            write(&inner.state).catalog.forget_hours_before(*kept_from);
        }
        let Some(highest) = floors.iter().max() else { continue };
        let version = inner.tables.version();
        let old = version
            .partitions(resolution, i32::MIN)
            .take_while(|(partition, _)| resolution.partition_start(*partition) < *highest);
        for (partition, tables) in old {
            if stops() {
                return Ok(retained);
            }
            let start = resolution.partition_start(partition);
            let expired: Vec<usize> =
                (0..floors.len()).filter(|rule| floors.get(*rule) > Some(&start)).collect();
            remove(inner, &applied, &expired, tables, &stops, &mut retained)
                .map_err(|error| to_store_error(inner, error))?;
        }
    }
    retained.series = remove_series(inner, &applied);
    if retained.series > 0 {
        inner.signal.request(|request| request.flush = true);
    }
    inner.forgotten.fetch_add(retained.rows, std::sync::atomic::Ordering::Relaxed);
    Ok(retained)
}

/// Raises the floors to what the rules say now, durably.
fn raise<D: Disk>(
    inner: &Inner<D>,
    rules: &[RetentionRule],
    now: Timestamp,
) -> Result<Arc<Applied>, FlushError> {
    let meta = &mut *lock(&inner.flush_lock);
    unfailed(inner)?;
    let before = inner.tables.applied();
    reserve(inner)?;
    let selectors: Vec<_> = rules.iter().map(|rule| rule.selector.clone()).collect();
    let mut applied = before.with(selectors);
    for (number, rule) in rules.iter().enumerate() {
        applied.raise(number, &floors(&rule.keep, now));
    }
    let record = applied.record();
    if record != before.record() {
        let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
        writes.record(APPLIED.to_vec(), &record);
        inner.blocks.commit(writes, meta).map_err(|reason| FlushError::Failed(reason.into()))?;
        inner.tables.set_applied(applied);
    }
    Ok(inner.tables.applied())
}

/// Whether there is room for what removal writes: less than a flush needs, because it makes room.
fn reserve<D: Disk>(inner: &Inner<D>) -> Result<(), FlushError> {
    let free = inner.disk.free_bytes(&inner.folder).map_err(|e| FlushError::Failed(e.to_string().into()))?;
    if free < RESERVE { Err(FlushError::Space { free, needed: RESERVE }) } else { Ok(()) }
}

/// The start of the first partition of each resolution that is not wholly older than it is kept.
fn floors(keep: &[Option<Duration>; 4], now: Timestamp) -> Floors {
    let mut floors = crate::store::tables::pieces::ALL_KEPT;
    // A coarser resolution is never kept shorter than a finer one.
    let mut longest = Some(Duration::ZERO);
    for ((floor, keep), resolution) in floors.iter_mut().zip(keep).zip(Resolution::ALL) {
        longest = longest.zip(*keep).map(|(a, b)| a.max(b));
        let Some(keep) = longest else { continue };
        let nanos = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
        let oldest = now.saturating_sub_nanos(nanos);
        if oldest > Timestamp::MIN {
            *floor = resolution.partition_start(resolution.partition_of(oldest));
        }
    }
    floors
}

/// Removes the rows of expired rules from the tables of a partition.
fn remove<D: Disk>(
    inner: &Inner<D>,
    applied: &Applied,
    expired: &[usize],
    tables: &[Arc<StoredTable<D>>],
    stops: &dyn Fn() -> bool,
    retained: &mut Retained,
) -> Result<(), FlushError> {
    let sum = |of: &[Arc<StoredTable<D>>]| {
        let rows: u64 = of.iter().map(|table| table.entry.summary.rows).sum();
        (rows, of.iter().map(|table| table.entry.summary.bytes).sum::<u64>())
    };
    if expired.len() > applied.len() {
        let (rows, bytes) = sum(tables);
        reserve(inner)?;
        replace(inner, tables, None)?;
        (retained.rows, retained.bytes) = (retained.rows + rows, retained.bytes + bytes);
        return Ok(());
    }
    let without = fingerprint(applied, expired);
    let rule_of = |series| {
        let catalog = &read(&inner.state).catalog;
        let known = catalog.series.get(series)?;
        let gateway = catalog.gateways.get(known.gateway as usize)?;
        Some(applied.rule_of(&gateway.id, known.key.key()))
    };
    let incomplete = read(&inner.state).catalog.incomplete;
    let keeps = |series| rule_of(series).map_or(incomplete, |rule| !expired.contains(&rule));
    for table in tables.iter().filter(|table| table.entry.without != without) {
        let one = std::slice::from_ref(table);
        let (rows, bytes) = sum(one);
        match rewrite(inner, one, false, without, &keeps, stops) {
            Ok(()) => {}
            Err(RewriteError::Flush(error)) => return Err(error),
            Err(RewriteError::Merge(error)) => {
                tracing::error!(%error, "a table cannot be rewritten without the series whose time is over");
                continue;
            }
        }
        let version = inner.tables.version();
        let left = version.of(table.entry.resolution, table.entry.partition);
        let left = left.iter().find(|left| left.entry.age == table.entry.age).map(|left| left.entry.summary);
        retained.rows += rows.saturating_sub(left.map_or(0, |left| left.rows));
        retained.bytes += bytes.saturating_sub(left.map_or(0, |left| left.bytes));
    }
    Ok(())
}

/// Identifies a set of rules by their selectors; never 0.
fn fingerprint(applied: &Applied, expired: &[usize]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for number in 0..applied.len() {
        (applied.selector(number).map(Selector::text), expired.contains(&number)).hash(&mut hasher);
    }
    expired.contains(&applied.len()).hash(&mut hasher);
    hasher.finish().max(1)
}

/// Removes series of which nothing is left; returns how many.
fn remove_series<D: Disk>(inner: &Inner<D>, applied: &Applied) -> u64 {
    let (mut removed, mut next) = (0, Some(0));
    while let Some(from) = next {
        let page = read(&inner.state).catalog.entries_from(from);
        for entry in &page.entries {
            let [.., days] = applied.floors_of(&entry.gateway, &entry.key);
            if entry.windows.0 >= days {
                continue;
            }
            let state = &mut *write(&inner.state);
            state.catalog.raise_first(entry.id.0, days);
            // Looked at again under the lock: it may have got a window.
            let last = state.catalog.series.get(entry.id.0).map(|known| known.last);
            if last.is_some_and(|last| last < days) && !state.holds(entry.id.0) {
                state.catalog.remove_series(entry.id.0);
                removed += 1;
            }
        }
        next = page.next;
    }
    removed
}

#[cfg(test)]
mod tests;
