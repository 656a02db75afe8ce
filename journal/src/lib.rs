//! The durable log that Catchment's gateway and aggregator stand on.
//!
//! * [`Log`]: a segmented, checksummed, append-only log with one owner. [`GroupLog`]: the same log shared by
//!   many appenders, with one thread that commits for all of them (one sync for all that arrived meanwhile).
//! * [`Checkpoints`], [`write_whole`]: small files that are there whole or not at all.
//! * [`DataDir`]: a data folder with an identity, an owner, a format version and a lock; whether it is still in its place.
//! * [`Watch`]: a thread that looks from time to time, for a folder under a running server.
//! * [`verify`], [`set_aside`]: what is wrong with a log's files, and how to live on without the bad part.
//!
//! What always holds: an append is refused before it changes anything, or it is written; what a commit
//! returned survives power loss as long as the disk keeps what it synced; a failed sync is never retried; nothing is
//! committed to a file that was removed;
//! what is damaged is reported and never skipped in silence. All input and output goes through [`Disk`], so
//! that this is tested on a disk that lies (`sim::SimDisk`, feature `sim`).

mod config;
mod damage;
mod data_dir;
mod error;
mod format;
mod fs;
mod group;
mod log;
mod open;
mod peek;
mod pending;
mod place;
mod position;
mod reader;
mod repair;
mod scan;
mod segments;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod watch;
mod whole;
mod window;
mod writer;

pub use config::LogConfig;
pub use damage::{Damage, DamageReason, Recovery};
pub use data_dir::{DataDir, DataDirError, FORMAT_VERSION, FolderFacts, check_folder};
pub use error::{AppendError, FullReason, OpenError, ReadError, SyncError};
pub use fs::{Disk, DiskFile, FileStatus, RealDisk};
pub use group::{Commit, Committer, GroupLog};
pub use log::Log;
pub use peek::Peek;
pub use place::{PlaceError, check_exists, check_in_place};
pub use position::Position;
pub use reader::{ReadEvent, Reader};
pub use repair::{SetAside, set_aside};
pub use verify::{SegmentReport, VerifyReport, verify};
pub use watch::Watch;
pub use whole::{Checkpoints, WholeError, read_whole, write_whole};
