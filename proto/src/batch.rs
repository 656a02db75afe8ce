//! A validated batch of partials: the unit of delivery of a gateway's shard.
//!
//! On the wire, the entries are parallel columns of differences; here they are rows. The conversion from the wire is
//! total: any message is either a valid batch or refused with a reason.

use catchment_partial::{Timestamp, Width, WidthError, Window};
use prost::{
    bytes::Bytes,
    encoding::{self, WireType},
};

use crate::{
    history::{History, HistoryError},
    series::{SeriesError, SeriesKey},
    series_dictionary::{DICTIONARY_SERIES_MAX, DictionaryDecoder, SharedSeries},
    wire,
};

/// Maximum number of partials in a batch.
pub const PARTIALS_MAX: usize = 65_536;
/// Maximum size of an encoded batch; larger messages are refused before they are decoded.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Maximum number of shards of a gateway.
pub const SHARDS_MAX: u32 = 256;

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
    /// The partials.
    pub entries: Vec<Entry>,
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

/// Why a message is not a valid [`Batch`].
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
    /// A series of the dictionary is invalid.
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
    /// The watermark is out of range.
    #[error("watermark of {0} ms out of range")]
    Watermark(i64),
    /// The bodies end before the last partial, or continue after it.
    #[error("the lengths of the bodies do not add up to {0} bytes")]
    Bodies(usize),
    /// More series than a dictionary may have.
    #[error("a list of {0} series, at most {DICTIONARY_SERIES_MAX} are allowed")]
    DictionarySize(usize),
    /// The history of earlier batches is invalid.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A self-contained batch refers to an earlier one.
    #[error("the batch continues the list of series of another one")]
    Continues,
}

fn check_columns(wire: &wire::Batch) -> Result<usize, BatchError> {
    let expected = wire.body_bytes.len();
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

impl Batch {
    pub(crate) fn read(
        wire: wire::Batch,
        dictionary: &mut DictionaryDecoder,
        known: &dyn Fn(&SeriesKey) -> Option<SharedSeries>,
    ) -> Result<Self, BatchError> {
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
        dictionary.add(&wire.series, wire.continues, known)?;
        let mut batch = Self {
            shard: wire.shard,
            number: wire.number,
            watermark,
            live: wire.live,
            width,
            series: Vec::with_capacity(count.min(dictionary.len())),
            names_epoch: wire.names_epoch,
            history: History::read(wire.history.as_ref())?,
            entries: Vec::with_capacity(count),
        };
        batch.read_entries(&wire, dictionary)?;
        Ok(batch)
    }

    fn read_entries(
        &mut self,
        wire: &wire::Batch,
        dictionary: &mut DictionaryDecoder,
    ) -> Result<(), BatchError> {
        let (mut series, mut window, mut part) = (0_i64, 0_i64, 0_i64);
        let mut bodies = wire.bodies.clone();
        let columns = wire.series_index.iter().zip(&wire.window).zip(&wire.part);
        let columns = columns.zip(&wire.revision).zip(&wire.body_bytes);
        for (entry, ((((series_step, window_step), part_step), revision), length)) in columns.enumerate() {
            let range = || BatchError::Range(entry);
            series = series.checked_add(*series_step).ok_or_else(range)?;
            window = window.checked_add(*window_step).ok_or_else(range)?;
            part = part.checked_add(*part_step).ok_or_else(range)?;
            let opened = u64::try_from(part).map_err(|_| range())?;
            let number = u32::try_from(series).map_err(|_| range())?;
            let index = dictionary.index_in_batch(number as usize, &mut self.series);
            let unknown = || BatchError::Index { entry, series: number, count: dictionary.len() };
            let length = usize::try_from(*length).ok().filter(|length| *length <= bodies.len());
            self.entries.push(Entry {
                series: index.ok_or_else(unknown)?,
                window: Window::from_index(window, self.width).ok_or_else(range)?,
                part: opened,
                revision: opened.checked_add(*revision).ok_or_else(range)?,
                body: bodies.split_to(length.ok_or(BatchError::Bodies(wire.bodies.len()))?),
            });
        }
        if bodies.is_empty() { Ok(()) } else { Err(BatchError::Bodies(wire.bodies.len())) }
    }

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
    }

    /// Appends the batch, encoded as a [`wire::Batch`] that names all its series.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let wire = self.columns();
        let mut put_bytes = |tag, bytes: &[u8]| {
            encoding::encode_key(tag, WireType::LengthDelimited, out);
            encoding::encode_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        };
        self.series.iter().for_each(|series| put_bytes(tag::SERIES, series.encoded()));
        prost::Message::encode_raw(&wire, out);
    }

    /// The message without names.
    fn columns(&self) -> wire::Batch {
        let count = self.entries.len();
        let mut wire = wire::Batch {
            shard: self.shard,
            number: self.number,
            watermark_ms: self.watermark.map_or(0, Timestamp::as_millis),
            live: self.live,
            width_ms: self.width.as_millis(),
            series: Vec::new(),
            series_index: Vec::with_capacity(count),
            window: Vec::with_capacity(count),
            part: Vec::with_capacity(count),
            revision: Vec::with_capacity(count),
            bodies: Bytes::new(),
            body_bytes: Vec::with_capacity(count),
            continues: false,
            names_epoch: self.names_epoch,
            history: self.history.wire(self.width),
        };
        let (mut series, mut window, mut part) = (0_i64, 0_i64, 0_i64);
        let mut bodies = Vec::with_capacity(self.entries.iter().map(|entry| entry.body.len()).sum());
        for entry in &self.entries {
            let index = entry.window.index();
            wire.series_index.push(i64::from(entry.series).wrapping_sub(series));
            wire.window.push(index.wrapping_sub(window));
            wire.part.push((entry.part as i64).wrapping_sub(part));
            wire.revision.push(entry.revision.saturating_sub(entry.part));
            wire.body_bytes.push(entry.body.len() as u32);
            bodies.extend_from_slice(&entry.body);
            (series, window, part) = (i64::from(entry.series), index, entry.part as i64);
        }
        wire.bodies = bodies.into();
        wire
    }
}

/// Field numbers of `ingest.proto`.
mod tag {
    pub(super) const SERIES: u32 = 6;
}

/// A batch that names all its series.
impl TryFrom<wire::Batch> for Batch {
    type Error = BatchError;

    fn try_from(wire: wire::Batch) -> Result<Self, BatchError> {
        if wire.continues { Err(BatchError::Continues) } else { DictionaryDecoder::default().decode(wire) }
    }
}

impl From<&Batch> for wire::Batch {
    fn from(batch: &Batch) -> Self {
        let series = batch.series.iter().map(|series| wire::SeriesRef::from(series.key())).collect();
        Self { series, ..batch.columns() }
    }
}

#[cfg(test)]
mod tests;
