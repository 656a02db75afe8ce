//! Keeps the number of tables small: merges neighbours in age, in the background.
//!
//! It works on a version that stays as it is, and holds the flusher up only for the commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use catchment_journal::Disk;

use crate::store::{
    embedded::{
        inner::Inner,
        locks::{lock, read},
    },
    flush::flusher::{FlushError, commit_tables, no_space_or_failed, space, unfailed},
    tables::{
        merge::{MergeError, MergePlan, merge, worth_merging},
        resolution::Resolution,
        version::{self, StoredTable, TableEntry, Version},
        writer::TableWriter,
    },
    tree::WriteBatch,
};

/// Longest time between two looks, so that a merge which found no space is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Most bytes of the tables of a partition that are merged into one, however few they are, once nothing was flushed for
/// [`LOOK_EVERY`].
const TINY_BYTES: u64 = 1 << 20;

/// The compactor's thread, until it must stop.
pub(in crate::store) fn run<D: Disk>(inner: &Inner<D>, stop: &AtomicBool) {
    let stops = || stop.load(Ordering::Acquire) || inner.failure().is_some();
    // At first, what the last stop left: a backlog leaves many tables.
    let mut idle = false;
    loop {
        while !stops() && matches!(compact_once(inner, idle, &stops), Ok(true)) {}
        let request = inner.compaction.wait(LOOK_EVERY);
        if request.stop || request.close || stops() {
            return;
        }
        // A backlog, or sparse data over years, leaves some small tables in each partition: merged when there is time.
        idle = !request.flush;
    }
}

/// Writes a table without removed series, or merges the tables of one partition where that is worth it; returns whether
/// there was anything to do. `idle`: also where there are only few small ones.
///
/// # Errors
/// There is no space, or the store has failed.
pub(in crate::store) fn compact_once<D: Disk>(
    inner: &Inner<D>,
    idle: bool,
    stops: &dyn Fn() -> bool,
) -> Result<bool, FlushError> {
    let version = inner.tables.version();
    // While records are lost, nobody knows which series were removed.
    let purges = !read(&inner.state).catalog.incomplete;
    let purged = purges.then(|| inner.tables.next_purge()).flatten();
    let without = purged.as_ref().map_or(0, |table| table.entry.without);
    let chosen = purged.map(|table| (vec![table], false)).or_else(|| choose(inner, &version, idle));
    let Some((tables, oldest)) = chosen else { return Ok(false) };
    space(inner)?;
    match rewrite(inner, &tables, oldest, without, &|_| true, stops) {
        Ok(()) => Ok(true),
        Err(RewriteError::Flush(error)) => Err(error),
        Err(RewriteError::Merge(MergeError::Stopped)) => Ok(false),
        Err(RewriteError::Merge(MergeError::Disk(error))) => Err(no_space_or_failed(inner, &error)),
        Err(RewriteError::Merge(MergeError::Table(error))) if error.is_refusal() => {
            // Tried again with the next look.
            tracing::warn!(condition = "tables_not_opened", %error, "tables wait to be merged");
            Ok(false)
        }
        Err(RewriteError::Merge(error)) => {
            tracing::error!(%error, "tables cannot be merged: they stay as they are");
            inner.tables.give_up(tables.iter().map(|table| table.entry.id));
            Ok(true)
        }
    }
}

/// The first tables that are worth merging, and whether they are the oldest of their partition.
fn choose<D: Disk>(
    inner: &Inner<D>,
    version: &Version<D>,
    idle: bool,
) -> Option<(Vec<Arc<StoredTable<D>>>, bool)> {
    for resolution in Resolution::ALL {
        let mut partitions = version.partitions(resolution, i32::MIN).peekable();
        while let Some((_, tables)) = partitions.next() {
            // The last one gets the next flush.
            let tidies = idle && partitions.peek().is_some();
            // Tables that cannot be merged separate those before them from those after them.
            let given_up = tables.iter().rposition(|table| inner.tables.is_given_up(table.entry.id));
            let begin = given_up.map_or(0, |at| at + 1);
            let rest = tables.get(begin..).unwrap_or_default();
            let bytes: Vec<u64> = rest.iter().map(|table| table.entry.summary.bytes).collect();
            let tiny = tidies && bytes.len() > 1 && bytes.iter().sum::<u64>() <= TINY_BYTES;
            if let Some(from) = tiny.then_some(0).or_else(|| worth_merging(&bytes)) {
                return Some((rest.get(from..)?.to_vec(), begin + from == 0));
            }
        }
    }
    None
}

/// Why tables were not rewritten.
#[derive(Debug)]
pub(in crate::store) enum RewriteError {
    Merge(MergeError),
    Flush(FlushError),
}

