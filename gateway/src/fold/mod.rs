//! The pure state machine of a shard: its state is the fold of its journal.
//!
//! Everything that decides goes through the journal as an [`Entry`]: accepted messages, and the decision to
//! close windows, because a clock is not repeatable. [`State::apply`] reads no clock, draws no random number and
//! iterates over nothing unordered, so the same entries at the same positions end in the same state and emit the
//! same batches. That is how a restart recovers.

mod checkpoint;
mod client;
mod device;
mod due;
mod entry;
mod forget;
mod forgotten_series;
mod lookup;
mod loss;
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
    LastClosed, NumbersEntry, ProgressSnapshotEntry, SeriesEntry,
};
pub use forget::Search;
pub use lookup::OpenWindowCursor;
pub use loss::{Definitions, Loss};
pub use state::{ApplyError, Emission, Emitted, State};
