//! Live batches: the state so far of open windows.

use std::ops::Range;

use bytes::Bytes;

use super::{CheckedBatch, StoreState};
use crate::store::{
    memtable::{
        live::{LiveLimits, NoRoom},
        lookup::COMPARED_MAX,
        row::{Row, RowRef},
    },
    wal::changes::BatchChanges,
};

/// Most rows of a live batch that are applied while the state is locked: some milliseconds. Batches of our gateways are
/// shorter.
pub(in crate::store) const LIVE_ROWS_AT_ONCE: usize = 8 << 10;

impl StoreState {
    /// Applies rows of a live batch, which changes neither numbers nor watermarks. Without `room`, partials of its new
    /// series are dropped and counted.
    pub(in crate::store) fn apply_live(
        &mut self,
        checked: &CheckedBatch,
        rows: Range<usize>,
        limits: LiveLimits,
        room: bool,
    ) {
        let epoch = self.catalog.intern_epoch(checked.epoch());
        let Some(gateway) = self.catalog.epoch(epoch).map(|known| known.gateway) else { return };
        let mut changes = BatchChanges::new(self.listener.as_ref(), true);
        let mut live = Vec::with_capacity(rows.len());
        let dropped = self.each_row(epoch, checked, rows, room, |_, _, row| live.push(row));
        let finals = self.memtable.look_up(live.iter().map(|row| (row.series, row.name)), COMPARED_MAX);
        for RowRef { series, name, revision, body } in live {
            match finals.holds(series, &name, revision) {
                Some(false) => {}
                Some(true) => continue,
                None => {
                    self.counts.live_lookup_limit += 1;
                    continue;
                }
            }
            // Copied, so that a few small partials do not keep a whole batch in memory.
            let row = Row { series, name, revision, body: Bytes::copy_from_slice(body) };
            match self.live.put(gateway, epoch, row, limits) {
                Ok(true) => changes.add(series, &name),
                Ok(false) => {}
                Err(NoRoom::Gateway) => self.counts.live_gateway_limit += 1,
                Err(NoRoom::Total) => self.counts.live_limit += 1,
            }
        }
        self.counts.series_limit += dropped;
        changes.report(self.catalog.next_series);
    }

    /// Drops the live state of an epoch of a gateway, both by number.
    pub(in crate::store) fn drop_live(&mut self, gateway: u32, epoch: u32) {
        let mut changes = BatchChanges::new(self.listener.as_ref(), true);
        self.live.each_name(gateway, epoch, |series, name| changes.add(series, name));
        self.live.drop_epoch(gateway, epoch);
        changes.report(self.catalog.next_series);
    }
}
