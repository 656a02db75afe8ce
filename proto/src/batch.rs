//! A batch of partials, checked: what a gateway's shard delivers at once.
//!
//! On the wire the entries travel as parallel columns of differences; here they are rows. The conversion
//! from the wire is total: any message is either a valid batch or refused with a reason.
//!
//! * `columns`: the differences, in both directions. `encode` and `decode`: whole batches. `error`: why one is refused.

mod columns;
mod decode;
mod encode;
mod error;

use catchment_partial::{Timestamp, Width, Window};
use prost::bytes::Bytes;

pub use self::{
    columns::{ColumnEncoder, window_indices},
    error::BatchError,
};
use crate::{history::History, series_dictionary::SharedSeries};

/// Most partials of one batch.
pub const PARTIALS_MAX: usize = 65_536;
/// Most bytes of one encoded batch; larger messages are refused before they are decoded.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Most shards of one gateway.
pub const SHARDS_MAX: u32 = 256;

/// Partials of one shard of a gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Which of the gateway's shards, below [`SHARDS_MAX`].
    pub shard: u32,
    /// 1, 2, 3 … within the gateway's epoch and shard; 0 in a live batch.
    pub number: u64,
    /// The shard had closed its windows up to here.
    pub watermark: Option<Timestamp>,
    /// State of windows that are still open.
    pub live: bool,
    /// Width of all windows of the batch.
    pub width: Width,
    /// The series that the entries refer to.
    pub series: Vec<SharedSeries>,
    /// Epoch of the gateway's folder that the partials' names belong to; 0: the one that delivers them.
    pub names_epoch: u64,
    /// Which times the batches before it cover, as far as the gateway says.
    pub history: History,
    /// The partials.
    pub entries: Vec<Entry>,
}

/// One partial of a batch.
///
/// Its name is (site, gateway, gateway epoch, series, window, part); under one name the highest revision holds.
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
    /// About what it takes in memory, bytes, without its series.
    pub fn memory(&self) -> usize {
        let bodies: usize = self.entries.iter().map(|entry| entry.body.len()).sum();
        // Bodies are parts of the message, whose columns stay with them: some ten bytes an entry.
        let entry = size_of::<Entry>() + 16;
        size_of::<Self>()
            + bodies
            + self.entries.len() * entry
            + self.series.len() * size_of::<SharedSeries>()
            + self.history.memory()
    }
}

#[cfg(test)]
mod tests;
