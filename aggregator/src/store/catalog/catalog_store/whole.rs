//! Records as they are, for copies of the whole tree.

use super::{CatalogStore, message};
use crate::store::tree::{Visited, WriteBatch, prefixed};

impl CatalogStore {
    /// Makes a write batch durable that holds its own [`Meta`] record, or comes before one that does.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(in crate::store) fn import(&self, writes: WriteBatch) -> Result<(), String> {
        self.tree.commit(writes)
    }

    /// Visits every key and value, until the visitor breaks.
    ///
    /// # Errors
    /// Error of the tree, which ended the visit.
    pub(in crate::store) fn each_record(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Visited,
    ) -> Result<(), String> {
        self.tree.scan(prefixed(&[]), &mut |key, value| visit(key, value))
    }

    /// The record of a key; `None`: there is none. `newest`: sequence number of the last write batch.
    ///
    /// # Errors
    /// It is damaged, or an error of the tree.
    pub(in crate::store) fn record<M: prost::Message + Default>(
        &self,
        key: &[u8],
        newest: u64,
    ) -> Result<Option<M>, String> {
        let value = self.tree.get(key)?;
        value.map(|value| message(key, &value, newest)).transpose()
    }
}
