//! A block of a table, decompressed.

use catchment_partial::Timestamp;

use crate::store::memtable::row::RowRef;

/// The rows of a block.
pub(in crate::store) struct TableBlock {
    content: Box<[u8]>,
}

/// Rows of one series or of all, in order.
pub(in crate::store) struct Rows<'a> {
    block: &'a TableBlock,
}

impl TableBlock {
    /// Rows of one series that start in `[from, to)`, in order of their names.
    pub(in crate::store) fn rows(&self, series: u32, from: Timestamp, to: Timestamp) -> Rows<'_> {
        unimplemented!("{series} {from:?} {to:?}")
    }

    /// All rows, by series and name.
    pub(in crate::store) fn all(&self) -> Rows<'_> {
        unimplemented!()
    }

    /// Number of its rows.
    pub(in crate::store) fn row_count(&self) -> u32 {
        unimplemented!()
    }

    /// Bytes in memory.
    pub(in crate::store) fn weight(&self) -> u64 {
        unimplemented!()
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = RowRef<'a>;

    fn next(&mut self) -> Option<RowRef<'a>> {
        unimplemented!("{}", self.block.content.len())
    }
}
