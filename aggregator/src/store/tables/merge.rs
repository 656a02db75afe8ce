//! Merges tables of one partition into one.

use std::{cmp::Reverse, collections::BinaryHeap, io, sync::Arc};

use catchment_journal::Disk;
use catchment_partial::{DecodeError, Partial, Spares};

use crate::store::{
    memtable::row::{PartialName, RowRef},
    tables::{
        build::REPLACES,
        error::TableError,
        resolution::Resolution,
        scan::{ScanStep, TableScan, UnreadBlock},
        version::StoredTable,
        writer::{TableSummary, TableWriter},
    },
};

/// Why tables were not merged. They stay as they are.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum MergeError {
    /// The disk refuses the new table.
    #[error("cannot write a table: {0}")]
    Disk(#[from] io::Error),
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A partial cannot be decoded.
    #[error("a stored partial is malformed: {0}")]
    Partial(#[from] DecodeError),
    /// The store stops.
    #[error("interrupted")]
    Stopped,
}

/// What a merge needs to know.
pub(in crate::store) struct MergePlan<'a> {
    /// Whether there are no older tables of the partition, which a row might replace.
    pub(in crate::store) oldest: bool,
    /// Whether rows of a series are kept.
    pub(in crate::store) keeps: &'a dyn Fn(u32) -> bool,
    /// Whether to stop; asked now and then.
    pub(in crate::store) stops: &'a dyn Fn() -> bool,
    /// Takes a block that cannot be read; returns whether to continue without its rows.
    pub(in crate::store) without: &'a mut dyn FnMut(&UnreadBlock) -> bool,
}

/// Rows between two questions whether to stop.
const ASK_EVERY: u64 = 4_096;

/// The next row of a table in a merge: place, then age, the youngest first.
type Next = Reverse<(u32, PartialName, Reverse<usize>)>;

struct Inputs<D: Disk> {
    /// In order of age.
    scans: Vec<TableScan<D>>,
    next: BinaryHeap<Next>,
}

impl<D: Disk> Inputs<D> {
    fn new(tables: &[Arc<StoredTable<D>>], plan: &mut MergePlan<'_>) -> Result<Self, MergeError> {
        let mut inputs = Self { scans: Vec::new(), next: BinaryHeap::new() };
        for table in tables {
            inputs.scans.push(TableScan::new(Arc::clone(&table.table))?);
            inputs.advance(inputs.scans.len() - 1, plan)?;
        }
        Ok(inputs)
    }

    /// Moves a table to its next row.
    fn advance(&mut self, at: usize, plan: &mut MergePlan<'_>) -> Result<(), MergeError> {
        let Some(scan) = self.scans.get_mut(at) else { return Ok(()) };
        loop {
            match scan.advance() {
                ScanStep::Row => {
                    let place = scan.row().map(|row| (row.series, row.name));
                    self.next.extend(place.map(|(series, name)| Reverse((series, name, Reverse(at)))));
                    return Ok(());
                }
                ScanStep::Unread(block) if (plan.without)(&block) => {}
                ScanStep::Unread(block) => return Err(block.error.into()),
                ScanStep::End => return Ok(()),
            }
        }
    }
}

/// Writes the rows of tables, given in order of age, to a new one; `None` if none is kept (and nothing was written).
///
/// # Errors
/// [`MergeError`].
pub(in crate::store) fn merge<D: Disk>(
    tables: &[Arc<StoredTable<D>>],
    mut plan: MergePlan<'_>,
    create: impl FnOnce(Resolution) -> io::Result<TableWriter<D>>,
) -> Result<Option<TableSummary>, MergeError> {
    let Some(resolution) = tables.first().map(|table| table.entry.resolution) else { return Ok(None) };
    let mut inputs = Inputs::new(tables, &mut plan)?;
    let (mut writer, mut create) = (None, Some(create));
    let (mut rows, mut series, mut kept) = (0_u64, None, false);
    let mut merged = OneRow::default();
    while let Some(Reverse((id, name, Reverse(first)))) = inputs.next.pop() {
        rows += 1;
        if rows.is_multiple_of(ASK_EVERY) && (plan.stops)() {
            return Err(MergeError::Stopped);
        }
        if series.replace(id) != Some(id) {
            kept = (plan.keeps)(id);
        }
        if let Some(row) = inputs.scans.get(first).and_then(TableScan::row) {
            merged.begin(&row);
        }
        inputs.advance(first, &mut plan)?;
        while let Some(Reverse((other, same, Reverse(at)))) = inputs.next.peek().copied()
            && (other, same) == (id, name)
        {
            inputs.next.pop();
            if let (true, Some(row)) = (kept, inputs.scans.get(at).and_then(TableScan::row)) {
                merged.add(resolution, &row)?;
            }
            inputs.advance(at, &mut plan)?;
        }
        if !kept {
            continue;
        }
        if writer.is_none()
            && let Some(create) = create.take()
        {
            writer = Some(create(resolution)?);
        }
        if let Some(writer) = &mut writer {
            writer.push(merged.finish(resolution, plan.oldest))?;
        }
    }
    Ok(writer.map(TableWriter::finish).transpose()?)
}

