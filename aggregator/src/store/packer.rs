//! Moves recent windows from memory into packs, and releases the journal behind them.
//!
//! One round: remember up to where the batches are applied and what numbers are delivered there; pack all that
//! memory holds, series by series, a few MiB at a time; write the numbers and the journal position together with
//! the last of it; when that is durable, and only then, release the journal. A row leaves memory when its pack is
//! durable, so a reader who looks into memory first and packs second misses nothing. A crash in between leaves the
//! old position: the journal is read again and finds the same names in the packs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use catchment_journal::{Disk, Position};

use super::{
    catalog::Shard,
    inner::{Inner, lock, read, write},
    pack, packed,
    records::{self, Meta, Stored, Tally},
    row::{Row, resolve},
    signal::Request,
    tree::Change,
};

/// A change is committed when it has this many bytes.
const CHANGE_BYTES: usize = 4 << 20;
/// Bytes of rows and number of series that are taken from memory at once.
const TAKE_BYTES: usize = 2 << 20;
const TAKE_SERIES: usize = 10_000;
/// Why a round did not end.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    /// No space: try again later, nothing is wrong.
    #[error("the file system has only {free} bytes free, packing windows takes {needed}")]
    Space {
        /// Bytes free.
        free: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// The store has failed.
    #[error("{0}")]
    Failed(Arc<str>),
}

/// What one step takes from memory.
struct Taken {
    series: Vec<(u32, Vec<Row>)>,
    /// Series whose records are to be written.
    changed: BTreeSet<u32>,
    /// Where the next step goes on; `None`: nothing is left.
    next: Option<u32>,
}

/// Packs all that was durable before it began.
pub(super) fn round<D: Disk>(inner: &Inner<D>) -> Result<(), PackError> {
    inner.settle();
    round_of_applied(inner)
}

/// Packs all that was applied before it began.
pub(super) fn round_of_applied<D: Disk>(inner: &Inner<D>) -> Result<(), PackError> {
    let meta = &mut *lock(&inner.packing);
    let (position, shards) = {
        let mut state = write(&inner.state);
        let dirty = std::mem::take(&mut state.catalog.dirty.shards);
        let shards = dirty.iter().filter_map(|number| {
            let known = state.catalog.origin(*number)?;
            Some((*number, known.shards.clone()))
        });
        (state.applied_to, shards.collect::<Vec<(u32, Vec<Shard>)>>())
    };
    let mut from = Some(0);
    while let Some(at) = from {
        from = step(inner, at, position, &shards, meta).inspect_err(|_| {
            let numbers = shards.iter().map(|(number, _)| *number);
            write(&inner.state).catalog.dirty.shards.extend(numbers);
        })?;
    }
    // Tells a later start that packs up to here were there, should sled come back with older ones.
    packed::write(&*inner.disk, &inner.folder, position)
        .map_err(|error| no_space_or_failed(inner, &error))?;
    inner.packed_to.store(position.get(), Ordering::Release);
    inner.log.release(position);
    inner.progress.send_modify(|progress| progress.rounds += 1);
    Ok(())
}

/// A small file that found no space changes nothing: the packs are there, only their release waits.
fn no_space_or_failed<D: Disk>(inner: &Inner<D>, error: &std::io::Error) -> PackError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => {
            let free = inner.disk.free_bytes(&inner.folder).unwrap_or(0);
            PackError::Space { free, needed: inner.config.pack_free_min }
        }
        _ => PackError::Failed(error.to_string().into()),
    }
}

/// Packs what fits into one change, from a series on; returns where to go on.
pub(super) fn step<D: Disk>(
    inner: &Inner<D>,
    from: u32,
    position: Position,
    shards: &[(u32, Vec<Shard>)],
    meta: &mut Meta,
) -> Result<Option<u32>, PackError> {
    let failed = |reason: String| PackError::Failed(reason.into());
    let free = inner.disk.free_bytes(&inner.folder).map_err(|e| failed(e.to_string()))?;
    let needed = inner.config.pack_free_min;
    if free < needed {
        return Err(PackError::Space { free, needed });
    }
    let mut change = Change::new(meta.change.saturating_add(1));
    let Taken { series, next, changed } = take(inner, from, &mut change, meta);
    let (mut packed, mut tallies) = (Vec::new(), BTreeMap::new());
    let mut next = next;
    'all: for (id, rows) in &series {
        for rows in rows.chunk_by(|a, b| a.name.bucket() == b.name.bucket()) {
            let tally = tallies.entry(*id).or_insert_with(|| tally_of(inner, *id));
            add(inner, *id, rows, &mut change, tally).map_err(failed)?;
            packed.extend(rows.iter().map(|row| (*id, row.name, row.revision)));
            if change.bytes() >= CHANGE_BYTES {
                // What else was taken is still in memory; the next step begins with this series again.
                next = Some(*id);
                break 'all;
            }
        }
    }
    put_series(inner, &changed, &tallies, &mut change, meta);
    if next.is_none() {
        finish(inner, position, shards, &mut change, meta);
    }
    inner.packs.commit(change, meta).map_err(failed)?;
    let mut state = write(&inner.state);
    for (series, name, revision) in &packed {
        state.recent.drop_up_to(*series, name, *revision);
    }
    drop(state);
    inner.progress.send_modify(|progress| progress.packed += packed.len() as u64);
    Ok(next)
}

