//! Why a message is no batch.

use catchment_partial::WidthError;

use super::{PARTIALS_MAX, REFUSED_HOURS_MAX, SHARDS_MAX};
use crate::{history::HistoryError, series_dictionary::DictionaryError};

/// Why a message is not a valid [`super::Batch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The shard's number is too large.
    #[error("shard {0}, at most {SHARDS_MAX} are allowed")]
    Shard(u32),
    /// Live batches, and only those, must have number 0.
    #[error("number {number} in a batch with live={live}")]
    Number {
        /// The number given.
        number: u64,
        /// Whether it is marked live.
        live: bool,
    },
    /// The width of the windows is invalid.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// More partials than one batch may have.
    #[error("{0} partials in one batch, at most {PARTIALS_MAX} are allowed")]
    TooMany(usize),
    /// The columns do not have the same length.
    #[error("column {column} has {length} entries instead of {expected}")]
    Column {
        /// Name of the column.
        column: &'static str,
        /// Its length.
        length: usize,
        /// Length of the others.
        expected: usize,
    },
    /// The series dictionary.
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
    /// An entry refers to a series that the dictionary lacks.
    #[error("entry {entry} refers to series {series} of {count}")]
    Index {
        /// Number of the entry.
        entry: usize,
        /// The index it gives.
        series: u32,
        /// Length of the dictionary.
        count: usize,
    },
    /// A window, part or revision out of range; holds the entry's number.
    #[error("entry {0}: window, part or revision out of range")]
    Range(usize),
    /// The watermark is out of range.
    #[error("watermark of {0} ms out of range")]
    Watermark(i64),
    /// The bodies end before the last partial, or continue after it.
    #[error("the lengths of the bodies do not add up to {0} bytes")]
    Bodies(usize),
    /// The history of earlier batches is invalid.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Refused readings of more hours than one batch may report.
    #[error("refused readings of {0} hours in one batch, at most {REFUSED_HOURS_MAX} are allowed")]
    Refused(usize),
    /// A self-contained batch refers to an earlier one.
    #[error("the batch continues the list of series of another one")]
    Continues,
}
