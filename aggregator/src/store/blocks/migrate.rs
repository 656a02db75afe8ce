//! Writes the blocks of an earlier version to tables, when a store is opened.
//!
//! A commit names some tables and removes the blocks that they came from, so an interrupted start continues where it was.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
};

use catchment_journal::Disk;
use catchment_partial::Timestamp;

use crate::store::{
    blocks::stored::{DamagedBlock, open_block},
    catalog::groups::group_of,
    embedded::{
        inner::Inner,
        locks::{lock, write},
    },
    flush::{
        flusher::{FlushError, build_failed, commit_tables, space},
        round::{Frozen, write_tables},
    },
    memtable::{
        RowLog,
        row::{Row, resolve},
    },
    tree::{
        WriteBatch,
        records::{self, Meta},
    },
};

/// Rows that are written at once, about: their memory is some hundred bytes each.
const ROWS_AT_ONCE: usize = 256 << 10;

/// Blocks that were read, and where the next ones begin.
struct Step {
    rows: Vec<Row>,
    keys: Vec<Vec<u8>>,
    damaged: Vec<DamagedBlock>,
    next: Option<Vec<u8>>,
}

/// Writes all blocks to tables; returns a text for each that cannot be read, which stays where it is.
///
/// # Errors
/// There is no space, or the tree or a table cannot be written.
pub(in crate::store) fn migrate<D: Disk>(inner: &Inner<D>) -> Result<Vec<String>, FlushError> {
    let failed = |reason: String| FlushError::Failed(reason.into());
    let meta = &mut *lock(&inner.flush_lock);
    let (mut damaged, mut next, mut rows) = (Vec::new(), Some(vec![records::BLOCK]), 0);
    while let Some(from) = next {
        let step = read(inner, &from).map_err(failed)?;
        if rows == 0 && !step.keys.is_empty() {
            tracing::info!("the windows of an earlier version are written to tables: this happens once");
            // What the blocks hold is in no table yet, unless a start was interrupted or a removed block came back.
            if inner.tables.version().all().next().is_none() {
                each_series(inner, |flushed, _| *flushed = Timestamp::MIN);
            }
        }
        rows += step.rows.len();
        if !step.keys.is_empty() {
            space(inner)?;
        }
        write_step(inner, meta, step.rows, step.keys)?;
        damaged.extend(step.damaged);
        next = step.next;
    }
    if rows > 0 {
        tracing::info!(rows, "the windows of an earlier version are in tables");
    }
    each_series(inner, |flushed, last| *flushed = last);
    let catalog = &mut write(&inner.state).catalog;
    catalog.reset_manifests();
    damaged.iter().for_each(|block| catalog.mark_group_damaged(block.group));
    Ok(damaged.iter().map(ToString::to_string).collect())
}

/// Changes how far each series is flushed; the second argument is the start of its last window.
fn each_series<D: Disk>(inner: &Inner<D>, change: impl Fn(&mut Timestamp, Timestamp)) {
    let catalog = &mut write(&inner.state).catalog;
    let ids: Vec<u32> = catalog.series.iter().map(|(id, _)| id).collect();
    for id in ids {
        if let Some((series, _)) = catalog.series.get_mut(id) {
            change(&mut series.flushed, series.last);
        }
    }
}

/// Reads blocks from a key on; ends between two buckets.
fn read<D: Disk>(inner: &Inner<D>, from: &[u8]) -> Result<Step, String> {
    let mut step = Step { rows: Vec::new(), keys: Vec::new(), damaged: Vec::new(), next: None };
    let mut bucket = None;
    inner.catalog_store.blocks_from(from, |key, value| {
        let place = records::parse_block_key(key).map(|(group, bucket, _)| (group, bucket));
        if bucket.replace(place).is_some_and(|before| before != place) && step.rows.len() >= ROWS_AT_ONCE {
            step.next = Some(key.to_vec());
            return ControlFlow::Break(());
        }
        match open_block(key, value, None) {
            Ok(block) => {
                step.rows.extend(block.rows);
                step.keys.push(key.to_vec());
            }
            Err(damaged) => {
                tracing::error!(%damaged, "a block of an earlier version cannot be read: it stays where it is");
                step.damaged.push(damaged);
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(step)
}

fn write_step<D: Disk>(
    inner: &Inner<D>,
    meta: &mut Meta,
    mut rows: Vec<Row>,
    keys: Vec<Vec<u8>>,
) -> Result<(), FlushError> {
    if keys.is_empty() {
        return Ok(());
    }
    resolve(&mut rows);
    let mut frozen: Frozen = BTreeMap::new();
    for rows in rows.chunk_by(|a, b| group_of(a.series) == group_of(b.series)) {
        if let Some(first) = rows.first() {
            let log = RowLog::of(rows.iter().map(Row::borrowed));
            frozen.insert(group_of(first.series), vec![Arc::new(log)]);
        }
    }
    drop(rows);
    let written = write_tables(inner, &frozen).map_err(|error| build_failed(inner, error))?;
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    keys.into_iter().for_each(|key| writes.remove(key));
    let version = commit_tables(inner, meta, writes, &[], written.entries)?;
    inner.expired.fetch_add(written.expired, Ordering::Relaxed);
    inner.tables.set_version(version);
    Ok(())
}

#[cfg(test)]
mod tests;
