//! Series named once a stream: both sides of the list to which the batches of a shard add.
//!
//! A batch that lies somewhere (an outbox, a journal) names all its series. On a stream the sender's [`Naming`] leaves
//! out the names that went before, and the receiver's [`Dictionary`] gives them back. Invariant: both hold the same
//! list after the same batches. A list is bounded by [`NAMES_MAX`]; the sender begins a new one before it is exceeded.

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
    batch::{Batch, BatchError},
    series::SeriesKey,
    wire,
};

/// Most series of a shard's list on a stream: some 64 MB at the receiver.
pub const NAMES_MAX: usize = 1 << 18;

/// A series as batches share it: its key, its encoding, and a note of whoever looked it up.
#[derive(Clone)]
pub struct SharedSeries(Arc<Inner>);

struct Inner {
    /// Beside the counts of handles: what every batch touches.
    note: AtomicU64,
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

    /// What was last noted; 0 at first. The note must be one that its reader can judge: any holder may set it.
    pub fn note(&self) -> u64 {
        self.0.note.load(Ordering::Relaxed)
    }

    /// Notes a number for those who meet this series again.
    pub fn set_note(&self, note: u64) {
        self.0.note.store(note, Ordering::Relaxed);
    }
}

impl From<SeriesKey> for SharedSeries {
    fn from(key: SeriesKey) -> Self {
        let encoded = wire::SeriesRef::from(&key).encode_to_vec().into();
        Self(Arc::new(Inner { note: AtomicU64::new(0), key, encoded }))
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

/// The receiver's list of a shard's series.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    names: Vec<Known>,
    batches: u64,
    /// What its series take that nobody else has, bytes.
    series_bytes: usize,
    /// Of these, what the newest batch has added.
    added_bytes: usize,
}

#[derive(Clone, Debug)]
struct Known {
    series: SharedSeries,
    /// The batch that used it last, and its place in that.
    batch: u64,
    place: u32,
}

impl Dictionary {
    /// Reads the next batch of the shard. After an error the list is worth nothing: the stream ends.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn read(&mut self, wire: wire::Batch) -> Result<Batch, BatchError> {
        self.read_sharing(wire, &|_| None)
    }

    /// As [`Dictionary::read`]; a series that `known` has is shared with whoever keeps it.
    ///
    /// # Errors
    /// [`BatchError`].
    pub fn read_sharing(
        &mut self,
        wire: wire::Batch,
        known: &dyn Fn(&SeriesKey) -> Option<SharedSeries>,
    ) -> Result<Batch, BatchError> {
        Batch::read(wire, self, known)
    }

    /// About what the list takes in memory, bytes. Series that are shared count with their handles.
    pub fn bytes(&self) -> usize {
        self.series_bytes + self.names.capacity() * size_of::<Known>()
    }

    /// What the newest batch has added to that, bytes: it keeps them also when the list begins anew.
    pub fn added_bytes(&self) -> usize {
        self.added_bytes
    }

    /// Takes a batch's names in.
    pub(crate) fn add(
        &mut self,
        series: &[wire::SeriesRef],
        continues: bool,
        known: &dyn Fn(&SeriesKey) -> Option<SharedSeries>,
    ) -> Result<(), BatchError> {
        if !continues {
            self.names.clear();
            self.series_bytes = 0;
        }
        self.added_bytes = 0;
        self.batches += 1;
        if self.names.len() + series.len() > NAMES_MAX {
            return Err(BatchError::Names(self.names.len() + series.len()));
        }
        self.names.reserve(series.len());
        for (index, reference) in series.iter().enumerate() {
            let key = SeriesKey::try_from(reference).map_err(|error| BatchError::Series { index, error })?;
            let series = known(&key).unwrap_or_else(|| {
                let series = SharedSeries::from(key);
                self.series_bytes += series.bytes();
                self.added_bytes += series.bytes();
                series
            });
            self.names.push(Known { series, batch: 0, place: 0 });
        }
        Ok(())
    }

    /// Length of the list.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The place that a series of the list has among those that the batch uses, `used`.
    pub(crate) fn place(&mut self, number: usize, used: &mut Vec<SharedSeries>) -> Option<u32> {
        let known = self.names.get_mut(number)?;
        if known.batch != self.batches {
            (known.batch, known.place) = (self.batches, u32::try_from(used.len()).ok()?);
            used.push(known.series.clone());
        }
        Some(known.place)
    }
}

/// The sender's list of a shard's series.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    numbers: HashMap<wire::SeriesRef, i64>,
}

impl Naming {
    /// Takes from a batch that names all its series the names that the receiver knows. The batches must then arrive in this
    /// order.
    pub fn shorten(&mut self, mut batch: wire::Batch) -> wire::Batch {
        if self.numbers.len() + batch.series.len() > NAMES_MAX {
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
        let (mut index, mut before) = (0_i64, 0_i64);
        for step in &mut batch.series_index {
            index = index.wrapping_add(*step);
            let place = usize::try_from(index).ok().and_then(|index| numbers.get(index));
            // What is out of range stays so: the receiver refuses it.
            let number = place.copied().unwrap_or(i64::from(u32::MAX));
            *step = number.wrapping_sub(before);
            before = number;
        }
        batch
    }
}

#[cfg(test)]
mod tests;
