//! Blocks: windows on disk.
//!
//! `flusher` with `flush_signal` and `flush_marker`: from memory to blocks; `block`: the encoding; `block_store`: blocks by
//! key; `groups`: series that share blocks; `scan`: reading memory and blocks merged.

pub(in crate::store) mod block;
pub(in crate::store) mod block_store;
pub(in crate::store) mod flush_marker;
pub(in crate::store) mod flush_signal;
pub(in crate::store) mod flusher;
pub(in crate::store) mod groups;
pub(in crate::store) mod scan;
