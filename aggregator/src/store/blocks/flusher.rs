//! Flushes windows from the memtable into blocks, then releases the flushed part of the journal.
//!
//! A round records up to which position batches are applied and which numbers are delivered there; flushes everything
//! in memory, group by group of series, a few MiB at a time; writes the numbers and the journal position together
//! with the last part; and releases the journal only once that is durable. Rows leave memory when their blocks are
//! durable, so a reader that looks into memory first and blocks second misses nothing. A crash in between leaves the
//! old position: the journal is replayed and finds the same names in the blocks.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use catchment_journal::{Disk, Position};

use crate::store::{
    blocks::{block, flush_marker, flush_signal::FlushRequest},
    catalog::Shard,
    embedded::{
        inner::Inner,
        locks::{lock, read, write},
    },
    memtable::{
        RowLog,
        row::{RowRef, bucket_of, resolve},
    },
    salvage::folder_watch,
    tree::{
        WriteBatch,
        records::{self, BlockManifest, Meta, Stored},
    },
    wal::apply::StoreState,
};

/// A write batch is committed once it has this many bytes.
const WRITE_BATCH_BYTES: usize = 4 << 20;

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
    /// The store has failed.
    #[error("{0}")]
    Failed(Arc<str>),
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

/// Like [`flush_applied`], for a caller that changes blocks itself.
pub(in crate::store) fn flush_applied_locked<D: Disk>(
    inner: &Inner<D>,
    meta: &mut Meta,
) -> Result<(), FlushError> {
    let (position, shards) = {
        let mut state = write(&inner.state);
        unfailed(inner)?;
        let dirty = std::mem::take(&mut state.catalog.dirty.shards);
        let shards = dirty.iter().filter_map(|number| {
            let known = state.catalog.epoch(*number)?;
            Some((*number, known.shards.clone()))
        });
        (state.applied_to, shards.collect::<Vec<(u32, Vec<Shard>)>>())
    };
    FlushRound::new(inner, meta).run(position, &shards).inspect_err(|_| {
        let numbers = shards.iter().map(|(number, _)| *number);
        write(&inner.state).catalog.dirty.shards.extend(numbers);
    })?;
    // Tells a later start that the blocks reached this far, in case sled comes back with older ones.
    flush_marker::write(&*inner.disk, &inner.folder, position)
        .map_err(|error| no_space_or_failed(inner, &error))?;
    unfailed(inner)?;
    inner.flushed_to.store(position.get(), Ordering::Release);
    inner.log.release(position);
    inner.progress.send_modify(|progress| progress.rounds += 1);
    Ok(())
}

/// Fails if the store has failed: memory may be flushed only while it matches the journal.
fn unfailed<D: Disk>(inner: &Inner<D>) -> Result<(), FlushError> {
    inner.failure().map_or(Ok(()), |why| Err(FlushError::Failed(why)))
}

/// A marker file that found no space changes nothing: the blocks are durable, only their release waits.
fn no_space_or_failed<D: Disk>(inner: &Inner<D>, error: &std::io::Error) -> FlushError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => {
            let free = inner.disk.free_bytes(&inner.folder).unwrap_or(0);
            FlushError::Space { free, needed: inner.config.flush_free_min }
        }
        _ => FlushError::Failed(error.to_string().into()),
    }
}

/// A round in progress.
pub(in crate::store) struct FlushRound<'a, D: Disk> {
    inner: &'a Inner<D>,
    meta: &'a mut Meta,
    writes: WriteBatch,
    /// Groups whose records go into the write batch, with the resulting manifests of their blocks.
    manifests: BTreeMap<u32, BlockManifest>,
    /// Groups whose immutable rows are all in the write batch or committed.
    done: Vec<u32>,
}

impl<'a, D: Disk> FlushRound<'a, D> {
    pub(in crate::store) fn new(inner: &'a Inner<D>, meta: &'a mut Meta) -> Self {
        let writes = WriteBatch::new(meta.sequence.saturating_add(1));
        Self { inner, meta, writes, manifests: BTreeMap::new(), done: Vec::new() }
    }

