//! A cache of decompressed blocks, bounded in bytes.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};

use super::{block::TableBlock, reported::Reported};

/// Bytes of a typical block, from which the cache estimates how many it holds.
const BLOCK_BYTES: u64 = 32 << 10;

/// Blocks by table and number. A block is evicted in the order of its use; one read once does not displace others.
pub(in crate::store) struct BlockCache {
    blocks: Cache<BlockKey, Arc<TableBlock>, Weight>,
    /// Blocks that could not be read.
    pub(in crate::store) damaged: Reported,
}

/// The number of a table in this process, and that of a block in the table.
type BlockKey = (u64, u32);

#[derive(Clone)]
struct Weight;

impl Weighter<BlockKey, Arc<TableBlock>> for Weight {
    fn weight(&self, _: &BlockKey, block: &Arc<TableBlock>) -> u64 {
        block.weight()
    }
}

impl BlockCache {
    /// Holds blocks of at most `bytes` in total; 0: none.
    pub(in crate::store) fn new(bytes: u64) -> Self {
        let blocks = usize::try_from(bytes / BLOCK_BYTES).unwrap_or(usize::MAX).clamp(16, 1 << 24);
        Self { blocks: Cache::with_weighter(blocks, bytes, Weight), damaged: Reported::default() }
    }

    /// Bytes of the blocks held.
    #[cfg(test)]
    pub(in crate::store) fn bytes(&self) -> u64 {
        self.blocks.weight()
    }

    pub(super) fn get(&self, table: u64, block: u32) -> Option<Arc<TableBlock>> {
        self.blocks.get(&(table, block))
    }

    pub(super) fn insert(&self, table: u64, block: u32, content: Arc<TableBlock>) {
        self.blocks.insert((table, block), content);
    }
}
