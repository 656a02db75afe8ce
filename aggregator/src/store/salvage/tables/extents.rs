//! The times of the rows of series, as found in tables: a record of the catalog may be older than they.

use std::collections::BTreeMap;

use catchment_partial::Timestamp;

use crate::store::{catalog::Catalog, memtable::row::RowRef};

/// Of each series: the first and the last start, and the last end.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Extents(BTreeMap<u32, (Timestamp, Timestamp, Timestamp)>);

impl Extents {
    /// Adds a row.
    pub(in crate::store) fn add(&mut self, row: &RowRef<'_>) {
        let (start, end) = (row.name.start, row.name.window().end());
        let (first, last, latest) = self.0.entry(row.series).or_insert((start, start, end));
        (*first, *last, *latest) = ((*first).min(start), (*last).max(start), (*latest).max(end));
    }

    /// Extends the series of a catalog to their rows. Without that, rows before the first would be hidden, and those
    /// behind the last could be delivered again and count twice.
    pub(in crate::store) fn extend(&self, catalog: &mut Catalog) {
        for (series, (first, last, end)) in &self.0 {
            catalog.extend_series(*series, (*first, *last), *end);
        }
    }
}