    fn run(mut self, position: Position, shards: &[(u32, Vec<Shard>)]) -> Result<(), FlushError> {
        self.space()?;
        let mut from = Some(0);
        while let Some((group, rows)) = from.and_then(|from| self.take(from)) {
            if let Some(rows) = rows {
                self.write_group(group, rows.rows().collect())?;
            }
            self.done.push(group);
            if self.writes.bytes() >= WRITE_BATCH_BYTES {
                self.commit()?;
                self.space()?;
            }
            from = group.checked_add(1);
        }
        finish(self.inner, position, shards, &mut self.writes, self.meta);
        self.commit()
    }

    /// Whether there is enough free space to continue.
    fn space(&self) -> Result<(), FlushError> {
        let Inner { disk, folder, config, .. } = self.inner;
        let free = disk.free_bytes(folder).map_err(|e| FlushError::Failed(e.to_string().into()))?;
        let needed = config.flush_free_min;
        if free < needed { Err(FlushError::Space { free, needed }) } else { Ok(()) }
    }

    /// Takes the next group, from a number on, that has rows or a changed record. Its rows become immutable; the
    /// records of gateways and epochs, which they may refer to, go into the write batch. Records are marked as
    /// written at once, because a failed batch ends the store.
    pub(in crate::store) fn take(&mut self, from: u32) -> Option<(u32, Option<Arc<RowLog>>)> {
        let mut state = write(&self.inner.state);
        let StoreState { catalog, memtable, .. } = &mut *state;
        for number in std::mem::take(&mut catalog.dirty.gateways) {
            if let Some(gateway) = catalog.gateways.get(number as usize) {
                self.writes.record(records::numbered(records::GATEWAY, number), &gateway.record());
            }
        }
        for number in std::mem::take(&mut catalog.dirty.epochs) {
            if let Some(epoch) = catalog.epoch(number) {
                self.writes.record(records::numbered(records::EPOCH, number), &records::epoch_record(epoch));
            }
        }
        self.meta.gateways = catalog.gateways.len() as u32;
        self.meta.epochs = catalog.epochs.len() as u32;
        let dirty = catalog.dirty.groups.range(from..).next().copied();
        let group = memtable.next_group(from).into_iter().chain(dirty).min()?;
        catalog.dirty.groups.remove(&group);
        let manifest = catalog.series.group_mut(group).map(|group| {
            group.dirty = false;
            group.manifest
        });
        self.manifests.insert(group, manifest.unwrap_or_default());
        Some((group, memtable.freeze(group)))
    }

    /// Writes rows of a group to blocks; in several write batches if they are many.
    pub(in crate::store) fn write_group(
        &mut self,
        group: u32,
        mut rows: Vec<RowRef<'_>>,
    ) -> Result<(), FlushError> {
        let failed = |reason: String| FlushError::Failed(reason.into());
        let bucket = |row: &RowRef<'_>| bucket_of(row.name.start);
        rows.sort_by_cached_key(bucket);
        for rows in rows.chunk_by(|a, b| bucket(a) == bucket(b)) {
            let Some(number) = rows.first().map(bucket) else { continue };
            self.write_bucket(group, number, rows).map_err(failed)?;
            if self.writes.bytes() >= WRITE_BATCH_BYTES {
                self.commit()?;
            }
        }
        Ok(())
    }

