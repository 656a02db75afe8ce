//! Writes the minutes, hours or days of a partition again: from the windows where all of them are stored, else from the
//! rows that can be read. A row for which there is no window at all is kept, whatever should be: it is all that is left.
//! Where windows may be lost, the row with more readings counts; where they were removed, the next finer rows tell.

use std::{path::Path, sync::Arc};

use catchment_journal::RealDisk;
use catchment_partial::{Partial, Parts, Window};

use crate::store::{
    memtable::row::RowRef,
    salvage::tables::{
        compare::{Part, partitions_in, tables_of},
        intervals::Intervals,
        known::Known,
        loss::{LostWindows, Span},
        rows::StoredRows,
    },
    tables::{
        build::merged_name,
        coarsen::MERGED,
        resolution::Resolution,
        version::TableEntry,
        writer::{TableSummary, TableWriter},
    },
};

/// A partition as it was written again.
#[derive(Debug, Default)]
pub(in crate::store) struct Recomputed {
    /// `None`: there are no rows, and nothing was written.
    pub(in crate::store) summary: Option<TableSummary>,
    /// Where rows were kept for which there should be windows, but are none.
    pub(in crate::store) without_windows: LostWindows,
}

/// Writes the rows of a partition to a new file.
///
/// # Errors
/// Of the disk, also where it refuses to open a table.
pub(in crate::store) fn recompute(
    disk: &Arc<RealDisk>,
    data: &Path,
    tables: &[TableEntry],
    (part, path): (Part, &Path),
    known: Known<'_>,
) -> std::io::Result<Recomputed> {
    let (resolution, partition) = part;
    let source = source_of(part, known);
    let fine = tables_of(disk, data, tables, source, &partitions_in(source, part));
    let own = tables_of(disk, data, tables, resolution, &(partition..=partition));
    let parts =
        MERGED.into_iter().find(|(merged, _)| *merged == resolution).map_or(Parts::NONE, |(_, parts)| parts);
    let mut output = Output {
        kept: StoredRows::new(resolution, own, known),
        known,
        writer: None,
        create: &|| TableWriter::create(disk, path, resolution, partition),
        failed: None,
        without_windows: LostWindows::default(),
    };
    let mut fine = StoredRows::new(source, fine, known);
    let mut intervals = Intervals::new(resolution, Some(parts));
    let mut body = Vec::new();
    while let Some((series, _)) = fine.peek() {
        let floor = known.floors(series).and_then(|all| all.get(usize::from(source.number())).copied());
        let windows = known.windows_from(series);
        let mut emit = |interval: Window, merged: Partial| {
            let Some(windows) = windows.filter(|_| floor.is_some_and(|floor| floor <= interval.start()))
            else {
                return;
            };
            body.clear();
            merged.encode(interval.start(), &mut body);
            let sure = source != Resolution::Minute && known.has_windows(series, windows, interval);
            let readings = (!sure).then(|| readings(&merged));
            output.put_merged(series, interval, &body, readings);
        };
        while fine.peek().is_some_and(|(next, _)| next == series) {
            let Some(row) = fine.pop() else { break };
            // A malformed row was left out by the reader.
            let _ = intervals.push(row.name.window(), &row.body, &mut emit);
        }
        intervals.finish(&mut emit);
        if let Some(error) = output.failed.take() {
            return Err(error);
        }
    }
    fine.complete().map_err(|error| error.to_io())?;
    output.finish()
}

/// The resolution from which the rows of a partition are made: hours make days, as in a flush; windows make minutes and
/// hours, or minutes make hours where the windows of some were removed.
pub(in crate::store) fn source_of((resolution, partition): Part, known: Known<'_>) -> Resolution {
    let [windows, ..] = known.applied.greatest();
    match resolution {
        Resolution::Day => Resolution::Hour,
        Resolution::Hour if resolution.partition_start(partition) < windows => Resolution::Minute,
        _ => Resolution::Windows,
    }
}

/// Number of readings, numbers and states.
fn readings(partial: &Partial) -> u64 {
    partial.count().saturating_add(partial.states_alone())
}

struct Output<'a> {
    /// The rows at hand, of which those are kept that cannot be computed.
    kept: StoredRows<'a, RealDisk>,
    known: Known<'a>,
    writer: Option<TableWriter<RealDisk>>,
    create: &'a dyn Fn() -> std::io::Result<TableWriter<RealDisk>>,
    failed: Option<std::io::Error>,
    without_windows: LostWindows,
}

impl Output<'_> {
    fn put(&mut self, row: RowRef<'_>) {
        if self.failed.is_some() {
            return;
        }
        let pushed = match &mut self.writer {
            Some(writer) => writer.push(row),
            none => (self.create)().and_then(|writer| none.insert(writer).push(row)),
        };
        self.failed = pushed.err();
    }

    /// Writes a computed row in the place of the one at hand. With `readings`, windows may be lost in its interval, or it
    /// was made of rows that know less: then the row at hand stays unless it holds fewer readings; neither holds one
    /// that the other's windows never held.
    fn put_merged(&mut self, series: u32, interval: Window, body: &[u8], readings: Option<u64>) {
        let name = merged_name(interval);
        while self.kept.peek().is_some_and(|next| next < (series, name)) {
            self.keep();
        }
        if self.kept.peek() == Some((series, name))
            && let Some(held) = self.kept.pop()
        {
            let more = |readings: u64| {
                Partial::decode(&held.body, name.start)
                    .is_ok_and(|partial| self::readings(&partial) >= readings)
            };
            if readings.is_some_and(more) {
                return self.put(RowRef { revision: 0, ..held.borrowed() });
            }
        }
        self.put(RowRef { series, name, revision: 0, body });
    }

    /// Writes the next row at hand, which was not computed.
    fn keep(&mut self) {
        let Some(row) = self.kept.pop() else { return };
        let Some(from) = self.known.windows_from(row.series) else { return };
        let (start, interval) = (row.name.start, row.name.window());
        if self.known.has_windows(row.series, from, interval) {
            let last = interval.end().saturating_sub_nanos(1);
            self.without_windows.add(Span { series: (row.series, row.series), starts: (start, last) });
        }
        self.put(RowRef { revision: 0, ..row.borrowed() });
    }

    fn finish(mut self) -> std::io::Result<Recomputed> {
        while self.kept.peek().is_some() {
            self.keep();
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.kept.complete().map_err(|error| error.to_io())?;
        let summary = self.writer.map(TableWriter::finish).transpose()?;
        Ok(Recomputed { summary, without_windows: self.without_windows })
    }
}
