//! Tables: immutable sorted files of rows.
//!
//! In the order in which rows pass: `resolution` (what a table holds, and of which time), `writer`; `section` and `column`
//! (rows of one series as columns), `block` (a piece of a table), `compression`, `index` and `format` (the file around
//! the blocks); and back: `table` (one file), `cache`, `scan` (all rows in order), `error`.
#![allow(dead_code, reason = "flusher, compactor and readers come next")]

pub(in crate::store) mod applied;
pub(in crate::store) mod block;
pub(in crate::store) mod build;
pub(in crate::store) mod cache;
pub(in crate::store) mod coarsen;
mod column;
pub(in crate::store) mod compactor;
mod compression;
pub(in crate::store) mod current;
pub(in crate::store) mod error;
mod format;
pub(in crate::store) mod fresh;
mod index;
pub(in crate::store) mod merge;
pub(in crate::store) mod pieces;
pub(in crate::store) mod reader;
pub(in crate::store) mod repeats;
pub(in crate::store) mod resolution;
pub(in crate::store) mod scan;
mod section;
pub(in crate::store) mod table;
#[cfg(test)]
mod tests;
mod varint;
pub(in crate::store) mod version;
pub(in crate::store) mod writer;
