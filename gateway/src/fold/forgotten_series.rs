//! Forgotten series keep their places at the aggregator.
//!
//! The aggregator counts each series that this data folder delivered, even after it has forgotten the series itself,
//! and grants places beyond that number (`aggregator/src/store/quota.rs`). So a series forgotten here gives no place
//! back; otherwise a new one would be acknowledged for which the aggregator has no place. A series that comes back
//! has its place: a hash of its names identifies it. The number of hashes is bounded; a series whose hash was dropped
//! takes a second place, so series may be refused too early, but never too late.

use std::collections::BTreeMap;

use catchment_proto::{Labels, MetricName, Name};
use hashbrown::HashMap;

/// Most hashes of a shard; one more drops the oldest, whose place stays taken.
const HASHES_MAX: usize = 1 << 16;

/// Places of forgotten series.
#[derive(Clone, Debug, Default)]
pub(super) struct ForgottenSeries {
    count: u64,
    next: u64,
    /// In the order in which they were forgotten.
    hashes: BTreeMap<u64, u64>,
    order: HashMap<u64, u64>,
}

/// FNV-1a over the names, each followed by a byte that no name contains. Part of the checkpoints' format.
fn hash(device: &Name, metric: &MetricName, labels: &Labels) -> u64 {
    let labels = labels.iter().flat_map(|(name, value)| [name, value]);
    let texts = [device.as_str(), metric.as_str()].into_iter().chain(labels);
    let bytes = texts.flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl ForgottenSeries {
    /// From the number of places and the hashes of some of them, the oldest first.
    pub(super) fn new(count: u64, hashes: impl IntoIterator<Item = u64>) -> Self {
        let mut forgotten = Self::default();
        hashes.into_iter().for_each(|hash| forgotten.note(hash));
        forgotten.count = count;
        forgotten
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The hashes that are kept, the oldest first.
    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.hashes.values().copied()
    }

    pub(super) fn contains(&self, device: &Name, metric: &MetricName, labels: &Labels) -> bool {
        !self.order.is_empty() && self.order.contains_key(&hash(device, metric, labels))
    }

    /// A series is forgotten.
    pub(super) fn insert(&mut self, device: &Name, metric: &MetricName, labels: &Labels) {
        self.count = self.count.saturating_add(1);
        self.note(hash(device, metric, labels));
    }

    fn note(&mut self, hash: u64) {
        if let Some(before) = self.order.insert(hash, self.next) {
            self.hashes.remove(&before);
        }
        self.hashes.insert(self.next, hash);
        self.next += 1;
        if self.hashes.len() > HASHES_MAX
            && let Some((_, oldest)) = self.hashes.pop_first()
        {
            self.order.remove(&oldest);
        }
    }

    /// A series is introduced: if it was forgotten before, it takes its place back.
    pub(super) fn remove(&mut self, device: &Name, metric: &MetricName, labels: &Labels) {
        if self.order.is_empty() {
            return;
        }
        if let Some(at) = self.order.remove(&hash(device, metric, labels)) {
            self.hashes.remove(&at);
            self.count = self.count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_comes_back_has_its_place_and_hashes_are_bounded() {
        let device = Name::new("d").unwrap();
        let metric = |n: usize| MetricName::new(&format!("m{n}")).unwrap();
        let labels = Labels::none();
        let mut forgotten = ForgottenSeries::default();
        for n in 0..=HASHES_MAX {
            forgotten.insert(&device, &metric(n), &labels);
        }
        assert_eq!((forgotten.count(), forgotten.hashes().count()), (HASHES_MAX as u64 + 1, HASHES_MAX));
        assert!(
            !forgotten.contains(&device, &metric(0), &labels)
                && forgotten.contains(&device, &metric(1), &labels)
        );
        forgotten.remove(&device, &metric(0), &labels);
        assert_eq!(forgotten.count(), HASHES_MAX as u64 + 1, "it takes another one");
        forgotten.remove(&device, &metric(1), &labels);
        assert_eq!((forgotten.count(), forgotten.hashes().count()), (HASHES_MAX as u64, HASHES_MAX - 1));
        let again = ForgottenSeries::new(forgotten.count(), forgotten.hashes());
        assert!(again.hashes().eq(forgotten.hashes()) && again.count() == forgotten.count());
        let other = Name::new("e").unwrap();
        assert!(
            forgotten.contains(&device, &metric(2), &labels)
                && !forgotten.contains(&other, &metric(2), &labels)
        );
    }
}
