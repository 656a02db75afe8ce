//! The durable log that Catchment's gateway and aggregator stand on.
//!
//! * [`Log`]: a segmented, checksummed, append-only log with one owner. [`GroupLog`]: the same log shared by
//!   many appenders, with one thread that commits for all of them (one sync for all that arrived meanwhile).
//! * [`Checkpoints`], [`write_atomic`]: small files that are there whole or not at all.
//! * [`DataDir`]: a data folder with an identity, an owner, a format version and a lock; whether it is still in its place.
//! * [`Watchdog`]: a thread that checks periodically, for a folder under a running server.
//! * [`verify`], [`quarantine`]: what is wrong with a log's files, and how to continue without the damaged parts.
//!
//! What always holds: an append is refused before it changes anything, or it is written; what a commit
//! returned survives power loss as long as the disk keeps what it synced; a failed sync is never retried; nothing is
//! committed to a file that was removed;
//! what is damaged is reported and never skipped in silence. All input and output goes through [`Disk`], so
//! that this is tested on a disk that lies (`sim::SimDisk`, feature `sim`).

mod atomic_file;
mod config;
mod damage;
mod data_dir;
mod error;
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
pub use fs::{Disk, DiskFile, FileStatus, RealDisk};
pub use group::{Commit, Committer, GroupLog};
pub use log::Log;
pub use position::Position;
pub use presence::{PresenceError, check_exists, check_in_place};
pub use quarantine::{Quarantined, quarantine};
pub use read_only::ReadOnlyLog;
pub use reader::{ReadEvent, Reader};
pub use verify::{SegmentReport, VerifyReport, verify};
pub use watchdog::Watchdog;
