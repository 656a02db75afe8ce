//! A validated batch of partials: the unit of delivery of a gateway's shard.
//!
//! On the wire, the entries are parallel columns of differences; here they are rows. The conversion from the wire is
//! total: any message is either a valid batch or refused with a reason.
//!
//! * `columns`: the differences, in both directions. `encode` and `decode`: whole batches. `rewrite`: the same batch with
//!   other bodies. `error`: why one is refused.

mod columns;
mod decode;
mod encode;
mod error;
mod rewrite;

use catchment_partial::{Timestamp, Width, Window};
use prost::bytes::Bytes;

pub use self::{
    columns::{ColumnEncoder, window_indices},
    error::BatchError,
    rewrite::rewrite_bodies,
};
use crate::{history::History, series_dictionary::SharedSeries};

/// Maximum number of partials in a batch.
pub const PARTIALS_MAX: usize = 65_536;
/// Maximum size of an encoded batch; larger messages are refused before they are decoded.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Maximum number of shards of a gateway.
pub const SHARDS_MAX: u32 = 256;

/// Maximum number of hours of refused readings in a batch.
pub const REFUSED_HOURS_MAX: usize = 64;

/// Partials of one shard of a gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Number of the gateway's shard, below [`SHARDS_MAX`].
    pub shard: u32,
    /// 1, 2, 3 … within the gateway's epoch and shard; 0 in a live batch.
    pub number: u64,
    /// The shard had closed its windows up to this time.
    pub watermark: Option<Timestamp>,
    /// State of windows that are still open.
    pub live: bool,
    /// Width of all windows of the batch.
    pub width: Width,
    /// The series that the entries refer to.
    pub series: Vec<SharedSeries>,
    /// Epoch of the gateway's folder to which the partials' names belong; 0: the delivering one.
    pub names_epoch: u64,
    /// Times that the earlier batches cover, as far as the gateway reports them.
    pub history: History,
    /// Readings that the shard refused and had not reported before; at most [`REFUSED_HOURS_MAX`] entries.
    pub refused: Vec<RefusedReadings>,
    /// The partials.
    pub entries: Vec<Entry>,
}

/// Readings refused in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedReadings {
    /// Hour of the gateway's clock in which they came, in hours since the Unix epoch.
    pub hour: i64,
    /// How many.
    pub readings: u64,
}

/// One partial of a batch.
///
/// Its name is (site, gateway, gateway epoch, series, window, part); for each name, the highest revision counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index into the batch's series; always valid.
    pub series: u32,
    /// The window that it covers.
    pub window: Window,
    /// Position in the shard's journal at which the window was opened.
    pub part: u64,
    /// Position of the last entry folded in; at least the part.
    pub revision: u64,
    /// The encoded partial, relative to the window's start.
    pub body: Bytes,
}

impl Batch {
    /// Approximate memory use in bytes, without the series.
    pub fn memory(&self) -> usize {
        let bodies: usize = self.entries.iter().map(|entry| entry.body.len()).sum();
        // Bodies are slices of the message and keep its columns alive: some ten bytes per entry.
        let entry = size_of::<Entry>() + 16;
        size_of::<Self>()
            + bodies
            + self.entries.len() * entry
            + self.series.len() * size_of::<SharedSeries>()
            + self.history.memory()
            + self.refused.len() * size_of::<RefusedReadings>()
    }
}

#[cfg(test)]
mod tests;
