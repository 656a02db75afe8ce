//! Tables: immutable sorted files of rows.
//!
//! In the order in which rows pass: `resolution` (what a table holds, and of which time), `writer`; `section`, `column` and
//! `packed` (rows of one series as columns), `block` (a piece of a table), `compression`, `index` and `format` (the file around
//! the blocks); and back: `table` (one file), `cache`, `scan` (all rows in order), `error`.
#![allow(dead_code, reason = "flusher, compactor and readers come next")]

pub(in crate::store) mod block;
pub(in crate::store) mod cache;
mod column;
mod compression;
pub(in crate::store) mod error;
mod format;
mod index;
mod packed;
pub(in crate::store) mod resolution;
pub(in crate::store) mod scan;
mod section;
pub(in crate::store) mod table;
#[cfg(test)]
mod tests;
mod varint;
pub(in crate::store) mod writer;
