//! Blocks of earlier versions, which kept windows in sled: read once, and written to tables.
//!
//! `block`: the encoding; `stored`: the blocks in the tree; `migrate`: from blocks to tables.

pub(in crate::store) mod block;
pub(in crate::store) mod migrate;
pub(in crate::store) mod stored;
