//! How many handshakes each address makes: a token bucket for each, as far as the table reaches.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use catchment_settings::{
    connection_slots::AddressBlock,
    token_bucket::{Rate, TokenBucket},
};

/// Most addresses with a bucket of their own, some 100 bytes each.
const ADDRESSES_MAX: usize = 65_536;

/// Buckets by address. A full one is forgotten. Addresses beyond the table share one bucket, which they leave when
/// there is room.
pub(super) struct AddressRates {
    rate: Rate,
    max: usize,
    buckets: HashMap<AddressBlock, TokenBucket>,
    /// The same by when they are full.
    full_at: BTreeSet<(Duration, AddressBlock)>,
    shared: TokenBucket,
}

impl AddressRates {
    pub(super) fn new(rate: Rate) -> Self {
        Self::of(rate, ADDRESSES_MAX)
    }

    fn of(rate: Rate, max: usize) -> Self {
        let (buckets, full_at) = (HashMap::new(), BTreeSet::new());
        Self { rate, max, buckets, full_at, shared: TokenBucket::default() }
    }

    /// How long until the address may begin a handshake.
    pub(super) fn wait(&self, block: AddressBlock, now: Duration) -> Duration {
        let fresh = TokenBucket::default();
        let beyond = if self.has_room(now) { &fresh } else { &self.shared };
        self.buckets.get(&block).unwrap_or(beyond).wait(&self.rate, now)
    }

    /// Takes tokens from the bucket of an address.
    pub(super) fn take(&mut self, block: AddressBlock, tokens: u64, now: Duration) {
        // Each call adds at most one.
        self.forget_full(now, 2);
        let known = self.buckets.get(&block).copied();
        if known.is_none() && self.buckets.len() >= self.max {
            self.shared.take(&self.rate, tokens, now);
            return;
        }
        let mut bucket = known.unwrap_or_default();
        if known.is_some() {
            self.full_at.remove(&(bucket.full_at(&self.rate), block));
        }
        bucket.take(&self.rate, tokens, now);
        self.full_at.insert((bucket.full_at(&self.rate), block));
        self.buckets.insert(block, bucket);
    }

    fn has_room(&self, now: Duration) -> bool {
        self.buckets.len() < self.max || self.full_at.first().is_some_and(|(full_at, _)| *full_at <= now)
    }

    fn forget_full(&mut self, now: Duration, most: usize) {
        for _ in 0..most {
            let Some((full_at, block)) = self.full_at.first().copied() else { return };
            if full_at > now {
                return;
            }
            self.full_at.pop_first();
            self.buckets.remove(&block);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One a second, two at once.
    fn rates(max: usize) -> AddressRates {
        AddressRates::of(Rate::new(NonZeroU32::MIN, 2 * SECOND), max)
    }

    #[test]
    fn each_address_has_its_own_bucket() {
        let mut rates = rates(10);
        let [crowd, honest] = [1, 2].map(AddressBlock::V4);
        for _ in 0..2 {
            assert!(rates.wait(crowd, SECOND).is_zero());
            rates.take(crowd, 1, SECOND);
        }
        assert_eq!(rates.wait(crowd, SECOND), SECOND);
        assert!(rates.wait(honest, SECOND).is_zero());
        assert!(rates.wait(crowd, 2 * SECOND).is_zero());
    }

    #[test]
    fn the_table_is_bounded_forgets_full_buckets_and_shares_one_beyond() {
        let mut rates = rates(3);
        let blocks: Vec<_> = (0..6).map(AddressBlock::V6).collect();
        for block in &blocks {
            rates.take(*block, 1, SECOND);
        }
        assert_eq!((rates.buckets.len(), rates.full_at.len()), (3, 3));
        // Three have taken from the shared bucket; the others have a token left each.
        assert_eq!(rates.wait(blocks[5], SECOND), 2 * SECOND);
        assert!(rates.wait(blocks[2], SECOND).is_zero());
        // A second later the buckets of the table are full: another address takes the place of one.
        assert!(rates.wait(blocks[5], 2 * SECOND).is_zero());
        rates.take(blocks[5], 2, 2 * SECOND);
        assert_eq!(rates.wait(blocks[5], 2 * SECOND), SECOND);
        assert!(rates.buckets.len() <= 3 && rates.buckets.len() == rates.full_at.len());
        // All are full some time later, and go.
        for block in &blocks {
            rates.take(*block, 1, 100 * SECOND);
        }
        rates.take(blocks[0], 0, 200 * SECOND);
        rates.take(blocks[0], 0, 300 * SECOND);
        assert!(rates.buckets.len() <= 1, "{}", rates.buckets.len());
    }
}
