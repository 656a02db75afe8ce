//! A cache of decompressed blocks, bounded in bytes.

use std::sync::Arc;

use super::block::TableBlock;

/// Blocks by table and number.
pub(in crate::store) struct BlockCache {}

impl BlockCache {
    /// Holds blocks of at most `bytes` in total; 0: none.
    pub(in crate::store) fn new(bytes: u64) -> Self {
        unimplemented!("{bytes}")
    }

    /// Bytes of the blocks held.
    pub(in crate::store) fn bytes(&self) -> u64 {
        unimplemented!()
    }

    pub(super) fn get(&self, table: u64, block: u32) -> Option<Arc<TableBlock>> {
        unimplemented!("{table} {block}")
    }

    pub(super) fn insert(&self, table: u64, block: u32, content: Arc<TableBlock>) {
        unimplemented!("{table} {block} {}", content.weight())
    }
}