/// Rows of one name, the youngest first, merged into one.
#[derive(Default)]
struct OneRow {
    place: Option<(u32, PartialName)>,
    revision: u64,
    body: Vec<u8>,
    /// The merged partial, once there is more than one row.
    partial: Option<Partial>,
}

impl OneRow {
    fn begin(&mut self, row: &RowRef<'_>) {
        self.place = Some((row.series, row.name));
        self.revision = row.revision;
        self.body.clear();
        self.body.extend_from_slice(row.body);
        self.partial = None;
    }

    /// Adds a row of an older table.
    fn add(&mut self, resolution: Resolution, row: &RowRef<'_>) -> Result<(), DecodeError> {
        if resolution == Resolution::Windows {
            if row.revision > self.revision {
                self.begin(row);
            }
            return Ok(());
        }
        if self.revision == REPLACES {
            return Ok(());
        }
        let younger = match self.partial.take() {
            Some(partial) => partial,
            None => Partial::decode(&self.body, row.name.start)?,
        };
        let older = Partial::decode(row.body, row.name.start)?;
        // In order of time, not of age.
        let is_later = younger.first().map(|point| point.time) >= older.last().map(|point| point.time);
        let (mut first, then) = if is_later { (older, younger) } else { (younger, older) };
        first.append(&then, &mut Spares::default());
        self.partial = Some(first);
        self.revision = row.revision;
        Ok(())
    }

    fn finish(&mut self, resolution: Resolution, oldest: bool) -> RowRef<'_> {
        let (series, name) =
            self.place.unwrap_or((0, PartialName::first_from(catchment_partial::Timestamp::MIN)));
        if let Some(partial) = self.partial.take() {
            self.body.clear();
            partial.encode(name.start, &mut self.body);
        }
        let replaces = resolution != Resolution::Windows && oldest;
        RowRef { series, name, revision: if replaces { 0 } else { self.revision }, body: &self.body }
    }
}

/// The tables of a partition, given in order of age, that are worth merging: all from one on whose younger ones are
/// together as long as it. So a row is written once for each doubling.
pub(in crate::store) fn worth_merging(bytes: &[u64]) -> Option<usize> {
    const TABLES_MIN: usize = 6;
    let mut younger = 0_u64;
    let mut from = None;
    for (at, own) in bytes.iter().enumerate().rev() {
        if *own <= younger && bytes.len() - at >= TABLES_MIN {
            from = Some(at);
        }
        younger = younger.saturating_add(*own);
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_merged_when_the_younger_ones_are_as_long_together() {
        assert_eq!(worth_merging(&[]), None);
        assert_eq!(worth_merging(&[1, 1, 1, 1, 1]), None, "few tables are read as they are");
        assert_eq!(worth_merging(&[1, 1, 1, 1, 1, 1]), Some(0));
        assert_eq!(worth_merging(&[8, 1, 1, 1, 1, 1, 1]), Some(1));
        assert_eq!(worth_merging(&[8, 4, 1, 1, 1, 1]), Some(0));
        let (mut tables, mut written) = (Vec::new(), 0);
        for _ in 0..1_000 {
            tables.push(1);
            while let Some(from) = worth_merging(&tables) {
                let merged: u64 = tables.drain(from..).sum();
                written += merged;
                tables.push(merged);
            }
            assert!(tables.len() < 16, "{tables:?}");
        }
        assert!(written < 1_000 * 12, "{written}");
    }
}
