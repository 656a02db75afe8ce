//! The definitions log: a second record of what entries refer to by index (devices, series, the window width).
//!
//! An entry names its device and series by index. If damage took the entry that introduced them, everything after it
//! would be lost too. So each definition is also written to this log, with its position in the journal. The log is
//! redundant: once the shard serves, nothing waits for the log, a thread of its own writes it, and a log that fails
//! is abandoned with a warning.
//!
//! The log also notes what is forgotten. A start that finds the log much larger than the state needs rewrites it: it
//! appends the definitions in use once more, and releases what stands before. A crash in between leaves both, which
//! agree.
//!
//! Invariants:
//! - A definition is written once its entry is durable. So a definition beyond the journal's end shows that the
//!   journal lost its end.
//! - Before the journal is appended to, no definition has a position at or after the journal's end, and no new device
//!   or series gets an index that is defined here. Otherwise a definition could give the wrong name to a later owner
//!   of its index. So the definition of something forgotten stays right as long as it exists.

mod log;
mod stored;
mod writer;

pub(super) use self::{log::DefinitionsLog, stored::StoredDefinitions};

/// The folder of the definitions log in a shard's folder. Part of the disk format, so it keeps its first name.
pub(crate) const FOLDER: &str = "names";
