//! A worker thread: an actix arbiter with one shard, the actors of its devices, and their sessions.
//!
//! Connections come from the accept loop after their handshake; from there on a reading stays on this thread.
//!
//! - `handle`: starts the thread, and watches it from outside;
//! - `thread`: its tasks for connections, commits and due windows;
//! - `maintenance`: its tasks for checkpoints and live batches;
//! - `link`: the shard as the uplink sees it;
//! - `placement`: which device belongs to which shard.

mod handle;
mod link;
mod lookups;
mod maintenance;
mod placement;
mod thread;

pub use self::{
    handle::{Shared, Worker},
    link::{LiveSlot, ShardLink},
    placement::shard_of,
};
pub use crate::shard::Progress;
