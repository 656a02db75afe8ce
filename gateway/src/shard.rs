//! A shard: one worker's share of the devices, with its journal and its outbox.
//!
//! [`Shard`] wraps [`crate::fold::State`]: it appends an entry to the journal, then applies it. Nothing that follows
//! from an entry leaves before the journal is synced beyond it. A shard lives on one thread and is borrowed for the
//! length of a synchronous call only.
//!
//! Its parts do not know each other:
//! - `journaled_state`: the journal and the state that it folds to, with `definitions` and `checkpoint`;
//! - `closer`: decisions by the clock: due windows (`position_history`), progress snapshots (`progress_tracker`),
//!   devices to forget (`expiry`);
//! - `outbox`: batches on their way to the outbox, and whether it has room;
//! - `live`: rounds over the open windows, for `--live`;
//! - `refused`: readings that were refused, for the next batch;
//! - `logs`: journal and outbox on disk; `limits`: the shard's share of the gateway's bounds; `backpressure`: why an
//!   entry is refused for now.
//!
//! `facade` composes them, `tick`, `introduce` and `seal` do what needs several of them, `cell` shares the shard
//! among the tasks of a worker, `poison_guard` poisons it if a panic comes between append and fold. `recover` opens a
//! shard's folder, `shard_facts` is what the folder knows of the shard, `progress` what the shard reports.

mod backpressure;
mod cell;
mod checkpoint;
mod closer;
mod definitions;
mod expiry;
mod facade;
mod introduce;
mod journaled_state;
mod limits;
mod live;
mod logs;
mod outbox;
mod poison_guard;
mod position_history;
mod progress;
mod progress_tracker;
mod recover;
mod refused;
mod seal;
mod shard_facts;
#[cfg(test)]
mod tests;
mod tick;

pub use backpressure::Backpressure;
pub use cell::ShardCell;
pub use checkpoint::Capture;
pub(crate) use definitions::FOLDER as DEFINITIONS;
pub use expiry::Hold;
pub use facade::Shard;
pub use introduce::SeriesFull;
pub use limits::ShardLimits;
pub use logs::ShardLog;
pub use progress::{Observation, Progress};
pub(crate) use recover::delivered;
pub(crate) use recover::{CHECKPOINTS, check_checkpoints};
pub use recover::{LostBatches, RecoveryError, RecoveryReport, Setup, examine};
pub use shard_facts::ShardFacts;