/// Takes rows and changed records from memory; the records go into the change and are marked as written, because a
/// change that fails ends the store.
fn take<D: Disk>(inner: &Inner<D>, from: u32, change: &mut Change, meta: &mut Meta) -> Taken {
    let mut state = write(&inner.state);
    let state = &mut *state;
    for number in std::mem::take(&mut state.catalog.dirty.gateways) {
        if let Some(gateway) = state.catalog.gateways.get(number as usize) {
            change.record(records::numbered(records::GATEWAY, number), &gateway.record());
        }
    }
    for number in std::mem::take(&mut state.catalog.dirty.origins) {
        if let Some(origin) = state.catalog.origin(number) {
            change.record(records::numbered(records::ORIGIN, number), &records::origin_record(origin));
        }
    }
    meta.gateways = state.catalog.gateways.len() as u32;
    meta.origins = state.catalog.origins.len() as u32;
    let (mut series, mut changed, mut bytes, mut at) = (Vec::new(), BTreeSet::new(), 0, from);
    loop {
        let dirty = state.catalog.dirty.series.range(at..).next().copied();
        let Some(id) = [state.recent.next_series(at), dirty].into_iter().flatten().min() else {
            return Taken { series, changed, next: None };
        };
        if series.len() >= TAKE_SERIES || bytes >= TAKE_BYTES {
            return Taken { series, changed, next: Some(id) };
        }
        if state.catalog.dirty.series.remove(&id) {
            changed.insert(id);
        }
        let mut rows = Vec::new();
        for row in state.recent.all(id) {
            bytes += row.body.len() + 32;
            rows.push(row);
            if bytes >= TAKE_BYTES {
                series.push((id, rows));
                return Taken { series, changed, next: Some(id) };
            }
        }
        series.push((id, rows));
        let Some(next) = id.checked_add(1) else { return Taken { series, changed, next: None } };
        at = next;
    }
}

/// Adds rows of one bucket to its packs: the last one is extended while it is small.
fn add<D: Disk>(
    inner: &Inner<D>,
    series: u32,
    rows: &[Row],
    change: &mut Change,
    tally: &mut Tally,
) -> Result<(), String> {
    let Some(bucket) = rows.first().map(|row| row.name.bucket()) else { return Ok(()) };
    let (mut number, mut merged) = match inner.packs.last_pack(series, bucket)? {
        None => (0, Vec::new()),
        Some((number, Ok(last))) if last.bytes < pack::PACK_BYTES_FULL => {
            tally.remove(&records::pack_key(series, bucket, number), last.change);
            (number, last.rows)
        }
        Some((number, _)) => {
            (number.checked_add(1).ok_or("a bucket has no number left for a pack")?, Vec::new())
        }
    };
    merged.extend_from_slice(rows);
    resolve(&mut merged);
    for run in pack::split(&merged) {
        let key = records::pack_key(series, bucket, number);
        tally.add(&key, change.number());
        change.insert(key, &pack::encode(run));
        number = number.checked_add(1).ok_or("a bucket has no number left for a pack")?;
    }
    Ok(())
}

/// The tally of a series' packs.
pub(super) fn tally_of<D: Disk>(inner: &Inner<D>, series: u32) -> Tally {
    read(&inner.state).catalog.series.get(&series).map_or_else(Tally::default, |known| known.tally)
}

/// Adds the records of series that have changed or have other packs now.
pub(super) fn put_series<D: Disk>(
    inner: &Inner<D>,
    changed: &BTreeSet<u32>,
    tallies: &BTreeMap<u32, Tally>,
    change: &mut Change,
    meta: &mut Meta,
) {
    let catalog = &mut write(&inner.state).catalog;
    for id in changed.iter().chain(tallies.keys().filter(|id| !changed.contains(id))) {
        let Some(series) = catalog.series.get_mut(id) else { continue };
        series.tally = tallies.get(id).copied().unwrap_or(series.tally);
        if !std::mem::replace(&mut series.stored, true) {
            meta.series = meta.series.saturating_add(1);
        }
        change.record(records::numbered(records::SERIES, *id), &series.record());
    }
}

/// Adds what says that everything before a position is packed.
fn finish<D: Disk>(
    inner: &Inner<D>,
    position: Position,
    shards: &[(u32, Vec<Shard>)],
    change: &mut Change,
    meta: &mut Meta,
) {
    for (number, shards) in shards {
        change.record(records::numbered(records::SHARDS, *number), &shards.record());
    }
    let mut state = write(&inner.state);
    for id in std::mem::take(&mut state.catalog.dirty.removed) {
        meta.series = meta.series.saturating_sub(1);
        change.remove(records::numbered(records::SERIES, id));
    }
    (meta.packed_to, meta.next_series) = (position, state.catalog.next_series);
}

/// The packer's thread: a round when asked for and from time to time, until told to stop.
pub(super) fn run<D: Disk>(inner: &Inner<D>) {
    loop {
        let request = inner.signal.wait(inner.config.pack_every);
        if request.stop && !request.close {
            return;
        }
        let done = turn(inner, request);
        if done.is_err() || request.close {
            return;
        }
    }
}

/// Does what is asked for: a round, and after it the end of the journal if the store is to close.
///
/// # Errors
/// The store has failed.
pub(super) fn turn<D: Disk>(inner: &Inner<D>, request: Request) -> Result<(), Arc<str>> {
    match round(inner) {
        Ok(()) if inner.signal.retry(false) => tracing::info!("there is space again: windows are packed"),
        Ok(()) => {}
        Err(PackError::Space { free, needed }) if !inner.signal.retry(true) => tracing::warn!(
            free_bytes = free,
            needed_bytes = needed,
            "no space to pack windows: they stay in memory and in the journal; gateways wait when these are full"
        ),
        Err(PackError::Space { .. }) => {}
        Err(PackError::Failed(reason)) => inner.fail(reason),
    }
    if request.close {
        if let Err(error) = inner.log.close() {
            inner.fail(error.to_string().into());
        }
        inner.progress.send_modify(|progress| progress.closed = true);
    }
    inner.failure().map_or(Ok(()), Err)
}