    /// Adds rows of one bucket to its blocks; the last block is extended while it is small.
    fn write_bucket(&mut self, group: u32, bucket: i64, rows: &[RowRef<'_>]) -> Result<(), String> {
        let manifest = self.manifests.entry(group).or_default();
        let last = self.inner.blocks.last_block(group, bucket)?;
        let mut number = 0_u32;
        let mut merged = Vec::new();
        if let Some((key, value)) = &last {
            let opened = records::unseal(key, value).ok();
            let small = opened.filter(|sealed| sealed.content.len() < block::BLOCK_BYTES_SMALL);
            number = records::parse_block_key(key).map_or(u32::MAX, |(_, _, number)| number);
            match small.and_then(|last| Some((last, block::decode(group, last.content, None).ok()?))) {
                Some((sealed, rows)) => {
                    manifest.remove(key, sealed.sequence);
                    merged = rows;
                }
                None => number = number.checked_add(1).ok_or("a bucket has no block number left")?,
            }
        }
        merged.extend_from_slice(rows);
        resolve(&mut merged);
        for run in block::split(&merged) {
            let key = records::block_key(group, bucket, number);
            manifest.add(&key, self.writes.sequence());
            self.writes.insert(key, &block::encode(run));
            number = number.checked_add(1).ok_or("a bucket has no block number left")?;
        }
        Ok(())
    }

    /// Makes durable everything flushed so far, and frees its memory.
    pub(in crate::store) fn commit(&mut self) -> Result<(), FlushError> {
        unfailed(self.inner)?;
        put_groups(self.inner, &self.manifests, &mut self.writes, self.meta);
        let writes = std::mem::replace(&mut self.writes, WriteBatch::new(0));
        self.inner.blocks.commit(writes, self.meta).map_err(|reason| FlushError::Failed(reason.into()))?;
        self.writes = WriteBatch::new(self.meta.sequence.saturating_add(1));
        // An unfinished group continues from the manifest of its present blocks.
        let last = self.manifests.pop_last().filter(|(group, _)| self.done.last() != Some(group));
        self.manifests = last.into_iter().collect();
        let flushed = {
            let mut state = write(&self.inner.state);
            let gone = self.done.drain(..).filter_map(|group| state.memtable.drop_immutable(group));
            gone.collect::<Vec<_>>()
        };
        let rows: usize = flushed.iter().map(|log| log.len()).sum();
        self.inner.progress.send_modify(|progress| progress.flushed += rows as u64);
        Ok(())
    }
}

/// The manifest of a group's blocks.
pub(in crate::store) fn manifest_of<D: Disk>(inner: &Inner<D>, group: u32) -> BlockManifest {
    read(&inner.state).catalog.series.group(group).map_or_else(BlockManifest::default, |known| known.manifest)
}

/// Adds the records of groups with these manifests.
pub(in crate::store) fn put_groups<D: Disk>(
    inner: &Inner<D>,
    manifests: &BTreeMap<u32, BlockManifest>,
    writes: &mut WriteBatch,
    meta: &mut Meta,
) {
    let catalog = &mut write(&inner.state).catalog;
    for (number, manifest) in manifests {
        let Some(group) = catalog.series.group_mut(*number) else { continue };
        group.manifest = *manifest;
        if !std::mem::replace(&mut group.stored, true) {
            meta.groups = meta.groups.saturating_add(1);
        }
        writes.record(records::numbered(records::GROUP, *number), &group.record());
    }
}

/// Adds the records which say that everything before a position is flushed.
fn finish<D: Disk>(
    inner: &Inner<D>,
    position: Position,
    shards: &[(u32, Vec<Shard>)],
    writes: &mut WriteBatch,
    meta: &mut Meta,
) {
    for (number, shards) in shards {
        writes.record(records::numbered(records::SHARDS, *number), &shards.record());
    }
    let mut state = write(&inner.state);
    for id in std::mem::take(&mut state.catalog.dirty.removed) {
        meta.groups = meta.groups.saturating_sub(1);
        writes.remove(records::numbered(records::GROUP, id));
    }
    (meta.flushed_to, meta.next_series) = (position, state.catalog.next_series);
}

/// The flusher's thread: a round on request and periodically, until it must stop.
pub(in crate::store) fn run<D: Disk>(inner: &Inner<D>) {
    loop {
        let request = inner.signal.wait(inner.config.flush_every);
        if request.stop && !request.close {
            return;
        }
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
            tracing::info!(condition = "packing_waits", "there is space again: windows were flushed");
        }
        Ok(()) => {}
        Err(FlushError::Space { free, needed }) if !inner.signal.retry(true) => tracing::warn!(
            condition = "packing_waits",
            free_bytes = free,
            needed_bytes = needed,
            "no space to flush windows: they stay in memory and in the journal; gateways wait when these are full"
        ),
        Err(FlushError::Space { .. }) => {}
        Err(FlushError::Failed(reason)) => inner.fail(reason),
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
