//! Reads a batch from the wire with the series dictionary of its stream.

use catchment_partial::{Timestamp, Width, Window};

use super::{
    Batch, BatchError, Entry, PARTIALS_MAX, REFUSED_HOURS_MAX, RefusedReadings, SHARDS_MAX,
    columns::{self, Row},
};
use crate::{
    history::History,
    series::SeriesKey,
    series_dictionary::{DictionaryDecoder, SharedSeries},
    wire,
};

impl DictionaryDecoder {
    /// Decodes the next batch of the shard. After an error the dictionary is unusable: the stream must end.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn decode(&mut self, wire: wire::Batch) -> Result<Batch, BatchError> {
        self.decode_sharing(wire, &|_| None)
    }

    /// Like [`DictionaryDecoder::decode`], but a series that `known` returns is shared with its other holders.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn decode_sharing(
        &mut self,
        wire: wire::Batch,
        known: &dyn Fn(&SeriesKey) -> Option<SharedSeries>,
    ) -> Result<Batch, BatchError> {
        Batch::read(wire, self, known)
    }
}

/// A batch that names all its series.
impl TryFrom<wire::Batch> for Batch {
    type Error = BatchError;

    fn try_from(wire: wire::Batch) -> Result<Self, BatchError> {
        if wire.continues { Err(BatchError::Continues) } else { DictionaryDecoder::default().decode(wire) }
    }
}

/// The number of entries, if all columns have it.
pub(super) fn check_columns(wire: &wire::Batch) -> Result<usize, BatchError> {
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
    fn read(
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
        if wire.refused.len() > REFUSED_HOURS_MAX {
            return Err(BatchError::Refused(wire.refused.len()));
        }
        let refused = |of: &wire::RefusedReadings| RefusedReadings { hour: of.hour, readings: of.readings };
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
            refused: wire.refused.iter().map(refused).collect(),
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
        let mut bodies = wire.bodies.clone();
        for (entry, row) in columns::rows(wire).enumerate() {
            let Row { series, window, part, folded, body_bytes } = row?;
            let range = || BatchError::Range(entry);
            let index = dictionary.index_in_batch(series as usize, &mut self.series);
            let unknown = || BatchError::Index { entry, series, count: dictionary.len() };
            let length = usize::try_from(body_bytes).ok().filter(|length| *length <= bodies.len());
            self.entries.push(Entry {
                series: index.ok_or_else(unknown)?,
                window: Window::from_index(window, self.width).ok_or_else(range)?,
                part,
                revision: part.checked_add(folded).ok_or_else(range)?,
                body: bodies.split_to(length.ok_or(BatchError::Bodies(wire.bodies.len()))?),
            });
        }
        if bodies.is_empty() { Ok(()) } else { Err(BatchError::Bodies(wire.bodies.len())) }
    }
}
