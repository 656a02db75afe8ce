//! The series dictionary of a stream: each series is named once, later batches refer to it by number.
//!
//! A batch that lies somewhere (an outbox, a journal) names all its series. On a stream the sender's
//! [`DictionaryEncoder`] leaves out the names that were sent before, and the receiver's [`DictionaryDecoder`] restores
//! them. Invariant: both hold the same dictionary after the same batches. It is bounded by [`DICTIONARY_SERIES_MAX`];
//! the sender begins a new one before it is exceeded.

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prost::Message;

use crate::{
    delta::Delta,
    series::{SeriesError, SeriesKey},
    wire,
};

/// Most series in the dictionary of a shard on a stream: some 64 MB at the receiver.
pub const DICTIONARY_SERIES_MAX: usize = 1 << 18;

/// A series as batches share it: its key, its encoding, and an identifier that its reader may cache in it.
#[derive(Clone)]
pub struct SharedSeries(Arc<Inner>);

struct Inner {
    /// Beside the counts of handles: what every batch touches.
    cached_id: AtomicU64,
    key: SeriesKey,
    encoded: Box<[u8]>,
}

impl SharedSeries {
    /// The series.
    pub fn key(&self) -> &SeriesKey {
        &self.0.key
    }

    /// Its message [`wire::SeriesRef`], encoded.
    pub fn encoded(&self) -> &[u8] {
        &self.0.encoded
    }

    /// About what it takes in memory, bytes.
    pub fn bytes(&self) -> usize {
        // The key's texts are about as long as the encoding; two counts of handles, and what the allocator adds.
        size_of::<Inner>() + 2 * self.0.encoded.len() + 64
    }

    /// The identifier that was cached last; 0 at first. Any holder may set it, so a reader must be able to tell whether
    /// it is its own.
    pub fn cached_id(&self) -> u64 {
        self.0.cached_id.load(Ordering::Relaxed)
    }

    /// Caches an identifier for readers that meet this series again.
    pub fn set_cached_id(&self, id: u64) {
        self.0.cached_id.store(id, Ordering::Relaxed);
    }
}

impl From<SeriesKey> for SharedSeries {
    fn from(key: SeriesKey) -> Self {
        let encoded = wire::SeriesRef::from(&key).encode_to_vec().into();
        Self(Arc::new(Inner { cached_id: AtomicU64::new(0), key, encoded }))
    }
}

impl Deref for SharedSeries {
    type Target = SeriesKey;

    fn deref(&self) -> &SeriesKey {
        self.key()
    }
}

impl PartialEq for SharedSeries {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl fmt::Debug for SharedSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key().fmt(f)
    }
}

/// Why the names of a batch do not go into a dictionary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DictionaryError {
    /// One of them is no series.
    #[error("series {index}: {error}")]
    Series {
        /// Its index among the names of the batch.
        index: usize,
        /// What is wrong with it.
        error: SeriesError,
    },
    /// More series than a dictionary may have.
    #[error("a list of {0} series, at most {DICTIONARY_SERIES_MAX} are allowed")]
    TooMany(usize),
}

/// The receiver's dictionary of a shard's series; [`DictionaryDecoder::decode`] reads a batch with it.
#[derive(Clone, Debug, Default)]
pub struct DictionaryDecoder {
    series: Vec<DictionaryEntry>,
    batches: u64,
    /// What its series take that nobody else has, bytes.
    series_bytes: usize,
    /// Of these, what the newest batch has added.
    added_bytes: usize,
}

#[derive(Clone, Debug)]
struct DictionaryEntry {
    series: SharedSeries,
    /// The batch that used it last, and its index in that.
    batch: u64,
    index: u32,
}

impl DictionaryDecoder {
    /// About what the dictionary takes in memory, bytes. Series that are shared count with their handles.
    pub fn bytes(&self) -> usize {
        self.series_bytes + self.series.capacity() * size_of::<DictionaryEntry>()
    }

    /// What the newest batch has added to that, bytes: it keeps them also when the dictionary begins anew.
    pub fn added_bytes(&self) -> usize {
        self.added_bytes
    }

    /// Takes a batch's names in.
    pub(crate) fn add(
        &mut self,
        series: &[wire::SeriesRef],
        continues: bool,
        known: &dyn Fn(&SeriesKey) -> Option<SharedSeries>,
    ) -> Result<(), DictionaryError> {
        if !continues {
            self.series.clear();
            self.series_bytes = 0;
        }
        self.added_bytes = 0;
        self.batches += 1;
        if self.series.len() + series.len() > DICTIONARY_SERIES_MAX {
            return Err(DictionaryError::TooMany(self.series.len() + series.len()));
        }
        self.series.reserve(series.len());
        for (index, reference) in series.iter().enumerate() {
            let key =
                SeriesKey::try_from(reference).map_err(|error| DictionaryError::Series { index, error })?;
            let series = known(&key).unwrap_or_else(|| {
                let series = SharedSeries::from(key);
                self.series_bytes += series.bytes();
                self.added_bytes += series.bytes();
                series
            });
            self.series.push(DictionaryEntry { series, batch: 0, index: 0 });
        }
        Ok(())
    }

    /// Length of the dictionary.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// The index that a series of the dictionary has among those that the batch uses, `used`.
    pub(crate) fn index_in_batch(&mut self, number: usize, used: &mut Vec<SharedSeries>) -> Option<u32> {
        let known = self.series.get_mut(number)?;
        if known.batch != self.batches {
            (known.batch, known.index) = (self.batches, u32::try_from(used.len()).ok()?);
            used.push(known.series.clone());
        }
        Some(known.index)
    }
}

/// The sender's dictionary of a shard's series.
#[derive(Clone, Debug, Default)]
pub struct DictionaryEncoder {
    numbers: HashMap<wire::SeriesRef, i64>,
}

impl DictionaryEncoder {
    /// Removes from a batch that names all its series the names that the receiver knows. The batches must then arrive
    /// in this order.
    pub fn encode(&mut self, mut batch: wire::Batch) -> wire::Batch {
        if self.numbers.len() + batch.series.len() > DICTIONARY_SERIES_MAX {
            self.numbers.clear();
        }
        batch.continues = !self.numbers.is_empty();
        let mut numbers = Vec::with_capacity(batch.series.len());
        let mut new = Vec::new();
        for series in std::mem::take(&mut batch.series) {
            if let Some(number) = self.numbers.get(&series) {
                numbers.push(*number);
                continue;
            }
            let number = self.numbers.len() as i64;
            numbers.push(number);
            new.push(series.clone());
            self.numbers.insert(series, number);
        }
        batch.series = new;
        let (mut indices, mut steps) = (Delta::default(), Delta::default());
        for step in &mut batch.series_index {
            let index = usize::try_from(indices.wrapping_value(*step)).ok();
            // What is out of range stays so: the receiver refuses it.
            let number = index.and_then(|index| numbers.get(index)).copied().unwrap_or(i64::from(u32::MAX));
            *step = steps.step(number);
        }
        batch
    }
}

#[cfg(test)]
mod tests;
