//! The state of the store as the fold of its journal. Pure: no disk, no clock, no lock.
//!
//! A batch changes the state only through [`StoreState::apply`], whether it just became durable or is replayed after
//! a start. Partials are kept by name and revision, and numbers by their maximum, so applying a batch twice, or
//! batches of different shards in another order, ends in the same state. A batch is therefore never skipped because
//! of its number: the number may be known while its partials are still to be replayed.

use std::{ops::Range, sync::Arc};

use catchment_journal::Position;
use catchment_partial::{Partial, Timestamp};
use catchment_proto::{Batch, SeriesKey, batch::SHARDS_MAX};

use crate::store::{
    ChangeListener, GatewayEpoch, RunDelivered, SeriesId, StoreError,
    blocks::block::BODY_BYTES_MAX,
    catalog::{Catalog, hourly::LateAndRefused},
    memtable::{
        Memtable,
        live::Live,
        row::{PartialName, RowRef},
    },
    tables::fresh::FreshRows,
    wal::{changes::BatchChanges, entry::JournalEntry},
};

pub(in crate::store) mod live;

/// Counters of the fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Counts {
    pub(in crate::store) batches: u64,
    /// Batches that a sender skipped.
    pub(in crate::store) gaps: u64,
    /// Live partials dropped because their new series had no room.
    pub(in crate::store) series_limit: u64,
    /// Live partials dropped because of the memory limit of all together.
    pub(in crate::store) live_limit: u64,
    /// Live partials dropped because of the memory limit of their gateway.
    pub(in crate::store) live_gateway_limit: u64,
    /// Live partials dropped because too many final rows had to be compared with them.
    pub(in crate::store) live_lookup_limit: u64,
    /// Late corrections and refused readings.
    pub(in crate::store) late_and_refused: LateAndRefused,
}

/// A batch whose partials were all decoded once, so that applying it cannot fail.
#[derive(Debug)]
pub(in crate::store) struct CheckedBatch {
    entry: JournalEntry,
    /// Time of the newest reading of each partial.
    newest: Vec<Timestamp>,
    /// Its new series, for which room is reserved until it is applied.
    pub(in crate::store) new_series: Vec<SeriesKey>,
}

impl CheckedBatch {
    /// Checks a whole batch before any part of it is stored.
    ///
    /// # Errors
    /// [`StoreError::Body`] for the first partial that cannot be stored, or a shard that the epoch does not have.
    pub(in crate::store) fn new(entry: JournalEntry) -> Result<Self, StoreError> {
        let batch = &entry.batch;
        if batch.shard >= entry.epoch.shards.min(SHARDS_MAX) {
            let reason = format!(
                "it belongs to shard {}, but the gateway has {} shards",
                batch.shard, entry.epoch.shards
            );
            return Err(StoreError::Body { entry: 0, reason });
        }
        if batch.series.len() > batch.entries.len() {
            let reason = format!("{} series for {} partials", batch.series.len(), batch.entries.len());
            return Err(StoreError::Body { entry: 0, reason });
        }
        let mut newest = Vec::with_capacity(batch.entries.len());
        for (number, partial) in batch.entries.iter().enumerate() {
            let refused = |reason| StoreError::Body { entry: number, reason };
            if !journal_returns(batch, partial) {
                return Err(refused("series, window, part or revision out of range".to_owned()));
            }
            if partial.body.len() > BODY_BYTES_MAX {
                let reason = format!(
                    "a partial of {} bytes, at most {BODY_BYTES_MAX} are allowed",
                    partial.body.len()
                );
                return Err(refused(reason));
            }
            let start = partial.window.start();
            let last = Partial::check(&partial.body, start).map_err(|e| refused(e.to_string()))?;
            newest.push(last.unwrap_or(start));
        }
        Ok(Self { entry, newest, new_series: Vec::new() })
    }

    /// The epoch that delivered it.
    pub(in crate::store) fn epoch(&self) -> &GatewayEpoch {
        &self.entry.epoch
    }

    /// The batch.
    pub(in crate::store) fn batch(&self) -> &Batch {
        &self.entry.batch
    }

    /// The entry for the journal.
    pub(in crate::store) fn entry(&self) -> &JournalEntry {
        &self.entry
    }

    /// The batch that it follows.
    pub(in crate::store) fn follows(&self) -> u64 {
        self.entry.follows
    }

    /// Sets the batch that it follows, and the time up to which its shard has delivered, once they are known.
    pub(in crate::store) fn set_follows(&mut self, follows: u64, delivered_to: Option<Timestamp>) {
        (self.entry.follows, self.entry.delivered_to) = (follows, delivered_to);
    }

    /// Memory that it takes while it waits, bytes.
    pub(in crate::store) fn bytes(&self) -> usize {
        let bodies: usize = self.entry.batch.entries.iter().map(|e| e.body.len()).sum();
        bodies + self.entry.batch.entries.len() * size_of::<catchment_proto::Entry>() + size_of::<Self>()
    }
}

/// Whether a partial survives the journal unchanged. Always true for a batch from the wire.
fn journal_returns(batch: &Batch, partial: &catchment_proto::Entry) -> bool {
    (partial.series as usize) < batch.series.len()
        && partial.window.width() == batch.width
        && i64::try_from(partial.part).is_ok()
        && partial.revision >= partial.part
}

