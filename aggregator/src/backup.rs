//! Backup and restore: the service `catchment.v1.Maintenance`, and the commands `store backup` and `store restore`.
//!
//! In the order of the data: `service` (one backup at a time), `sender` and `pace` (a thread that reads a snapshot of the
//! store and streams it); on the other side `remote` (asks a running aggregator) or `local` (a folder that no aggregator
//! uses), `target` (the backup's folder), `list` (what is in it); and back, `restore`. `command`: flags and output.

mod command;
mod list;
mod local;
mod pace;
mod remote;
mod restore;
mod sender;
mod service;
mod target;

pub use self::command::{BackupOptions, RestoreOptions};
pub(crate) use self::sender::END_REASONS;
pub(crate) use self::service::MaintenanceService;
#[cfg(test)]
pub(crate) use self::{
    list::LIST,
    restore::{Failure, Source},
    sender::read_files,
    target::{Done, Incoming, Target, TargetError},
};

/// Most bytes of a chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Most files of a backup.
const FILES_MAX: usize = 1_000_000;
/// Longest request: the list of the files that a caller has.
pub(crate) const REQUEST_BYTES_MAX: usize = 8 << 20;
