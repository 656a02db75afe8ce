//! Moves recent windows from memory into packs, and releases the journal behind them.
//!
//! One round: remember up to where the batches are applied and what numbers are delivered there; pack all that
//! memory holds, group by group of series, a few MiB at a time; write the numbers and the journal position together with
//! the last of it; when that is durable, and only then, release the journal. Rows leave memory when their packs are
//! durable, so a reader who looks into memory first and packs second misses nothing. A crash in between leaves the
//! old position: the journal is read again and finds the same names in the packs.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use catchment_journal::{Disk, Position};

use super::{
    apply::State,
    catalog::Shard,
    inner::{Inner, lock, read, write},
    pack, packed, place,
    recent::Log,
    records::{self, Meta, Stored, Tally},
    row::{RowRef, bucket_of, resolve},
    signal::Request,
    tree::Change,
};

/// A change is committed when it has this many bytes.
const CHANGE_BYTES: usize = 4 << 20;

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

/// Packs all that was durable before it began.
pub(super) fn round<D: Disk>(inner: &Inner<D>) -> Result<(), PackError> {
    inner.settle();
    round_of_applied(inner)
}

/// Packs all that was applied before it began.
pub(super) fn round_of_applied<D: Disk>(inner: &Inner<D>) -> Result<(), PackError> {
    round_within(inner, &mut lock(&inner.packing))
}

/// As [`round_of_applied`], for a caller that changes packs itself.
pub(super) fn round_within<D: Disk>(inner: &Inner<D>, meta: &mut Meta) -> Result<(), PackError> {
    let (position, shards) = {
        let mut state = write(&inner.state);
        unfailed(inner)?;
        let dirty = std::mem::take(&mut state.catalog.dirty.shards);
        let shards = dirty.iter().filter_map(|number| {
            let known = state.catalog.origin(*number)?;
            Some((*number, known.shards.clone()))
        });
        (state.applied_to, shards.collect::<Vec<(u32, Vec<Shard>)>>())
    };
    Round::new(inner, meta).run(position, &shards).inspect_err(|_| {
        let numbers = shards.iter().map(|(number, _)| *number);
        write(&inner.state).catalog.dirty.shards.extend(numbers);
    })?;
    // Tells a later start that packs up to here were there, should sled come back with older ones.
    packed::write(&*inner.disk, &inner.folder, position)
        .map_err(|error| no_space_or_failed(inner, &error))?;
    unfailed(inner)?;
    inner.packed_to.store(position.get(), Ordering::Release);
    inner.log.release(position);
    inner.progress.send_modify(|progress| progress.rounds += 1);
    Ok(())
}

/// What memory holds may be packed only while it is what the journal says.
fn unfailed<D: Disk>(inner: &Inner<D>) -> Result<(), PackError> {
    inner.failure().map_or(Ok(()), |why| Err(PackError::Failed(why)))
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

/// A round under way.
pub(super) struct Round<'a, D: Disk> {
    inner: &'a Inner<D>,
    meta: &'a mut Meta,
    change: Change,
    /// Groups whose records go into the change, with what their packs then add up to.
    tallies: BTreeMap<u32, Tally>,
    /// Groups whose frozen rows are all in the change or committed.
    done: Vec<u32>,
}

impl<'a, D: Disk> Round<'a, D> {
    pub(super) fn new(inner: &'a Inner<D>, meta: &'a mut Meta) -> Self {
        let change = Change::new(meta.change.saturating_add(1));
        Self { inner, meta, change, tallies: BTreeMap::new(), done: Vec::new() }
    }

    fn run(mut self, position: Position, shards: &[(u32, Vec<Shard>)]) -> Result<(), PackError> {
        self.space()?;
        let mut from = Some(0);
        while let Some((group, rows)) = from.and_then(|from| self.take(from)) {
            if let Some(rows) = rows {
                self.pack(group, rows.rows().collect())?;
            }
            self.done.push(group);
            if self.change.bytes() >= CHANGE_BYTES {
                self.commit()?;
                self.space()?;
            }
            from = group.checked_add(1);
        }
        finish(self.inner, position, shards, &mut self.change, self.meta);
        self.commit()
    }

    /// Whether there is room to go on.
    fn space(&self) -> Result<(), PackError> {
        let Inner { disk, folder, config, .. } = self.inner;
        let free = disk.free_bytes(folder).map_err(|e| PackError::Failed(e.to_string().into()))?;
        let needed = config.pack_free_min;
        if free < needed { Err(PackError::Space { free, needed }) } else { Ok(()) }
    }

    /// The next group that has rows or a changed record, from a number on. Its rows are frozen; the records of gateways
    /// and origins, which they may refer to, go into the change. Records are marked as written, because a change that fails
    /// ends the store.
    pub(super) fn take(&mut self, from: u32) -> Option<(u32, Option<Arc<Log>>)> {
        let mut state = write(&self.inner.state);
        let State { catalog, recent, .. } = &mut *state;
        for number in std::mem::take(&mut catalog.dirty.gateways) {
            if let Some(gateway) = catalog.gateways.get(number as usize) {
                self.change.record(records::numbered(records::GATEWAY, number), &gateway.record());
            }
        }
        for number in std::mem::take(&mut catalog.dirty.origins) {
            if let Some(origin) = catalog.origin(number) {
                self.change
                    .record(records::numbered(records::ORIGIN, number), &records::origin_record(origin));
            }
        }
        self.meta.gateways = catalog.gateways.len() as u32;
        self.meta.origins = catalog.origins.len() as u32;
        let dirty = catalog.dirty.groups.range(from..).next().copied();
        let group = recent.next_group(from).into_iter().chain(dirty).min()?;
        catalog.dirty.groups.remove(&group);
        let tally = catalog.series.group_mut(group).map(|group| {
            group.dirty = false;
            group.tally
        });
        self.tallies.insert(group, tally.unwrap_or_default());
        Some((group, recent.freeze(group)))
    }

