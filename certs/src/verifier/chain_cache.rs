//! A bounded cache of verified chains.
//!
//! Two generations: new chains and cache hits go to the young one. When it is full, it becomes the old one, and the
//! previous old one is dropped. So chains in use stay, insertion and lookup take constant time, and no list of uses is
//! needed. An evicted chain is verified again, which only costs time: a client that presents tens of thousands of valid
//! chains can slow others down to the cost of a first handshake.

use std::{collections::HashMap, mem, time::SystemTime};

use rustls::pki_types::UnixTime;

/// Maximum number of cached chains: two generations of the maximum that a table of 32,768 buckets holds without
/// growing. At 48 bytes plus one byte of the table's own per bucket, they take 3.2 MB.
pub(super) const CHAINS_MAX: usize = 2 * 28_672;

/// SHA-256 of a chain.
pub(super) type Digest = [u8; 32];

/// A period in seconds since 1970, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValidityPeriod {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl ValidityPeriod {
    /// The part of it between two other times.
    pub(super) fn within(self, start: SystemTime, end: SystemTime) -> Self {
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { first: self.first.max(seconds(start)), last: self.last.min(seconds(end)) }
    }

    /// Whether the period contains a time.
    pub(super) fn holds(&self, now: UnixTime) -> bool {
        (self.first..=self.last).contains(&now.as_secs())
    }
}

/// Chains and the periods in which they are valid.
pub(super) struct ChainCache {
    young: HashMap<Digest, ValidityPeriod>,
    old: HashMap<Digest, ValidityPeriod>,
    generation_max: usize,
}

impl ChainCache {
    /// An empty cache for at most `chains_max` chains (at least two).
    pub(super) fn new(chains_max: usize) -> Self {
        let generation_max = (chains_max / 2).max(1);
        Self { young: HashMap::new(), old: HashMap::new(), generation_max }
    }

    /// The period of a cached chain.
    pub(super) fn find(&mut self, digest: &Digest) -> Option<ValidityPeriod> {
        if let Some(period) = self.young.get(digest) {
            return Some(*period);
        }
        let period = self.old.remove(digest)?;
        self.insert(*digest, period);
        Some(period)
    }

    /// Caches a chain.
    pub(super) fn insert(&mut self, digest: Digest, period: ValidityPeriod) {
        if self.young.len() >= self.generation_max {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(digest, period);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: ValidityPeriod = ValidityPeriod { first: 1, last: 2 };

    fn digest(number: u32) -> Digest {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_le_bytes());
        digest
    }

    #[test]
    fn the_bound_holds_and_chains_in_use_stay() {
        let mut cache = ChainCache::new(8);
        for number in 0..1_000 {
            cache.insert(digest(number), PERIOD);
            // Once full, the cache stays at least half full.
            assert!((if number < 8 { 1 } else { 4 }..=8).contains(&cache.len()), "{} chains", cache.len());
            assert_eq!(cache.find(&digest(number)), Some(PERIOD));
            assert_eq!(cache.find(&digest(0)), Some(PERIOD), "after {number}");
        }
        assert_eq!(cache.find(&digest(1)), None, "long not used");
    }

    #[test]
    fn both_ends_belong_to_a_period() {
        let holds =
            |seconds| PERIOD.holds(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)));
        assert_eq!([0, 1, 2, 3].map(holds), [false, true, true, false]);
    }
}
