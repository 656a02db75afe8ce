//! Flushes windows from the memtable into tables, then releases the flushed part of the journal.
//!
//! A round records up to which position batches are applied and which numbers are delivered there, and freezes the rows
//! in memory at the same moment. It writes the records of series, some MiB at a time; then the tables of all rows; and one
//! commit names the tables, the numbers and the journal position together. So after a crash a round happened as a whole or
//! not at all: files that no record names count for nothing. Rows leave memory at the moment at which readers see the new
//! tables.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use catchment_journal::{Disk, Position};

use crate::store::{
    StoreError,
    catalog::{Catalog, Shard, hourly::HourlyCounts},
    embedded::{
        inner::Inner,
        locks::{lock, read, write},
    },
    flush::{
        marker,
        round::{self, Frozen},
        signal::FlushRequest,
    },
    salvage::folder_watch,
    tables::{
        build::BuildError,
        error::is_refusal,
        version::{StoredTable, TableEntry, Version},
    },
    tree::{
        WriteBatch,
        records::{self, Meta, Stored},
    },
};

/// A write batch is committed once it has this many bytes.
const WRITE_BATCH_BYTES: usize = 4 << 20;
/// How often the flusher looks whether a backlog has ended, and rows in memory from which on that counts.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const IDLE_ROWS: usize = 16 << 10;
/// Most records of groups written at once: the lock is held for about this long.
const GROUPS_AT_ONCE: usize = 256;

/// Why a round did not complete.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum FlushError {
    /// No space; nothing is wrong, try again later.
    #[error("the file system has only {free} bytes free, flushing windows needs {needed}")]
    Space {
        /// Bytes free.
        free: u64,
        /// Bytes required.
        needed: u64,
    },
    /// The system refuses to open or create a table; nothing is wrong, try again later.
    #[error("{0}")]
    Refused(String),
    /// The store has failed.
    #[error("{0}")]
    Failed(Arc<str>),
}

/// What a failed round, or a step like it, means to the store's caller: the store has failed, or has no space now.
pub(in crate::store) fn to_store_error<D: Disk>(inner: &Inner<D>, error: FlushError) -> StoreError {
    match error {
        FlushError::Space { .. } | FlushError::Refused(_) => StoreError::Full(error.to_string()),
        FlushError::Failed(reason) => {
            inner.fail(reason.clone());
            StoreError::Failed(reason)
        }
    }
}

/// Flushes everything that was durable before the call.
pub(in crate::store) fn flush_durable<D: Disk>(inner: &Inner<D>) -> Result<(), FlushError> {
    inner.apply_durable();
    flush_applied(inner)
}

/// Flushes everything that was applied before the call.
pub(in crate::store) fn flush_applied<D: Disk>(inner: &Inner<D>) -> Result<(), FlushError> {
    flush_applied_locked(inner, &mut lock(&inner.flush_lock))
}

/// Like [`flush_applied`], for a caller that changes tables itself.
pub(in crate::store) fn flush_applied_locked<D: Disk>(
    inner: &Inner<D>,
    meta: &mut Meta,
) -> Result<(), FlushError> {
    space(inner)?;
    let (position, counted, frozen) = {
        let mut state = write(&inner.state);
        unfailed(inner)?;
        (state.applied_to, Counted::take(&mut state.catalog), state.memtable.freeze())
    };
    write_round(inner, meta, position, &counted, frozen)
        .inspect_err(|_| counted.give_back(&mut write(&inner.state).catalog))?;
    // Tells a later start that the tables reached this far, in case sled comes back with older records.
    marker::write(&*inner.disk, &inner.folder, position)
        .map_err(|error| no_space_or_failed(inner, &error))?;
    unfailed(inner)?;
    inner.flushed_to.store(position.get(), Ordering::Release);
    inner.log.release(position);
    inner.progress.send_modify(|progress| progress.rounds += 1);
    Ok(())
}

/// What batches changed in the catalog besides names, as of one journal position.
struct Counted {
    /// Delivered numbers and watermarks, by epoch.
    shards: Vec<(u32, Vec<Shard>)>,
    /// Late corrections and refused readings, by gateway.
    hours: Vec<(u32, Arc<HourlyCounts>)>,
}

impl Counted {
    fn take(catalog: &mut Catalog) -> Self {
        let (shards, hours) =
            (std::mem::take(&mut catalog.dirty.shards), std::mem::take(&mut catalog.dirty.hours));
        let shards = shards.into_iter().filter_map(|number| {
            let known = catalog.epoch(number)?;
            Some((number, known.shards.clone()))
        });
        let hours = hours.into_iter().filter_map(|number| {
            let known = catalog.gateways.get(number as usize)?;
            Some((number, Arc::clone(&known.hours)))
        });
        Self { shards: shards.collect(), hours: hours.collect() }
    }