    /// Packs rows of a group; in more than one change where they are many.
    pub(super) fn pack(&mut self, group: u32, mut rows: Vec<RowRef<'_>>) -> Result<(), PackError> {
        let failed = |reason: String| PackError::Failed(reason.into());
        let bucket = |row: &RowRef<'_>| bucket_of(row.name.start);
        rows.sort_by_cached_key(bucket);
        for rows in rows.chunk_by(|a, b| bucket(a) == bucket(b)) {
            let Some(number) = rows.first().map(bucket) else { continue };
            self.pack_bucket(group, number, rows).map_err(failed)?;
            if self.change.bytes() >= CHANGE_BYTES {
                self.commit()?;
            }
        }
        Ok(())
    }

    /// Adds rows of one bucket to its packs: the last one is extended while it is small.
    fn pack_bucket(&mut self, group: u32, bucket: i64, rows: &[RowRef<'_>]) -> Result<(), String> {
        let tally = self.tallies.entry(group).or_default();
        let last = self.inner.packs.last_pack(group, bucket)?;
        let mut number = 0_u32;
        let mut merged = Vec::new();
        if let Some((key, value)) = &last {
            let opened = records::unseal(key, value).ok();
            let small = opened.filter(|sealed| sealed.content.len() < pack::PACK_BYTES_SMALL);
            number = records::pack_of(key).map_or(u32::MAX, |(_, _, number)| number);
            match small.and_then(|last| Some((last, pack::decode(group, last.content, None).ok()?))) {
                Some((sealed, rows)) => {
                    tally.remove(key, sealed.change);
                    merged = rows;
                }
                None => number = number.checked_add(1).ok_or("a bucket has no number left for a pack")?,
            }
        }
        merged.extend_from_slice(rows);
        resolve(&mut merged);
        for run in pack::split(&merged) {
            let key = records::pack_key(group, bucket, number);
            tally.add(&key, self.change.number());
            self.change.insert(key, &pack::encode(run));
            number = number.checked_add(1).ok_or("a bucket has no number left for a pack")?;
        }
        Ok(())
    }

    /// Makes durable what was packed so far, and lets memory go of it.
    pub(super) fn commit(&mut self) -> Result<(), PackError> {
        unfailed(self.inner)?;
        put_groups(self.inner, &self.tallies, &mut self.change, self.meta);
        let change = std::mem::replace(&mut self.change, Change::new(0));
        self.inner.packs.commit(change, self.meta).map_err(|reason| PackError::Failed(reason.into()))?;
        self.change = Change::new(self.meta.change.saturating_add(1));
        // A group that is not done goes on from what its packs now add up to.
        let last = self.tallies.pop_last().filter(|(group, _)| self.done.last() != Some(group));
        self.tallies = last.into_iter().collect();
        let packed = {
            let mut state = write(&self.inner.state);
            let gone = self.done.drain(..).filter_map(|group| state.recent.drop_frozen(group));
            gone.collect::<Vec<_>>()
        };
        let rows: usize = packed.iter().map(|log| log.len()).sum();
        self.inner.progress.send_modify(|progress| progress.packed += rows as u64);
        Ok(())
    }
}

/// What the packs of a group add up to.
pub(super) fn tally_of<D: Disk>(inner: &Inner<D>, group: u32) -> Tally {
    read(&inner.state).catalog.series.group(group).map_or_else(Tally::default, |known| known.tally)
}

/// Adds the records of groups that have these packs now.
pub(super) fn put_groups<D: Disk>(
    inner: &Inner<D>,
    tallies: &BTreeMap<u32, Tally>,
    change: &mut Change,
    meta: &mut Meta,
) {
    let catalog = &mut write(&inner.state).catalog;
    for (number, tally) in tallies {
        let Some(group) = catalog.series.group_mut(*number) else { continue };
        group.tally = *tally;
        if !std::mem::replace(&mut group.stored, true) {
            meta.groups = meta.groups.saturating_add(1);
        }
        change.record(records::numbered(records::GROUP, *number), &group.record());
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
        meta.groups = meta.groups.saturating_sub(1);
        change.remove(records::numbered(records::GROUP, id));
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
        Ok(()) if inner.signal.retry(false) => {
            tracing::info!(condition = "packing_waits", "there is space again: windows are packed");
        }
        Ok(()) => {}
        Err(PackError::Space { free, needed }) if !inner.signal.retry(true) => tracing::warn!(
            condition = "packing_waits",
            free_bytes = free,
            needed_bytes = needed,
            "no space to pack windows: they stay in memory and in the journal; gateways wait when these are full"
        ),
        Err(PackError::Space { .. }) => {}
        Err(PackError::Failed(reason)) => inner.fail(reason),
    }
    if request.close {
        // An end in order claims that everything is durable.
        let _ = place::look(inner);
        if let Err(error) = inner.log.close() {
            inner.fail(error.to_string().into());
        }
        inner.progress.send_modify(|progress| progress.closed = true);
    }
    inner.failure().map_or(Ok(()), Err)
}
