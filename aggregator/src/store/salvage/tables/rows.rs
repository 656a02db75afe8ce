//! The rows of several tables of one resolution in order, each once.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use catchment_journal::Disk;
use catchment_partial::Partial;

use crate::store::{
    memtable::row::{PartialName, Row, RowRef},
    salvage::tables::known::Known,
    tables::{
        build::REPLACES,
        error::TableError,
        resolution::Resolution,
        scan::{ScanStep, TableScan},
        version::StoredTable,
    },
};

/// The next row of a table: its place, then the age of the table, the youngest first.
type Next = Reverse<(u32, PartialName, Reverse<usize>)>;

/// Reads tables of one resolution, of any partitions, and leaves out what is damaged.
pub(in crate::store) struct StoredRows<'a, D: Disk> {
    resolution: Resolution,
    known: Known<'a>,
    /// The system refused to read rows, which are left out: nothing may follow from their absence.
    refused: Option<TableError>,
    /// In order of age.
    scans: Vec<(TableScan<D>, i32)>,
    next: BinaryHeap<Next>,
}

impl<'a, D: Disk> StoredRows<'a, D> {
    /// Begins before the first row. Tables whose index is damaged are left out.
    pub(in crate::store) fn new(
        resolution: Resolution,
        mut tables: Vec<Arc<StoredTable<D>>>,
        known: Known<'a>,
    ) -> Self {
        tables.sort_by_key(|table| table.entry.age);
        let mut rows = Self { resolution, known, refused: None, scans: Vec::new(), next: BinaryHeap::new() };
        for table in tables {
            match TableScan::new(Arc::clone(&table.table)) {
                Ok(scan) => rows.scans.push((scan, table.entry.partition)),
                Err(error) if error.is_refusal() => rows.refused = Some(error),
                Err(_) => {}
            }
        }
        (0..rows.scans.len()).for_each(|at| rows.advance(at));
        rows
    }

    /// Whether the system let all rows be read until now.
    ///
    /// # Errors
    /// The refusal.
    pub(in crate::store) fn complete(&self) -> Result<(), TableError> {
        self.refused.clone().map_or(Ok(()), Err)
    }

    /// Moves a table to its next row.
    fn advance(&mut self, at: usize) {
        let Some((scan, partition)) = self.scans.get_mut(at) else { return };
        loop {
            match scan.advance() {
                ScanStep::End => return,
                ScanStep::Unread(block) if block.error.is_refusal() => self.refused = Some(block.error),
                ScanStep::Unread(_) => {}
                ScanStep::Row => {
                    let Some(row) = scan.row() else { continue };
                    if self.known.fault(&row, self.resolution, *partition).is_none() {
                        self.next.push(Reverse((row.series, row.name, Reverse(at))));
                        return;
                    }
                }
            }
        }
    }

    fn at(&self, at: usize) -> Option<RowRef<'_>> {
        self.scans.get(at).and_then(|(scan, _)| scan.row())
    }

    /// Series and name of the next row.
    pub(in crate::store) fn peek(&self) -> Option<(u32, PartialName)> {
        self.next.peek().map(|Reverse((series, name, _))| (*series, *name))
    }

    /// The next row: of windows the highest revision, of the others all of one interval merged.
    pub(in crate::store) fn pop(&mut self) -> Option<Row> {
        let Reverse((series, name, Reverse(first))) = self.next.pop()?;
        let mut row = self.at(first)?.owned();
        self.advance(first);
        let mut merged: Option<Partial> = None;
        while let Some(Reverse((other, same, Reverse(at)))) = self.next.peek().copied()
            && (other, same) == (series, name)
        {
            self.next.pop();
            if let Some(older) = self.at(at) {
                match self.resolution {
                    Resolution::Windows if older.revision > row.revision => row = older.owned(),
                    Resolution::Windows => {}
                    // It stands in the place of all older ones.
                    _ if row.revision == REPLACES => {}
                    _ => {
                        row.revision = older.revision;
                        let partial = merged.take().or_else(|| Partial::decode(&row.body, name.start).ok());
                        merged = partial.zip(Partial::decode(older.body, name.start).ok()).map(
                            |(mut all, older)| {
                                all.merge(&older);
                                all
                            },
                        );
                    }
                }
            }
            self.advance(at);
        }
        if let Some(merged) = merged {
            let mut body = Vec::new();
            merged.encode(name.start, &mut body);
            row.body = body.into();
        }
        Some(row)
    }
}
