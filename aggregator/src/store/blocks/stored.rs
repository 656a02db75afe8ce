//! The blocks of earlier versions, as the tree of the catalog holds them.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::store::{
    blocks::block,
    catalog::{catalog_store::CatalogStore, groups::first_of},
    memtable::row::Row,
    tree::{
        keys,
        records::{self, BlockManifest},
    },
};

/// A block that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct DamagedBlock {
    /// Its group of series.
    pub(in crate::store) group: u32,
    /// Its bucket.
    pub(in crate::store) bucket: i64,
    /// Its number within the bucket.
    pub(in crate::store) block: u32,
    /// What is wrong with it.
    pub(in crate::store) reason: String,
}

impl std::fmt::Display for DamagedBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { group, bucket, block, reason } = self;
        let first = first_of(*group);
        write!(f, "series from {first} on, bucket {bucket} (hours since 1970), block {block}: {reason}")
    }
}

/// A block that was read.
#[derive(Debug)]
pub(in crate::store) struct Block {
    /// Sequence number of the write batch that wrote it.
    pub(in crate::store) sequence: u64,
    pub(in crate::store) rows: Vec<Row>,
}

impl CatalogStore {
    /// Whether there are blocks of an earlier version.
    ///
    /// # Errors
    /// Error of the tree.
    #[cfg(test)]
    pub(in crate::store) fn has_blocks(&self) -> Result<bool, String> {
        let mut found = false;
        self.blocks_from(&[records::BLOCK], |_, _| {
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Visits the blocks of earlier versions from a key on, until the visitor breaks.
    ///
    /// # Errors
    /// Error of the tree.
    pub(in crate::store) fn blocks_from(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let end = vec![records::BLOCK + 1];
        self.tree.scan(keys(from.to_vec()..end), &mut |key, value| Ok(visit(key, value)))
    }

    /// Visits the blocks of a group (`None`: of all groups, even those that the catalog does not know): key, and
    /// block or damage.
    ///
    /// # Errors
    /// Error of the tree, which ended the visit.
    pub(in crate::store) fn blocks_of(
        &self,
        group: Option<u32>,
        mut visit: impl FnMut(&[u8], Result<Block, DamagedBlock>),
    ) -> Result<(), String> {
        let prefix = group.map_or(vec![records::BLOCK], |group| records::numbered(records::BLOCK, group));
        self.each(&prefix, |key, value| {
            visit(key, open_block(key, value, None));
            Ok(())
        })
    }

    /// The manifest of a group's blocks, and the blocks that cannot be read.
    ///
    /// # Errors
    /// Error of the tree.
    pub(in crate::store) fn manifest(
        &self,
        group: u32,
    ) -> Result<(BlockManifest, Vec<DamagedBlock>), String> {
        let (mut manifest, mut bad) = (BlockManifest::default(), Vec::new());
        self.blocks_of(Some(group), |key, block| match block {
            Ok(block) => manifest.add(key, block.sequence),
            Err(damaged) => bad.push(damaged),
        })?;
        Ok((manifest, bad))
    }
}

/// Opens the block of a value; with `only`, its rows of one series.
pub(in crate::store) fn open_block(
    key: &[u8],
    value: &[u8],
    only: Option<u32>,
) -> Result<Block, DamagedBlock> {
    let (group, bucket, number) = records::parse_block_key(key).unwrap_or((u32::MAX, i64::MAX, u32::MAX));
    let bad = |reason: String| DamagedBlock { group, bucket, block: number, reason };
    let sealed = records::unseal(key, value).map_err(|e| bad(e.to_owned()))?;
    let content = Bytes::copy_from_slice(sealed.content);
    let rows = block::decode_rows(group, &content, only).map_err(|e| bad(e.to_string()))?;
    if rows.iter().any(|row| row.name.bucket() != bucket) {
        return Err(bad("it holds windows of another bucket".to_owned()));
    }
    Ok(Block { sequence: sealed.sequence, rows })
}