    /// They were not written.
    fn give_back(&self, catalog: &mut Catalog) {
        catalog.dirty.shards.extend(self.shards.iter().map(|(number, _)| *number));
        catalog.dirty.hours.extend(self.hours.iter().map(|(number, _)| *number));
    }

    fn write(&self, writes: &mut WriteBatch) {
        for (number, shards) in &self.shards {
            writes.record(records::numbered(records::SHARDS, *number), &shards.record());
        }
        for (number, hours) in &self.hours {
            writes.record(records::numbered(records::HOURS, *number), &hours.record());
        }
    }
}

/// Fails if the store has failed: memory may be flushed only while it matches the journal.
pub(in crate::store) fn unfailed<D: Disk>(inner: &Inner<D>) -> Result<(), FlushError> {
    inner.failure().map_or(Ok(()), |why| Err(FlushError::Failed(why)))
}

/// Files that found no space, or could not be created for want of descriptors, change nothing: what was written before
/// counts, and the journal keeps the rest.
pub(in crate::store) fn no_space_or_failed<D: Disk>(inner: &Inner<D>, error: &std::io::Error) -> FlushError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => {
            let free = inner.disk.free_bytes(&inner.folder).unwrap_or(0);
            FlushError::Space { free, needed: inner.config.flush_free_min }
        }
        _ if is_refusal(error) => FlushError::Refused(format!("a file cannot be written: {error}")),
        _ => FlushError::Failed(error.to_string().into()),
    }
}

/// Whether there is enough free space to begin.
pub(in crate::store) fn space<D: Disk>(inner: &Inner<D>) -> Result<(), FlushError> {
    let Inner { disk, folder, config, .. } = inner;
    let free = disk.free_bytes(folder).map_err(|e| FlushError::Failed(e.to_string().into()))?;
    let needed = config.flush_free_min;
    if free < needed { Err(FlushError::Space { free, needed }) } else { Ok(()) }
}

/// What a failed build of tables means.
pub(in crate::store) fn build_failed<D: Disk>(inner: &Inner<D>, error: BuildError) -> FlushError {
    match error {
        BuildError::Disk(error) => no_space_or_failed(inner, &error),
        BuildError::Refused(error) => FlushError::Refused(error.to_string()),
        BuildError::Partial(_) => FlushError::Failed(error.to_string().into()),
    }
}

fn write_round<D: Disk>(
    inner: &Inner<D>,
    meta: &mut Meta,
    position: Position,
    counted: &Counted,
    frozen: Frozen,
) -> Result<(), FlushError> {
    while write_catalog(inner, meta)? {
        space(inner)?;
    }
    let written = round::write_tables(inner, &frozen).map_err(|error| build_failed(inner, error))?;
    unfailed(inner)?;
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    finish(inner, position, counted, &mut writes, meta);
    let version = commit_tables(inner, meta, writes, &[], written.entries)?;
    inner.expired.fetch_add(written.expired, Ordering::Relaxed);
    let flushed = {
        let mut state = write(&inner.state);
        inner.tables.set_version(version);
        state.memtable.drop_immutable()
    };
    let rows: usize = flushed.values().flatten().map(|log| log.len()).sum();
    drop((frozen, flushed));
    inner.progress.send_modify(|progress| progress.flushed += rows as u64);
    inner.compaction.request(|request| request.flush = true);
    Ok(())
}

/// Commits that tables count, some of them in the place of others; returns the version that readers may see from now on.
///
/// # Errors
/// The store has failed.
pub(in crate::store) fn commit_tables<D: Disk>(
    inner: &Inner<D>,
    meta: &mut Meta,
    mut writes: WriteBatch,
    removed: &[Arc<StoredTable<D>>],
    added: Vec<TableEntry>,
) -> Result<Version<D>, FlushError> {
    removed.iter().for_each(|table| writes.remove(table.entry.key()));
    added.iter().for_each(|entry| writes.record(entry.key(), &entry.record()));
    meta.tables = meta.tables.saturating_sub(removed.len() as u64).saturating_add(added.len() as u64);
    meta.next_table = inner.tables.ids_used();
    inner.catalog_store.commit(writes, meta).map_err(|reason| FlushError::Failed(reason.into()))?;
    let removed: Vec<u64> = removed.iter().map(|table| table.entry.id).collect();
    let added = added.into_iter().map(|entry| entry.open(&inner.disk, &inner.folder)).collect();
    Ok(inner.tables.version().changed(&removed, added))
}

