//! Retention: removes whole tables that are older than the rules say, and rewrites those that hold series which are
//! kept longer.
//!
//! First the floors become durable: from then on readers and flushes take the coarser resolutions for what is below
//! them. Then the tables go, some hundred with each commit. A crash in between leaves tables that nobody reads; the next
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
        catalog::listing::number_of,
        embedded::{
            inner::Inner,
            locks::{lock, read, write},
        },
        flush::flusher::{FlushError, no_space_or_failed, to_store_error, unfailed},
        tables::{
            applied::Applied,
            compactor::{Replacement, replace, write_anew},
            merge::MergeError,
            pieces::Floors,
            resolution::Resolution,
            version::StoredTable,
        },
        tree::{WriteBatch, records::APPLIED},
    },
};

/// Free space that a commit needs, bytes: sled cannot undo a write that found none.
const RESERVE: u64 = 4 << 20;
/// Tables whose removal one commit records, about: as many files are removed after it.
const REMOVED_AT_ONCE: usize = 256;
/// Bytes of tables written anew before a commit: until then, old and new ones take space.
const WRITTEN_BYTES: u64 = 64 << 20;

/// See [`crate::store::MaintenanceStore::retain`].
pub(in crate::store) fn retain<D: Disk>(
    inner: &Inner<D>,
    rules: &[RetentionRule],
    now: Timestamp,
) -> Result<Retained, StoreError> {
    let applied = raise(inner, rules, now).map_err(|error| to_store_error(inner, error))?;
    let mut retained = Retained::default();
    let stops = || inner.failure().is_some() || lock(&inner.admission).closed;
    forget_hours(inner, &applied);
    for resolution in Resolution::ALL {
        let done = remove_below(inner, &applied, resolution, &stops, &mut retained);
        done.map_err(|error| to_store_error(inner, error))?;
        if stops() {
            return Ok(retained);
        }
    }
    retained.series = remove_series(inner, &applied);
    if retained.series > 0 {
        inner.signal.request(|request| request.flush = true);
    }
    inner.forgotten.fetch_add(retained.rows, std::sync::atomic::Ordering::Relaxed);
    Ok(retained)
}

