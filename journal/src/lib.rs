//! Write-ahead log, checkpoints and data folders for Catchment's gateway and aggregator.
//!
//! * [`Log`]: a segmented, checksummed, append-only log with one owner. [`GroupLog`]: the same log shared by many
//!   appenders, with group commit: one thread commits for all of them, with one sync for all records that arrived
//!   meanwhile.
//! * [`Checkpoints`], [`write_atomic`]: small files that are replaced atomically.
//! * [`DataDir`]: a data folder with an identity, an owner, a format version and a lock; checks whether it is still in
//!   place.
//! * [`Watchdog`]: a thread that checks periodically, for the folder of a running server.
//! * [`verify`], [`quarantine`]: find damage in a log's files, and set it aside so that the log can continue.
//!
//! Invariants: an append either is refused before it changes anything, or is written. Committed records survive power
//! loss as long as the disk keeps what it synced. A failed sync is never retried. Nothing is committed to a removed
//! file. Damage is reported, never skipped silently. All input and output goes through [`Disk`], so that tests can use
//! a simulated disk that loses unsynced data and fails on request (`sim::SimDisk`, feature `sim`).
//!
//! Modules:
//! - write: `log` and `group` (appenders), `pending` (the commit block being filled), `writer` (the disk side),
//!   `segments` (the list of segments), `position`, `format` (the bytes of the files);
//! - open: `open`, `tail` (finds the end);
//! - read: `reader`, `read_only`, `read_buffer`, `scan` (one segment, past damage);
//! - check: `verify`, `quarantine`, `damage` (reports), `presence` (files in place), `watchdog`;
//! - files: `data_dir`, `atomic_file`, `fs` (the trait of disks), `sim`; `config` and `error` serve all of them.

mod atomic_file;
mod config;
mod damage;
mod data_dir;
mod error;
mod folder_lock;
mod format;
mod fs;
mod group;
mod log;
mod open;
mod pending;
mod position;
mod presence;
mod quarantine;
mod read_buffer;
mod read_only;
mod reader;
mod scan;
mod segments;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod watchdog;
mod writer;

pub use atomic_file::{AtomicFileError, Checkpoints, read_atomic, write_atomic};
pub use config::LogConfig;
pub use damage::{Damage, DamageReason, Recovery};
pub use data_dir::{DataDir, DataDirError, FORMAT_VERSION, FolderFacts, check_folder};
pub use error::{AppendError, FullReason, OpenError, ReadError, SyncError};
pub use folder_lock::FolderLock;
pub use fs::{Disk, DiskFile, FileStatus, RealDisk};
pub use group::{Commit, Committer, GroupLog};
pub use log::Log;
pub use position::Position;
pub use presence::{PresenceError, check_exists, check_in_place};
pub use quarantine::{Quarantined, quarantine};
pub use read_only::ReadOnlyLog;
pub use reader::{ReadEvent, Reader};
pub use segments::Segment;
pub use verify::{SegmentReport, VerifyReport, verify};
pub use watchdog::Watchdog;
