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

/// The compactor's thread, until it must stop.
pub(in crate::store) fn run<D: Disk>(inner: &Inner<D>, stop: &AtomicBool) {
    let stops = || stop.load(Ordering::Acquire) || inner.failure().is_some();
    loop {
        let request = inner.compaction.wait(LOOK_EVERY);
        if request.stop || request.close || stops() {
            return;
        }
        while !stops() && matches!(compact_once(inner, &stops), Ok(true)) {}
    }
}

/// Writes a table without removed series, or merges the tables of one partition where that is worth it; returns whether
/// there was anything to do.
///
/// # Errors
/// There is no space, or the store has failed.
pub(in crate::store) fn compact_once<D: Disk>(
    inner: &Inner<D>,
    stops: &dyn Fn() -> bool,
) -> Result<bool, FlushError> {
    let version = inner.tables.version();
    let purged = inner.tables.next_purge();
    let without = purged.as_ref().map_or(0, |table| table.entry.without);
    let chosen = purged.map(|table| (vec![table], false)).or_else(|| choose(inner, &version));
    let Some((tables, oldest)) = chosen else { return Ok(false) };
    space(inner)?;
    match rewrite(inner, &tables, oldest, without, &|_| true, stops) {
        Ok(()) => Ok(true),
        Err(RewriteError::Flush(error)) => Err(error),
        Err(RewriteError::Merge(MergeError::Stopped)) => Ok(false),
        Err(RewriteError::Merge(MergeError::Disk(error))) => Err(no_space_or_failed(inner, &error)),
        Err(RewriteError::Merge(error)) => {
            tracing::error!(%error, "tables cannot be merged: they stay as they are");
            inner.tables.give_up(tables.iter().map(|table| table.entry.id));
            Ok(true)
        }
    }
}

/// The first tables that are worth merging, and whether they are the oldest of their partition.
fn choose<D: Disk>(inner: &Inner<D>, version: &Version<D>) -> Option<(Vec<Arc<StoredTable<D>>>, bool)> {
    for resolution in Resolution::ALL {
        for (_, tables) in version.partitions(resolution, i32::MIN) {
            // Tables that cannot be merged separate those before them from those after them.
            let given_up = tables.iter().rposition(|table| inner.tables.is_given_up(table.entry.id));
            let begin = given_up.map_or(0, |at| at + 1);
            let rest = tables.get(begin..).unwrap_or_default();
            let bytes: Vec<u64> = rest.iter().map(|table| table.entry.summary.bytes).collect();
            if let Some(from) = worth_merging(&bytes) {
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
    let Some((first, last)) = tables.first().zip(tables.last()) else { return Ok(()) };
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
    let summary = summary.map_err(|error| {
        // What was written counts for nothing.
        let _ = inner.disk.remove(&path);
        RewriteError::Merge(error)
    })?;
    let added = summary.map(|summary| TableEntry {
        id,
        age,
        oldest: oldest_age,
        resolution,
        partition,
        summary,
        without,
    });
    replace(inner, tables, added).map_err(RewriteError::Flush)
}

/// Commits that a table counts in the place of others, whose files are removed when nobody reads them any more.
///
/// # Errors
/// The store has failed.
pub(in crate::store) fn replace<D: Disk>(
    inner: &Inner<D>,
    tables: &[Arc<StoredTable<D>>],
    added: Option<TableEntry>,
) -> Result<(), FlushError> {
    let meta = &mut *lock(&inner.flush_lock);
    unfailed(inner)?;
    let version = inner.tables.version();
    let counts = |table: &Arc<StoredTable<D>>| {
        version.of(table.entry.resolution, table.entry.partition).iter().any(|t| t.entry.id == table.entry.id)
    };
    if !tables.iter().all(counts) {
        // Retention was quicker. The new file is removed at the next start, or here.
        if let Some(added) = added {
            added.open(&inner.disk, &inner.folder).table.remove_when_dropped();
        }
        return Ok(());
    }
    let writes = WriteBatch::new(meta.sequence.saturating_add(1));
    let version = commit_tables(inner, meta, writes, tables, added.into_iter().collect())?;
    inner.tables.set_version(version);
    tables.iter().for_each(|table| table.table.remove_when_dropped());
    Ok(())
}