/// Drops the counts of hours of which nothing is kept in any resolution.
fn forget_hours<D: Disk>(inner: &Inner<D>, applied: &Applied) {
    let days = usize::from(Resolution::Day.number());
    let floor = |rule| applied.rule_floors(rule).get(days).copied().unwrap_or(Timestamp::MIN);
    let kept_from = (0..=applied.len()).map(floor).min();
    if let Some(kept_from) = kept_from.filter(|floor| *floor > Timestamp::MIN) {
        write(&inner.state).catalog.forget_hours_before(kept_from);
    }
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
        inner.catalog_store.commit(writes, meta).map_err(|reason| FlushError::Failed(reason.into()))?;
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

/// Removes what is below the floors from the tables of a resolution.
fn remove_below<D: Disk>(
    inner: &Inner<D>,
    applied: &Applied,
    resolution: Resolution,
    stops: &dyn Fn() -> bool,
    retained: &mut Retained,
) -> Result<(), FlushError> {
    let number = usize::from(resolution.number());
    // A last rule without a selector leaves no others.
    let all = applied.len().checked_sub(1).and_then(|last| applied.selector(last));
    let rules = if all.is_some_and(|all| all.text().is_empty()) { applied.len() } else { applied.len() + 1 };
    let floors: Vec<Timestamp> = (0..rules)
        .map(|rule| applied.rule_floors(rule).get(number).copied().unwrap_or(Timestamp::MIN))
        .collect();
    let Some((least, highest)) = floors.iter().min().zip(floors.iter().max()) else { return Ok(()) };
    let version = inner.tables.version();
    let below = |floor: Timestamp| {
        let all = version.partitions(resolution, i32::MIN);
        all.take_while(move |(partition, _)| resolution.partition_start(*partition) < floor)
    };
    remove_whole(inner, resolution, below(*least), stops, retained)?;
    let mut written = Written { replacements: Vec::new(), bytes: 0 };
    for (partition, tables) in below(*highest) {
        let start = resolution.partition_start(partition);
        let expired: Vec<usize> = (0..floors.len()).filter(|rule| floors.get(*rule) > Some(&start)).collect();
        if expired.len() < floors.len() {
            let done = write_without(inner, applied, &expired, tables, stops, (&mut written, retained));
            if done.is_err() {
                // What was written until then counts.
                written.commit(inner, retained)?;
                return done;
            }
        }
        if stops() {
            break;
        }
    }
    written.commit(inner, retained)
}

/// Tables written anew that do not count yet.
struct Written<D: Disk> {
    replacements: Vec<Replacement<D>>,
    bytes: u64,
}

impl<D: Disk> Written<D> {
    fn commit(&mut self, inner: &Inner<D>, retained: &mut Retained) -> Result<(), FlushError> {
        self.bytes = 0;
        let replacements = std::mem::take(&mut self.replacements);
        if !replacements.is_empty() {
            count(&replace(inner, |_| replacements)?, retained);
        }
        Ok(())
    }
}

/// Removes all tables of partitions.
fn remove_whole<'a, D: Disk>(
    inner: &Inner<D>,
    resolution: Resolution,
    partitions: impl Iterator<Item = (i32, &'a [Arc<StoredTable<D>>])>,
    stops: &dyn Fn() -> bool,
    retained: &mut Retained,
) -> Result<(), FlushError> {
    let mut partitions = partitions.peekable();
    while partitions.peek().is_some() && !stops() {
        let (mut some, mut tables) = (Vec::new(), 0);
        while let Some((partition, of)) = partitions.next_if(|_| tables < REMOVED_AT_ONCE) {
            tables += of.len();
            some.push(partition);
        }
        reserve(inner)?;
        // Those that count by now: tables may have been merged meanwhile.
        let removed = replace(inner, |version| {
            let all = some.iter().map(|partition| version.of(resolution, *partition).to_vec());
            all.map(|tables| Replacement { tables, added: None }).collect()
        })?;
        count(&removed, retained);
    }
    Ok(())
}

/// Writes the tables of a partition without the series of expired rules.
fn write_without<D: Disk>(
    inner: &Inner<D>,
    applied: &Applied,
    expired: &[usize],
    tables: &[Arc<StoredTable<D>>],
    stops: &dyn Fn() -> bool,
    (written, retained): (&mut Written<D>, &mut Retained),
) -> Result<(), FlushError> {
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
        match write_anew(inner, one, false, without, &keeps, stops) {
            Ok(added) => {
                written.bytes += added.map_or(0, |added| added.summary.bytes);
                written.replacements.push(Replacement { tables: one.to_vec(), added });
            }
            Err(MergeError::Table(error)) => {
                let consequence = "their table is not written without the series whose time is over";
                inner.tables.cache.damaged.report(&error, consequence);
            }
            Err(MergeError::Stopped) => break,
            Err(MergeError::Disk(error)) => return Err(no_space_or_failed(inner, &error)),
            Err(error @ MergeError::Partial(_)) => {
                tracing::error!(%error, "a table cannot be written without the series whose time is over");
            }
        }
        if written.bytes >= WRITTEN_BYTES || written.replacements.len() >= REMOVED_AT_ONCE {
            written.commit(inner, retained)?;
        }
    }
    Ok(())
}

/// Counts what is gone with replacements.
fn count<D: Disk>(made: &[Replacement<D>], retained: &mut Retained) {
    for Replacement { tables, added } in made {
        let left = added.map(|added| (added.summary.rows, added.summary.bytes)).unwrap_or_default();
        let rows: u64 = tables.iter().map(|table| table.entry.summary.rows).sum();
        let bytes: u64 = tables.iter().map(|table| table.entry.summary.bytes).sum();
        retained.rows += rows.saturating_sub(left.0);
        retained.bytes += bytes.saturating_sub(left.1);
    }
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
            state.catalog.raise_first(number_of(entry.id), days);
            // Looked at again under the lock: it may have got a window.
            let last = state.catalog.series.get(number_of(entry.id)).map(|known| known.last);
            if last.is_some_and(|last| last < days) && !state.holds(number_of(entry.id)) {
                state.catalog.remove_series(number_of(entry.id));
                removed += 1;
            }
        }
        next = page.next;
    }
    removed
}

#[cfg(test)]
mod tests;
