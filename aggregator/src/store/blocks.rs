//! Blocks of earlier versions, which kept windows in sled: read once, and written to tables.
//!
//! `block`: the encoding; `block_store`: the tree with catalog and blocks; `groups`: series that share records;
//! `hours`: the catalog's counts of gateways; `migrate`: from blocks to tables.

pub(in crate::store) mod block;
pub(in crate::store) mod block_store;
pub(in crate::store) mod groups;
mod hours;
pub(in crate::store) mod migrate;
