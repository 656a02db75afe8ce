//! Tables: immutable sorted files of rows, and what is done with them.
//!
//! In the order in which rows pass: `resolution` (what a table holds, and of which time), `coarsen` (windows merged into
//! minutes, hours and days), `build` (the tables of a flush), `section`, `column` and `packed`, `format`, `compression`, `index`, `writer` (one
//! file); `version` and `current` (the tables that count), `compactor` and `merge` (fewer tables), `applied` (what
//! retention removed); and back: `pieces` (which resolution serves which time), `reader` with `fresh` (tables and memory
//! together), `repeats` (one name), `table`, `checksum` (of a file), `block`, `cache`, `scan` (all rows of a table in order),
//! `error`, `reported`.

pub(in crate::store) mod applied;
pub(in crate::store) mod block;
pub(in crate::store) mod build;
pub(in crate::store) mod cache;
mod checksum;
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
mod packed;
pub(in crate::store) mod pieces;
pub(in crate::store) mod reader;
pub(in crate::store) mod repeats;
pub(in crate::store) mod reported;
pub(in crate::store) mod resolution;
pub(in crate::store) mod scan;
mod section;
pub(in crate::store) mod table;
#[cfg(test)]
mod tests;
mod varint;
pub(in crate::store) mod version;
pub(in crate::store) mod writer;