/// Everything that the store holds in memory.
#[derive(Debug, Default)]
pub(in crate::store) struct StoreState {
    pub(in crate::store) catalog: Catalog,
    /// Partials that the journal holds and the blocks may not.
    pub(in crate::store) memtable: Memtable,
    pub(in crate::store) live: Live,
    /// Every batch before this position is applied.
    pub(in crate::store) applied_to: Position,
    pub(in crate::store) counts: Counts,
    /// Learns of each change of rows.
    pub(in crate::store) listener: Option<Arc<dyn ChangeListener>>,
}

impl StoreState {
    /// Applies a final batch; returns how many accepted batches before it are missing. Nothing of it is dropped,
    /// whatever the limits: it may have been acknowledged. Admission enforces the limits.
    pub(in crate::store) fn apply(&mut self, checked: &CheckedBatch) -> u64 {
        let batch = checked.batch();
        let epoch = self.catalog.intern_epoch(checked.epoch());
        let delivered = self.catalog.delivered(epoch, batch.shard);
        #[cfg(test)]
        tests::panic_on_demand();
        let unknown = delivered == 0 && self.catalog.epoch(epoch).is_some_and(|known| known.unknown);
        let lost = if unknown { 0 } else { checked.follows().saturating_sub(delivered) };
        if unknown {
            self.catalog.assume_delivered(epoch, batch.shard, checked.follows());
        }
        self.counts.batches += 1;
        self.counts.gaps += batch.number.saturating_sub(checked.follows().saturating_add(1));
        let mut changes = BatchChanges::new(self.listener.as_ref(), false);
        let all = 0..batch.entries.len();
        self.each_row(epoch, checked, all, true, |state, gateway, row| {
            changes.add(row.series, &row.name);
            state.live.supersede(gateway, row.series, &row.name, row.revision);
            state.memtable.put(row.series, row.name, row.revision, row.body);
        });
        // A batch that is known may be replayed; the counts are as durable as its number.
        if batch.number > self.catalog.delivered(epoch, batch.shard) {
            let counted = self.catalog.count_late_and_refused(epoch, batch, checked.entry().delivered_to);
            self.counts.late_and_refused.add(counted);
        }
        let GatewayEpoch { run, previous_runs: previous, .. } = *checked.epoch();
        let delivered = RunDelivered { run, previous, number: batch.number };
        self.catalog.note_run(epoch, batch.shard, delivered);
        self.catalog.advance(epoch, batch.shard, batch.number, batch.watermark, &batch.history);
        changes.report(self.catalog.next_series);
        lost
    }

    /// Reports changes of rows to a listener from now on.
    pub(in crate::store) fn listen(&mut self, listener: Arc<dyn ChangeListener>) {
        // It learns how far the ids of series go.
        listener.changed(&[], false, SeriesId::new(self.catalog.next_series.into()));
        self.listener = Some(listener);
    }

    /// Passes on partials of a batch with their series; returns how many were skipped: without `room`, those of new
    /// series.
    fn each_row<'a>(
        &mut self,
        epoch: u32,
        checked: &'a CheckedBatch,
        rows: Range<usize>,
        room: bool,
        mut take: impl FnMut(&mut Self, u32, RowRef<'a>),
    ) -> u64 {
        let Some(gateway) = self.catalog.epoch(epoch).map(|known| known.gateway) else { return 0 };
        let batch = checked.batch();
        // Windows folded before a folder went back keep their names, so that they replace what was delivered before.
        let named = self.catalog.intern_names_epoch(epoch, batch.names_epoch);
        let mut numbers: Vec<Option<u32>> = vec![None; batch.series.len()];
        let mut dropped = 0;
        let entries = batch.entries.get(rows.clone()).unwrap_or_default();
        for (entry, newest) in entries.iter().zip(checked.newest.get(rows).unwrap_or_default()) {
            let index = entry.series as usize;
            let (Some(key), Some(number)) = (batch.series.get(index), numbers.get_mut(index)) else {
                continue;
            };
            if number.is_none() {
                *number = self.catalog.intern_series(gateway, key, entry.window, room);
            }
            let Some(series) = *number else {
                dropped += 1;
                continue;
            };
            self.catalog.note_window(series, epoch, entry.window, *newest);
            let (start, width) = (entry.window.start(), entry.window.width());
            let name = PartialName { start, width, epoch: named, shard: batch.shard, part: entry.part };
            take(self, gateway, RowRef { series, name, revision: entry.revision, body: &entry.body });
        }
        dropped
    }

    /// Copies the windows in memory of a series that start in [from, to): final and live ones, not resolved.
    pub(in crate::store) fn copy_rows(
        &self,
        series: u32,
        from: Timestamp,
        to: Timestamp,
        fresh: &mut FreshRows,
    ) {
        self.memtable.rows(series, from, to).for_each(|row| fresh.push(row.name, row.revision, row.body));
        let Some(gateway) = self.catalog.series.get(series).map(|known| known.gateway) else { return };
        for row in self.live.of(gateway).flat_map(|windows| windows.rows(series, from, to)) {
            fresh.push(row.name, row.revision, &row.body);
        }
    }

    /// Whether memory holds a window of a series.
    pub(in crate::store) fn holds(&self, series: u32) -> bool {
        let gateway = self.catalog.series.get(series).map(|known| known.gateway);
        let live = gateway.into_iter().flat_map(|gateway| self.live.of(gateway));
        self.memtable.holds(series) || live.into_iter().any(|windows| windows.holds(series))
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;
