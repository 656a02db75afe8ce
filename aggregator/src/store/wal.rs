//! The write-ahead log.
//!
//! `admission`: which batches enter, in which order; `entry`: an entry of the journal; `apply`: the state as the fold of
//! the entries; `changes`: which rows an entry changes; `open`: recovery by replay.

pub(in crate::store) mod admission;
pub(in crate::store) mod apply;
pub(in crate::store) mod changes;
pub(in crate::store) mod entry;
pub(in crate::store) mod open;
