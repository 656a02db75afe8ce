//! Copies the rows of a series that memory holds, in steps: the state is locked only for a bounded time in each.
//!
//! Logs only grow, so a scan continues where it stopped, and at its end it has seen what there is then. Only when rows
//! were removed, as after a flush, it begins again: the tables hold them now.

use catchment_partial::Timestamp;

use crate::store::{
    catalog::groups::group_of,
    memtable::{Memtable, RUN_ROWS, RowLog, live::LiveCursor},
    tables::fresh::FreshRows,
};

/// What a step may cost: rows that are looked at, and as much for each [`BYTES_A_UNIT`] that are copied.
pub(in crate::store) const STEP_BUDGET: usize = if cfg!(test) { 300 } else { 16 << 10 };
const BYTES_A_UNIT: usize = 64;

/// What copying a row costs.
pub(in crate::store) fn cost(body: &[u8]) -> usize {
    1 + body.len() / BYTES_A_UNIT
}

/// How far a scan of the final windows of a series has come.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) struct RowCursor {
    /// Logs that were read: immutable ones come first, and stay before the others when those become immutable.
    log: usize,
    /// Runs of the next one.
    run: usize,
}

/// A scan of the windows of a series that memory holds.
#[derive(Debug)]
pub(in crate::store) struct MemoryScan {
    /// What was copied.
    pub(in crate::store) rows: FreshRows,
    /// The end of the range; the rows end earlier if there are many.
    pub(in crate::store) end: Timestamp,
    pub(in crate::store) live: LiveCursor,
    pub(in crate::store) final_ones: RowCursor,
    /// See [`Memtable::removals`].
    removals: u64,
}

impl MemoryScan {
    /// Nothing is copied yet of rows that start before a time.
    pub(in crate::store) fn new(memtable: &Memtable, end: Timestamp) -> Self {
        Self {
            rows: FreshRows::new(end),
            end,
            live: LiveCursor::default(),
            final_ones: RowCursor::default(),
            removals: memtable.removals(),
        }
    }

    /// Whether rows that it has not seen may be gone.
    pub(in crate::store) fn is_outdated(&self, memtable: &Memtable) -> bool {
        self.removals != memtable.removals()
    }
}

impl Memtable {
    /// How often rows were removed.
    pub(in crate::store) fn removals(&self) -> u64 {
        self.removals
    }

    /// Continues to copy the rows of a series that start from a time on, as long as the budget lasts; returns whether
    /// all were copied.
    pub(in crate::store) fn scan(
        &self,
        series: u32,
        from: Timestamp,
        cursor: &mut RowCursor,
        budget: &mut usize,
        rows: &mut FreshRows,
    ) -> bool {
        for log in self.logs(group_of(series)).skip(cursor.log) {
            if log.series.is_empty() {
                // Short, and never left in the middle: it may be listed at the next step.
                *budget = budget.saturating_sub(log.rows.len());
                (0..log.rows.len()).for_each(|row| copy(log, row, (series, from), budget, rows));
            } else if !scan_listed(log, (series, from), cursor, budget, rows) {
                return false;
            }
            *cursor = RowCursor { log: cursor.log + 1, run: 0 };
        }
        true
    }
}

fn scan_listed(
    log: &RowLog,
    (series, from): (u32, Timestamp),
    cursor: &mut RowCursor,
    budget: &mut usize,
    rows: &mut FreshRows,
) -> bool {
    let Some(listed) = log.rows_of(series) else { return true };
    let runs = listed.runs.iter().zip(listed.rows.chunks(RUN_ROWS));
    for ((least, greatest), run) in runs.skip(cursor.run) {
        if *budget == 0 {
            return false;
        }
        cursor.run += 1;
        if *least >= rows.to() || *greatest < from {
            *budget -= 1;
            continue;
        }
        *budget = budget.saturating_sub(run.len());
        run.iter().for_each(|row| copy(log, *row as usize, (series, from), budget, rows));
    }
    true
}

fn copy(
    log: &RowLog,
    row: usize,
    (series, from): (u32, Timestamp),
    budget: &mut usize,
    rows: &mut FreshRows,
) {
    let Some(header) = log.rows.get(row) else { return };
    if header.series == series && from <= header.name.start && header.name.start < rows.to() {
        let row = log.row(header);
        *budget = budget.saturating_sub(cost(row.body) - 1);
        rows.push(row.name, row.revision, row.body);
    }
}
