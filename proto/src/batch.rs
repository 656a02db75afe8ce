//! A batch of partials, checked: what a gateway's shard delivers at once.
//!
//! On the wire the entries travel as parallel columns of differences; here they are rows. The conversion
//! from the wire is total: any message is either a valid batch or refused with a reason.

use catchment_partial::{Timestamp, Width, WidthError, Window};
use prost::bytes::Bytes;

use crate::{
    series::{SeriesError, SeriesKey},
    wire,
};

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
    pub series: Vec<SeriesKey>,
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

/// Why a message is no [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The shard's number is beyond the bound.
    #[error("shard {0}, at most {SHARDS_MAX} are allowed")]
    Shard(u32),
    /// A live batch has number 0, and only a live one.
    #[error("number {number} in a batch with live={live}")]
    Number {
        /// The number given.
        number: u64,
        /// Whether it is marked live.
        live: bool,
    },
    /// The width of the windows.
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
    /// A series of the dictionary.
    #[error("series {index}: {error}")]
    Series {
        /// Its index.
        index: usize,
        /// What is wrong with it.
        error: SeriesError,
    },
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
    /// The watermark cannot be expressed.
    #[error("watermark of {0} ms out of range")]
    Watermark(i64),
}

fn check_columns(wire: &wire::Batch) -> Result<usize, BatchError> {
    let expected = wire.body.len();
    if expected > PARTIALS_MAX {
        return Err(BatchError::TooMany(expected));
    }
    let columns = [
        ("series_index", wire.series_index.len()),
        ("window", wire.window.len()),
        ("part", wire.part.len()),
        ("revision", wire.revision.len()),
    ];
    match columns.into_iter().find(|(_, length)| *length != expected) {
        Some((column, length)) => Err(BatchError::Column { column, length, expected }),
        None => Ok(expected),
    }
}

impl TryFrom<wire::Batch> for Batch {
    type Error = BatchError;

    fn try_from(wire: wire::Batch) -> Result<Self, BatchError> {
        if wire.shard >= SHARDS_MAX {
            return Err(BatchError::Shard(wire.shard));
        }
        if (wire.number == 0) != wire.live {
            return Err(BatchError::Number { number: wire.number, live: wire.live });
        }
        let width = Width::from_millis(wire.width_ms)?;
        let count = check_columns(&wire)?;
        if wire.series.len() > count {
            return Err(BatchError::Column { column: "series", length: wire.series.len(), expected: count });
        }
        let watermark = match wire.watermark_ms {
            0 => None,
            ms => Some(Timestamp::from_millis(ms).ok_or(BatchError::Watermark(ms))?),
        };
        let mut series = Vec::with_capacity(wire.series.len());
        for (index, reference) in wire.series.iter().enumerate() {
            series.push(SeriesKey::try_from(reference).map_err(|error| BatchError::Series { index, error })?);
        }
        let mut entries = Vec::with_capacity(count);
        let (mut window_index, mut part) = (0_i64, 0_i64);
        let columns =
            wire.series_index.into_iter().zip(wire.window).zip(wire.part).zip(wire.revision).zip(wire.body);
        for (entry, ((((series_index, window), part_step), revision), body)) in columns.enumerate() {
            let range = || BatchError::Range(entry);
            if series_index as usize >= series.len() {
                return Err(BatchError::Index { entry, series: series_index, count: series.len() });
            }
            window_index = window_index.checked_add(window).ok_or_else(range)?;
            part = part.checked_add(part_step).ok_or_else(range)?;
            let opened = u64::try_from(part).map_err(|_| range())?;
            entries.push(Entry {
                series: series_index,
                window: Window::from_index(window_index, width).ok_or_else(range)?,
                part: opened,
                revision: opened.checked_add(revision).ok_or_else(range)?,
                body,
            });
        }
        Ok(Self {
            shard: wire.shard,
            number: wire.number,
            watermark,
            live: wire.live,
            width,
            series,
            entries,
        })
    }
}

impl From<&Batch> for wire::Batch {
    fn from(batch: &Batch) -> Self {
        let count = batch.entries.len();
        let mut wire = Self {
            shard: batch.shard,
            number: batch.number,
            watermark_ms: batch.watermark.map_or(0, Timestamp::as_millis),
            live: batch.live,
            width_ms: batch.width.as_millis(),
            series: batch.series.iter().map(wire::SeriesRef::from).collect(),
            series_index: Vec::with_capacity(count),
            window: Vec::with_capacity(count),
            part: Vec::with_capacity(count),
            revision: Vec::with_capacity(count),
            body: Vec::with_capacity(count),
        };
        let (mut window, mut part) = (0_i64, 0_i64);
        for entry in &batch.entries {
            wire.series_index.push(entry.series);
            wire.window.push(entry.window.index().wrapping_sub(window));
            wire.part.push((entry.part as i64).wrapping_sub(part));
            wire.revision.push(entry.revision.saturating_sub(entry.part));
            wire.body.push(entry.body.clone());
            (window, part) = (entry.window.index(), entry.part as i64);
        }
        wire
    }
}

#[cfg(test)]
mod tests;
