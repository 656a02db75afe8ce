//! The series dictionary of a stream: each series is named once, and later batches refer to it by number.
//!
//! A stored batch (in an outbox or journal) names all its series. On a stream, the sender's [`DictionaryEncoder`] omits
//! the names that were sent before, and the receiver's [`DictionaryDecoder`] restores them. Invariant: after the same
//! batches, both hold the same dictionary. Its size is bounded by [`DICTIONARY_SERIES_MAX`]; the sender starts a new
//! one before the bound is exceeded.

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

/// Maximum number of series in a shard's dictionary on a stream: some 64 MB at the receiver.
pub const DICTIONARY_SERIES_MAX: usize = 1 << 18;

/// A series shared by batches: its key, its encoding, and an identifier that its reader may cache in it.
#[derive(Clone)]
pub struct SharedSeries(Arc<Inner>);

struct Inner {
    /// Placed next to the reference counts, because every batch touches both.
    cached_id: AtomicU64,
    key: SeriesKey,
    encoded: Box<[u8]>,
}

impl SharedSeries {
    /// The series.
    pub fn key(&self) -> &SeriesKey {
        &self.0.key
    }

    /// The series encoded as a [`wire::SeriesRef`].
    pub fn encoded(&self) -> &[u8] {
        &self.0.encoded
    }

    /// Approximate memory use in bytes.
    pub fn bytes(&self) -> usize {
        // The key's texts are about as long as the encoding; plus two reference counts and the allocator's overhead.
        size_of::<Inner>() + 2 * self.0.encoded.len() + 64
    }

    /// The identifier cached last; initially 0. Any holder may set it, so a reader must be able to tell whether it is
    /// its own.
    pub fn cached_id(&self) -> u64 {
        self.0.cached_id.load(Ordering::Relaxed)
    }

    /// Caches an identifier for readers that encounter this series again.
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
    /// Bytes of its series that have no other holder.
    series_bytes: usize,
    /// Bytes of these that the newest batch added.
    added_bytes: usize,
}

#[derive(Clone, Debug)]
struct DictionaryEntry {
    series: SharedSeries,
    /// The batch that used it last, and its index in that batch.
    batch: u64,
    index: u32,
}

impl DictionaryDecoder {
    /// Approximate memory use of the dictionary in bytes. Of shared series, only the handles count.
    pub fn bytes(&self) -> usize {
        self.series_bytes + self.series.capacity() * size_of::<DictionaryEntry>()
    }

    /// Bytes that the newest batch added: the batch keeps them alive even if the dictionary is restarted.
    pub fn added_bytes(&self) -> usize {
        self.added_bytes
    }

    /// Adds a batch's names.
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

    /// The index of a series of the dictionary in `used`, the list of series that the batch uses.
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
    /// Removes the names that the receiver knows from a batch that names all its series. The batches must arrive in
    /// this order.
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
            // An index out of range stays out of range: the receiver refuses it.
            let number = index.and_then(|index| numbers.get(index)).copied().unwrap_or(i64::from(u32::MAX));
            *step = steps.step(number);
        }
        batch
    }
}

#[cfg(test)]
mod tests;
