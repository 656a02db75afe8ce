//! The sketch's bins for values of one sign: sorted, sparse, at most [`MAX_BINS`].
//!
//! The set of bins depends only on the set of keys ever added: it is the [`MAX_BINS`] greatest of them. Counts with
//! smaller keys go to the lowest bin. The lowest key only ever rises, so it does not matter whether a small key is
//! added before or after the keys that displace it.
//!
//! Encoding: varint number of bins; zigzag first key; for each bin except the first: varint difference of the keys
//! minus 1; each followed by: varint count, which is not zero.

mod encoded;

use super::codec::{put_varint, put_zigzag};

pub(super) use encoded::EncodedBins;

/// Maximum number of bins per sign: enough for values over more than 58 octaves (17 powers of ten) without a gap. At
/// 16 bytes per bin, one series takes at most 64 KiB per window.
pub const MAX_BINS: usize = 2048;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) key: i32,
    /// At least 1; saturates.
    pub(super) count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bins(Vec<Bin>);

/// The number of bins, and the least and the greatest key.
pub(super) struct Ends {
    len: usize,
    keys: Option<(i32, i32)>,
}

impl Bins {
    /// Removes all values, and keeps memory.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Makes it equal to another one, and keeps memory.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    /// Adds `count` (not 0) values with this key.
    #[inline]
    pub(super) fn add(&mut self, key: i32, count: u64) {
        // Keys rise by at least 1 from bin to bin: without gaps, the key gives the bin's index.
        let guess = self.0.first().and_then(|first| usize::try_from(key - first.key).ok());
        match guess.and_then(|guess| self.0.get_mut(guess)) {
            Some(bin) if bin.key == key => bin.count = bin.count.saturating_add(count),
            _ => self.add_searching(key, count),
        }
    }

    /// The bins of the keys from `least` to `most`, if each of these keys has one.
    #[inline]
    pub(super) fn all_between(&mut self, least: i32, most: i32) -> Option<&mut [Bin]> {
        let place = self.place(least);
        let bins = self.0.get_mut(place..=place + usize::try_from(most - least).ok()?)?;
        // Keys rise by at least 1 from bin to bin.
        let is_whole = bins.first()?.key == least && bins.last()?.key == most;
        is_whole.then_some(bins)
    }

    fn add_searching(&mut self, key: i32, count: u64) {
        let place = self.place(key);
        match self.0.get_mut(place) {
            Some(bin) if bin.key == key => bin.count = bin.count.saturating_add(count),
            _ => self.insert(place, Bin { key, count }),
        }
    }

    /// Number of bins below this key.
    fn place(&self, key: i32) -> usize {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return 0 };
        if key < first.key {
            return 0;
        }
        if key > last.key {
            return self.0.len();
        }
        // Only gaps make the index uncertain, and mostly they are few: bound it from both ends, then search.
        let from_first = (key - first.key) as usize;
        let from_last = (last.key - key) as usize;
        let start = (self.0.len() - 1).saturating_sub(from_last);
        let end = from_first.min(self.0.len());
        let range = self.0.get(start..end).unwrap_or_default();
        start + range.partition_point(|bin| bin.key < key)
    }

    /// Inserts a bin with a new key at its index.
    fn insert(&mut self, place: usize, bin: Bin) {
        if self.0.len() < MAX_BINS {
            self.grow(1);
            self.0.insert(place, bin);
        } else if place > 0 {
            let lowest = self.0.remove(0).count;
            self.0.insert(place - 1, bin);
            self.add_to_lowest(lowest);
        } else {
            self.add_to_lowest(bin.count);
        }
    }

    /// Makes room for more bins, the same whether they come one by one or at once.
    fn grow(&mut self, more: usize) {
        let (needed, mut capacity) = (self.0.len() + more, self.0.capacity());
        if needed > MAX_BINS {
            return self.0.reserve_exact(more);
        }
        while capacity < needed {
            // By half instead of doubling: most series stop growing early.
            capacity += (capacity / 2).clamp(4, (MAX_BINS - capacity).max(4));
        }
        self.0.reserve_exact(capacity - self.0.len());
    }

    fn add_to_lowest(&mut self, count: u64) {
        if let Some(lowest) = self.0.first_mut() {
            lowest.count = lowest.count.saturating_add(count);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.add_all(&other.0);
    }

    /// Adds bins with rising keys.
    pub(super) fn add_all(&mut self, bins: &[Bin]) {
        let mut missing = 0;
        let mut own = self.0.iter_mut().peekable();
        for bin in bins {
            while own.next_if(|own| own.key < bin.key).is_some() {}
            match own.next_if(|own| own.key == bin.key) {
                Some(own) => own.count = own.count.saturating_add(bin.count),
                None => missing += 1,
            }
        }
        self.insert_between(bins, missing);
    }

    /// Inserts those of these bins, by rising key, whose keys are not there: their number is `missing`.
    fn insert_between(&mut self, bins: &[Bin], missing: usize) {
        if missing == 0 {
            return;
        }
        let mut unread = self.0.len();
        let mut unwritten = unread + missing;
        self.grow(missing);
        self.0.resize(unwritten, Bin { key: 0, count: 0 });
        // From the last one down, so that nothing is overwritten that was not moved.
        for bin in bins.iter().rev() {
            let below = self.0.get(..unread).unwrap_or_default();
            let greater = below.iter().rev().take_while(|own| own.key > bin.key).count();
            self.0.copy_within(unread - greater..unread, unwritten - greater);
            (unread, unwritten) = (unread - greater, unwritten - greater);
            if unread.checked_sub(1).and_then(|last| self.0.get(last)).is_some_and(|own| own.key == bin.key) {
                continue;
            }
            unwritten -= 1;
            self.0.get_mut(unwritten).into_iter().for_each(|place| *place = *bin);
            if unwritten == unread {
                break;
            }
        }
        self.limit();
    }

    /// Collapses the lowest bins beyond the bound.
    fn limit(&mut self) {
        let excess = self.0.len().saturating_sub(MAX_BINS);
        if excess > 0 {
            let collapsed = self.0.drain(..excess).fold(0u64, |sum, bin| sum.saturating_add(bin.count));
            self.add_to_lowest(collapsed);
            self.0.shrink_to(MAX_BINS);
        }
    }

    /// The bins, by rising key.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Bin> {
        self.0.iter()
    }

    pub(super) fn heap(&self) -> usize {
        self.0.capacity() * size_of::<Bin>()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.0.len() as u64, out);
        let mut below = None;
        for bin in &self.0 {
            match below {
                None => put_zigzag(bin.key.into(), out),
                Some(below) => put_varint((bin.key - below - 1) as u64, out),
            }
            put_varint(bin.count, out);
            below = Some(bin.key);
        }
    }
}

