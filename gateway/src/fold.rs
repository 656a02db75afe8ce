//! The pure state machine of a shard: its [`State`] is the fold of its journal.
//!
//! Every decision goes through the journal as an [`Entry`]: accepted messages, and also the decision to close
//! windows, because a clock is not repeatable. [`State::apply`] reads no clock, draws no random number and iterates
//! over nothing unordered. So the same entries at the same positions lead to the same state and emit the same
//! batches; a restart recovers by replaying them.
//!
//! - `entry`: the entries, and their format on disk;
//! - `state`, `device`, `client`, `windows`: what an entry changes; `intake`: how readings change it;
//! - `metric_parts`: which optional parts the windows of a metric carry;
//! - `due`: the order in which open windows fall due;
//! - `numbers`: batch numbers, and the times that batches cover;
//! - `forget`, `forgotten_series`: what is forgotten, and the places that this keeps at the aggregator;
//! - `checkpoint`, `snapshot`, `chunks`: the state as bytes, in one go or in steps; `changes`: entries that wait for them;
//! - `lookup`: queries on the state;
//! - `loss`: replay of a damaged journal.

mod changes;
mod checkpoint;
mod chunks;
mod client;
mod device;
mod due;
mod entry;
mod forget;
mod forgotten_series;
mod intake;
mod lookup;
mod loss;
mod metric_parts;
mod numbers;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod windows;

pub use checkpoint::CheckpointError;
pub use client::CLIENTS_MAX;
pub use device::DEVICE_EPOCHS_MAX;
pub use entry::{
    ClientEntry, CloseEntry, ConfigureEntry, DeviceEntry, Entry, EntryError, ForgetEntry, IntakeEntry,
    LastClosed, MetricEntry, NumbersEntry, ProgressSnapshotEntry, RefusedEntry, SeriesEntry,
};
pub use forget::Search;
pub use lookup::OpenWindowCursor;
pub use loss::{Definitions, Loss};
pub use metric_parts::MetricParts;
pub use state::{ApplyError, Emission, Emitted, State};
