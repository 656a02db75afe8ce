//! Raw readings on demand: the gateway answers an aggregator from its journals.
//!
//! A journal holds every acknowledged reading. With `raw_keep`, it stays after checkpoints have covered it
//! ([`crate::kept`]), so raw readings cost no further write. Readings that were refused are not there.
//!
//! ```text
//! uplink ─▶ server ─▶ task ─▶ lookup (numbers of the series, on the worker) ─▶ start ─▶ read ─▶ outlet ─▶ uplink
//! ```
//!
//! `read` and `start` block on the disk and run on threads that may; `columns` decodes entries; `outlet` keeps to the
//! rate and the aggregator's credit, so that batches are not held up.

mod columns;
mod lookup;
mod outlet;
mod read;
mod server;
mod settings;
mod start;
mod task;
#[cfg(test)]
mod tests;

pub use self::lookup::SeriesLookup;
pub(crate) use self::{server::RawServer, settings::RawSettings};