/// Writes records of the catalog that changed, a bounded number; returns whether there are more. Records are marked as
/// written at once, because a failed commit ends the store.
pub(in crate::store) fn write_catalog<D: Disk>(
    inner: &Inner<D>,
    meta: &mut Meta,
) -> Result<bool, FlushError> {
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    let mut more = true;
    while more && writes.bytes() < WRITE_BATCH_BYTES {
        let catalog = &mut write(&inner.state).catalog;
        write_gateways(catalog, &mut writes, meta);
        for _ in 0..GROUPS_AT_ONCE {
            let Some(number) = catalog.dirty.groups.pop_first() else { break };
            let Some(group) = catalog.series.group_mut(number) else { continue };
            group.dirty = false;
            if !std::mem::replace(&mut group.stored, true) {
                meta.groups = meta.groups.saturating_add(1);
            }
            writes.record(records::numbered(records::GROUP, number), &group.record());
        }
        more = !catalog.dirty.groups.is_empty();
    }
    if writes.bytes() > 0 {
        inner.catalog_store.commit(writes, meta).map_err(|reason| FlushError::Failed(reason.into()))?;
    }
    Ok(more)
}

/// Adds the records of gateways and epochs that changed.
pub(in crate::store) fn write_gateways(catalog: &mut Catalog, writes: &mut WriteBatch, meta: &mut Meta) {
    for number in std::mem::take(&mut catalog.dirty.gateways) {
        if let Some(gateway) = catalog.gateways.get(number as usize) {
            writes.record(records::numbered(records::GATEWAY, number), &gateway.record());
        }
    }
    for number in std::mem::take(&mut catalog.dirty.epochs) {
        if let Some(epoch) = catalog.epoch(number) {
            writes.record(records::numbered(records::EPOCH, number), &records::epoch_record(epoch));
        }
    }
    (meta.gateways, meta.epochs) = (catalog.gateways.len() as u32, catalog.epochs.len() as u32);
}

/// Adds the records which say that everything before a position is flushed.
fn finish<D: Disk>(
    inner: &Inner<D>,
    position: Position,
    counted: &Counted,
    writes: &mut WriteBatch,
    meta: &mut Meta,
) {
    counted.write(writes);
    let mut state = write(&inner.state);
    for id in std::mem::take(&mut state.catalog.dirty.removed) {
        meta.groups = meta.groups.saturating_sub(1);
        writes.remove(records::numbered(records::GROUP, id));
    }
    (meta.flushed_to, meta.next_series) = (position, state.catalog.next_series);
}

/// The flusher's thread: a round on request and periodically, until it must stop.
pub(in crate::store) fn run<D: Disk>(inner: &Inner<D>) {
    let mut waited = Duration::ZERO;
    let mut applied = Position::ZERO;
    loop {
        let every = inner.config.flush_every.saturating_sub(waited).min(LOOK_EVERY);
        let request = inner.signal.wait(every);
        if request.stop && !request.close {
            return;
        }
        waited += every;
        let (now, rows) = {
            let state = read(&inner.state);
            (state.applied_to, state.memtable.unfrozen().0)
        };
        // The end of a backlog: tables answer sooner than memory.
        let ended = std::mem::replace(&mut applied, now) == now && rows >= IDLE_ROWS;
        if !(ended || request.is_due(waited, inner.config.flush_every)) {
            continue;
        }
        waited = Duration::ZERO;
        let done = turn(inner, request);
        if done.is_err() || request.close {
            return;
        }
    }
}

/// Handles a request: a round, and then closes the journal if the store must close.
///
/// # Errors
/// The store has failed.
pub(in crate::store) fn turn<D: Disk>(inner: &Inner<D>, request: FlushRequest) -> Result<(), Arc<str>> {
    match flush_durable(inner) {
        Ok(()) if inner.signal.retry(false) => {
            tracing::info!(condition = "packing_waits", "windows are flushed again");
        }
        Ok(()) => {}
        Err(FlushError::Space { free, needed }) if !inner.signal.retry(true) => tracing::warn!(
            condition = "packing_waits",
            free_bytes = free,
            needed_bytes = needed,
            "no space to flush windows: they stay in memory and in the journal; gateways wait when these are full"
        ),
        Err(FlushError::Refused(why)) if !inner.signal.retry(true) => tracing::warn!(
            condition = "packing_waits",
            why,
            "windows are not flushed now: they stay in memory and in the journal; gateways wait when these are full"
        ),
        Err(FlushError::Space { .. } | FlushError::Refused(_)) => {}
        Err(FlushError::Failed(reason)) => inner.fail(reason),
    }
    if inner.signal.is_retrying() {
        // Who waits for tables must not wait for space.
        inner.progress.send_modify(|_| ());
    }
    if request.close {
        // A clean shutdown claims that everything is durable: check that the folder is still there.
        let _ = folder_watch::check(inner);
        if let Err(error) = inner.log.close() {
            inner.fail(error.to_string().into());
        }
        inner.progress.send_modify(|progress| progress.closed = true);
    }
    inner.failure().map_or(Ok(()), Err)
}
