//! Rows of a series that memory holds, copied for a reader.

use catchment_partial::Timestamp;

use crate::store::memtable::row::{PartialName, Revised, RowRef, resolve};

/// A row without its series.
#[derive(Clone, Copy, Debug)]
struct FreshRow {
    name: PartialName,
    revision: u64,
    /// Where its body is.
    at: usize,
    length: usize,
}

impl Revised for FreshRow {
    fn place(&self) -> (u32, &PartialName) {
        (0, &self.name)
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

/// Rows of one series in order of their names, each once.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct FreshRows {
    rows: Vec<FreshRow>,
    bodies: Vec<u8>,
}

impl FreshRows {
    /// Adds a row; call [`FreshRows::resolve`] after the last one.
    pub(in crate::store) fn push(&mut self, name: PartialName, revision: u64, body: &[u8]) {
        self.rows.push(FreshRow { name, revision, at: self.bodies.len(), length: body.len() });
        self.bodies.extend_from_slice(body);
    }

    /// Sorts the rows and keeps the highest revision of each name.
    pub(in crate::store) fn resolve(&mut self) {
        resolve(&mut self.rows);
    }

    /// Keeps the rows for which `wanted` returns true.
    pub(in crate::store) fn retain(&mut self, mut wanted: impl FnMut(&PartialName, u64) -> bool) {
        self.rows.retain(|row| wanted(&row.name, row.revision));
    }

    /// Names and revisions.
    #[cfg(test)]
    pub(in crate::store) fn names(&self) -> impl Iterator<Item = (&PartialName, u64)> {
        self.rows.iter().map(|row| (&row.name, row.revision))
    }

    /// Rows that start in [from, to), as rows of this series.
    pub(in crate::store) fn between(
        &self,
        series: u32,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = RowRef<'_>> {
        let first = self.rows.partition_point(|row| row.name.start < from);
        let rows = self.rows.get(first..).unwrap_or_default();
        rows.iter().take_while(move |row| row.name.start < to).map(move |row| RowRef {
            series,
            name: row.name,
            revision: row.revision,
            body: self.bodies.get(row.at..row.at + row.length).unwrap_or_default(),
        })
    }
}
