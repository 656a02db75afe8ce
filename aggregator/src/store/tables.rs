//! Tables: immutable sorted files of rows.
//!
//! In the order in which rows pass: `resolution` (what a table holds, and of which time), `section` (rows of one series
//! as columns), `block` (compressed pieces of a table), `index`, `writer`; and back: `table` (one file, its index),
//! `block`, `cache`, `scan` (all rows of a table in order), `error`.
#![allow(dead_code, reason = "flusher, compactor and readers come next")]

pub(in crate::store) mod applied;
pub(in crate::store) mod block;
pub(in crate::store) mod build;
pub(in crate::store) mod cache;
pub(in crate::store) mod coarsen;
pub(in crate::store) mod compactor;
pub(in crate::store) mod current;
pub(in crate::store) mod error;
pub(in crate::store) mod fresh;
pub(in crate::store) mod merge;
pub(in crate::store) mod pieces;
pub(in crate::store) mod reader;
pub(in crate::store) mod repeats;
pub(in crate::store) mod resolution;
pub(in crate::store) mod scan;
pub(in crate::store) mod table;
pub(in crate::store) mod version;
pub(in crate::store) mod writer;