impl Ends {
    /// Whether the values in these bins can have these extreme magnitudes (`None`: there are no values).
    pub(super) fn can_span(&self, keys: Option<(i32, i32)>) -> bool {
        match (self.keys, keys) {
            (None, None) => true,
            (Some((low, high)), Some((least, greatest))) => {
                high == greatest && (low == least || (low > least && self.len == MAX_BINS))
            }
            _ => false,
        }
    }

    pub(super) fn greatest_key(&self) -> Option<i32> {
        self.keys.map(|(_, greatest)| greatest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bins_of(keys: &[i32]) -> Bins {
        let mut bins = Bins::default();
        keys.iter().for_each(|&key| bins.add(key, 1));
        bins
    }

    #[test]
    fn the_lowest_keys_collapse_when_full() {
        let most = MAX_BINS as i32;
        let mut bins = bins_of(&(0..most).collect::<Vec<_>>());
        bins.add(-5, 7);
        assert_eq!(bins.0.first(), Some(&Bin { key: 0, count: 8 }));
        bins.add(most, 1);
        assert_eq!(bins.0.first(), Some(&Bin { key: 1, count: 9 }));
        assert_eq!(bins.0.last(), Some(&Bin { key: most, count: 1 }));
        assert_eq!(bins.0.len(), MAX_BINS);
        assert!(bins.heap() <= MAX_BINS * size_of::<Bin>());
    }

    proptest! {
        #[test]
        fn the_bins_between_two_keys_are_given_if_none_is_missing(
            keys in prop::collection::btree_set(-20..20_i32, 0..30), least in -22..22_i32, width in 0..6_i32,
        ) {
            let mut bins = bins_of(&keys.iter().copied().collect::<Vec<_>>());
            let wanted: Vec<i32> = (least..=least + width).collect();
            let found = bins.all_between(least, least + width);
            let found = found.map(|bins| bins.iter().map(|bin| bin.key).collect::<Vec<_>>());
            let is_whole = wanted.iter().all(|key| keys.contains(key));
            prop_assert_eq!(found, is_whole.then_some(wanted));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn which_keys_collapse_does_not_depend_on_the_order(
            mut keys in prop::collection::vec(-3000i32..3000, 1..6000),
            cut in any::<prop::sample::Index>(),
        ) {
            let bins = bins_of(&keys);
            let (left, right) = keys.split_at(cut.index(keys.len()));
            let mut merged = bins_of(right);
            merged.merge(&bins_of(left));
            prop_assert_eq!(&merged, &bins);
            keys.sort_unstable();
            prop_assert_eq!(&bins_of(&keys), &bins);
            keys.reverse();
            prop_assert_eq!(&bins_of(&keys), &bins);
            prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), keys.len() as u64);
            // The promise: exactly the greatest keys.
            keys.dedup();
            keys.truncate(MAX_BINS);
            keys.reverse();
            prop_assert_eq!(bins.iter().map(|bin| bin.key).collect::<Vec<_>>(), keys);
        }
    }
}
