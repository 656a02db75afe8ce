//! Storage of blocks and catalog: an ordered map from keys to values whose changes are atomic and durable.
//!
//! Pure; [`crate::store::tree::sled_tree`] is the tree used in production, [`crate::store::tree::memory`] the one of simulations.

#[cfg(any(test, feature = "sim"))]
pub(in crate::store) mod memory;
pub(in crate::store) mod records;
pub(in crate::store) mod sealed;
pub(in crate::store) mod sled_tree;
pub(in crate::store) mod tail;

use std::ops::{ControlFlow, RangeBounds};

use catchment_journal::PresenceError;

/// A range of keys.
pub(in crate::store) type KeyRange = (std::ops::Bound<Vec<u8>>, std::ops::Bound<Vec<u8>>);

/// Result of visiting a key: whether to continue, or an error.
pub(in crate::store) type Visited = Result<ControlFlow<()>, String>;

/// An ordered map. Errors are texts for people.
pub(in crate::store) trait Tree: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// Visits keys and values of a range in order, until the visitor breaks.
    fn scan(&self, range: KeyRange, visit: &mut dyn FnMut(&[u8], &[u8]) -> Visited) -> Result<(), String>;

    /// Applies a whole write batch and makes it durable. After an error nothing that the batch should hold may be
    /// released, and nothing further may be committed.
    fn commit(&self, writes: WriteBatch) -> Result<(), String>;

    /// Checks that the map's file is still in its place.
    ///
    /// # Errors
    /// See [`PresenceError`].
    fn check_file(&self) -> Result<(), PresenceError> {
        Ok(())
    }
}

/// Changes that become durable together.
#[derive(Debug)]
pub(in crate::store) struct WriteBatch {
    entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
    sequence: u64,
}

impl WriteBatch {
    /// An empty write batch with this sequence number.
    pub(in crate::store) fn new(sequence: u64) -> Self {
        Self { entries: Vec::new(), bytes: 0, sequence }
    }

    /// Its sequence number.
    pub(in crate::store) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Sets a key.
    pub(in crate::store) fn insert(&mut self, key: Vec<u8>, content: &[u8]) {
        let value = records::seal(self.sequence, &key, content);
        self.bytes += key.len() + value.len();
        self.entries.push((key, Some(value)));
    }

    /// Sets a record of the catalog.
    pub(in crate::store) fn record(&mut self, key: Vec<u8>, message: &impl prost::Message) {
        self.insert(key, &message.encode_to_vec());
    }

    /// Removes a key.
    pub(in crate::store) fn remove(&mut self, key: Vec<u8>) {
        self.bytes += key.len();
        self.entries.push((key, None));
    }

    /// Sets a key to a value that is already sealed.
    pub(in crate::store) fn copy(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.entries.push((key, Some(value)));
    }

    /// Bytes of all keys and values.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keys and their new values; `None` removes the key. Of a key that occurs twice, the last change counts.
    pub(in crate::store) fn entries(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.entries.into_iter()
    }
}

/// All keys with a prefix.
pub(in crate::store) fn prefixed(prefix: &[u8]) -> KeyRange {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    // The next prefix of the same length: no key from it on begins with this one.
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return (Included(prefix.to_vec()), Excluded(end));
        }
    }
    (Included(prefix.to_vec()), Unbounded)
}

/// An owned range of keys.
pub(in crate::store) fn keys(range: impl RangeBounds<Vec<u8>>) -> KeyRange {
    (range.start_bound().cloned(), range.end_bound().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_range_of_all_keys_that_begin_with_it() {
        let inside = |range: &KeyRange, key: &[u8]| range.contains(&key.to_vec());
        let plain = prefixed(b"ab");
        assert!(inside(&plain, b"ab") && inside(&plain, b"ab\xff\xff"));
        assert!(!inside(&plain, b"aa\xff") && !inside(&plain, b"ac"));
        let high = prefixed(b"a\xff");
        assert!(inside(&high, b"a\xff\xff") && !inside(&high, b"b"));
        let highest = prefixed(b"\xff");
        assert!(inside(&highest, b"\xff\xff") && !inside(&highest, b"\xfe"));
    }
}
