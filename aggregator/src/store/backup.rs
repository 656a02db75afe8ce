//! Backup of a store: a consistent state as files that can be copied, and a data folder made of such files.
//!
//! - `source`: what a caller sees of it: [`BackupSource`], [`Snapshot`];
//! - `snapshot`: flushes the memtable and takes the state of that flush;
//! - `export`: the catalog of that state as a file of its own;
//! - `build`: a new data folder of a catalog and tables.
//!
//! A snapshot holds every batch that was acknowledged before it was taken, and no window of a later one. Tables never
//! change, so the snapshot names them and keeps them from being removed; the catalog is copied.

pub(in crate::store) mod build;
pub(in crate::store) mod export;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;

pub use source::{BackupError, BackupFile, BackupSource, Contents, Snapshot};

/// Format of the files of a backup.
pub(crate) const FORMAT: u32 = 1;
/// Folder of the tables' files within a backup, and what the names of catalogs begin with.
pub(crate) const TABLES: &str = "tables/";
pub(crate) const CATALOG: &str = "catalog-";