/// A table in the place of some: neighbours in age of one partition, in order.
pub(in crate::store) struct Replacement<D: Disk> {
    pub(in crate::store) tables: Vec<Arc<StoredTable<D>>>,
    /// `None`: no row is left.
    pub(in crate::store) added: Option<TableEntry>,
}

/// Puts one table in the place of some: neighbours in age of one partition, in order.
///
/// # Errors
/// The merge failed, or the commit.
pub(in crate::store) fn rewrite<D: Disk>(
    inner: &Inner<D>,
    tables: &[Arc<StoredTable<D>>],
    oldest: bool,
    without: u64,
    keeps: &dyn Fn(u32) -> bool,
    stops: &dyn Fn() -> bool,
) -> Result<(), RewriteError> {
    let added = write_anew(inner, tables, oldest, without, keeps, stops).map_err(RewriteError::Merge)?;
    let replacement = Replacement { tables: tables.to_vec(), added };
    replace(inner, |_| vec![replacement]).map(drop).map_err(RewriteError::Flush)
}

/// Writes the table that is to replace some; `None` if no row is left. Its file counts for nothing until [`replace`].
///
/// # Errors
/// The merge failed; nothing is left of it.
pub(in crate::store) fn write_anew<D: Disk>(
    inner: &Inner<D>,
    tables: &[Arc<StoredTable<D>>],
    oldest: bool,
    without: u64,
    keeps: &dyn Fn(u32) -> bool,
    stops: &dyn Fn() -> bool,
) -> Result<Option<TableEntry>, MergeError> {
    let Some((first, last)) = tables.first().zip(tables.last()) else { return Ok(None) };
    let oldest_age = first.entry.oldest;
    let TableEntry { resolution, partition, age, .. } = last.entry;
    let id = inner.tables.next_id();
    let path = version::path(&inner.folder, resolution, partition, id);
    // Series that were removed leave their rows behind: numbers are never used again.
    let named = |series| {
        let catalog = &read(&inner.state).catalog;
        catalog.incomplete || catalog.series.get(series).is_some()
    };
    let keeps = |series| named(series) && keeps(series);
    let plan = MergePlan { oldest, keeps: &keeps, stops, without: &mut |_| false };
    let create = |resolution| TableWriter::create(&inner.disk, &path, resolution, partition);
    let summary = merge(tables, plan, create).and_then(|summary| {
        inner.disk.sync_dir(&inner.folder.join(version::FOLDER))?;
        Ok(summary)
    });
    let summary = summary.inspect_err(|_| {
        // What was written counts for nothing.
        let _ = inner.disk.remove(&path);
    })?;
    let oldest = oldest_age;
    let entry =
        |summary| TableEntry { id, age, oldest, resolution, partition, summary, without, purge: false };
    Ok(summary.map(entry))
}

/// Commits replacements together; the files of the replaced tables are removed when nobody reads them any more. `of` gets
/// the tables that count, and says what is to be replaced. Returns what was: a replacement of which a table counts no
/// longer is left out, because retention or the compactor was quicker.
///
/// # Errors
/// The store has failed.
pub(in crate::store) fn replace<D: Disk>(
    inner: &Inner<D>,
    of: impl FnOnce(&Version<D>) -> Vec<Replacement<D>>,
) -> Result<Vec<Replacement<D>>, FlushError> {
    let meta = &mut *lock(&inner.flush_lock);
    unfailed(inner)?;
    let version = inner.tables.version();
    let present = |table: &StoredTable<D>| {
        let all = version.of(table.entry.resolution, table.entry.partition);
        all.iter().find(|present| present.entry.id == table.entry.id).map(|present| present.entry)
    };
    let (mut made, dropped): (Vec<Replacement<D>>, Vec<Replacement<D>>) =
        of(&version).into_iter().partition(|one| one.tables.iter().all(|table| present(table).is_some()));
    for added in dropped.into_iter().filter_map(|one| one.added) {
        added.open(&inner.disk, &inner.folder).table.remove_when_dropped();
    }
    if made.iter().all(|one| one.tables.is_empty()) {
        return Ok(Vec::new());
    }
    for Replacement { tables, added } in &mut made {
        // Marked since they were read: the new table may hold rows of series that are removed by now.
        let marked = |table: &Arc<StoredTable<D>>| {
            !table.entry.purge && present(table).is_some_and(|present| present.purge)
        };
        if let Some(added) = added {
            added.purge = tables.iter().any(marked);
        }
    }
    let removed: Vec<Arc<StoredTable<D>>> = made.iter().flat_map(|one| &one.tables).cloned().collect();
    let added = made.iter().filter_map(|one| one.added).collect();
    let writes = WriteBatch::new(meta.sequence.saturating_add(1));
    let version = commit_tables(inner, meta, writes, &removed, added)?;
    inner.tables.set_version(version);
    removed.iter().for_each(|table| table.table.remove_when_dropped());
    Ok(made)
}
