//! Sets of positions as bits.

use std::ops::Range;

const WORD: u32 = u64::BITS;

/// A set of positions below a length. Positions beyond it are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: u32,
}

impl Bits {
    /// None of `len` positions.
    pub(super) fn none(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(WORD) as usize], len }
    }

    /// All of `len` positions.
    pub(super) fn all(len: u32) -> Self {
        let mut all = Self::none(len);
        all.insert(0..len);
        all
    }

    /// Adds positions.
    pub(super) fn insert(&mut self, positions: Range<u32>) {
        let (start, end) = (positions.start, positions.end.min(self.len));
        if start >= end {
            return;
        }
        let (first, last) = ((start / WORD) as usize, ((end - 1) / WORD) as usize);
        let from_start = u64::MAX << (start % WORD);
        let to_end = u64::MAX >> (WORD - 1 - (end - 1) % WORD);
        let Some(words) = self.words.get_mut(first..=last) else { return };
        match words {
            [] => {}
            [word] => *word |= from_start & to_end,
            [head, middle @ .., tail] => {
                *head |= from_start;
                middle.fill(u64::MAX);
                *tail |= to_end;
            }
        }
    }

    /// Keeps only the positions that are also in `other`.
    pub(super) fn intersect(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Removes the positions that are in `other`.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Number of positions in the set.
    pub(super) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether a position is in the set.
    pub(super) fn contains(&self, position: u32) -> bool {
        self.words.get((position / WORD) as usize).is_some_and(|word| word >> (position % WORD) & 1 == 1)
    }

    /// The first position of the set at or after this one.
    pub(super) fn next_from(&self, position: u32) -> Option<u32> {
        let index = position / WORD;
        let words = self.words.get(index as usize..)?;
        let masks = std::iter::once(u64::MAX << (position % WORD)).chain(std::iter::repeat(u64::MAX));
        let mut masked = (index..).zip(words.iter().zip(masks).map(|(word, mask)| word & mask));
        masked.find(|(_, word)| *word != 0).map(|(index, word)| index * WORD + word.trailing_zeros())
    }

    /// For each word, the number of positions of the set before it.
    pub(super) fn ranks(&self) -> Ranks<'_> {
        let mut before = 0;
        let ranks = self.words.iter().map(|word| {
            let rank = before;
            before += word.count_ones();
            rank
        });
        Ranks { ranks: ranks.collect(), bits: self }
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

/// Numbers the positions of a set.
pub(super) struct Ranks<'a> {
    ranks: Vec<u32>,
    bits: &'a Bits,
}

impl Ranks<'_> {
    /// Number of positions of the set before this one, if it is in the set.
    pub(super) fn get(&self, position: u32) -> Option<u32> {
        let index = (position / WORD) as usize;
        let (before, word) = (self.ranks.get(index)?, self.bits.words.get(index)?);
        let below = word & !(u64::MAX << (position % WORD));
        self.bits.contains(position).then_some(before + below.count_ones())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LEN: u32 = 300;

    fn set(runs: &[(u32, u32)]) -> (Bits, BTreeSet<u32>) {
        let (mut bits, mut model) = (Bits::none(LEN), BTreeSet::new());
        for &(start, end) in runs {
            bits.insert(start..end);
            model.extend(start..end.min(LEN));
        }
        (bits, model)
    }

    fn listed(bits: &Bits) -> BTreeSet<u32> {
        let mut at = 0;
        let next = || {
            let found = bits.next_from(at)?;
            at = found + 1;
            Some(found)
        };
        std::iter::from_fn(next).collect()
    }

    proptest! {
        #[test]
        fn it_is_a_set(
            a in prop::collection::vec((0_u32..320, 0_u32..340), 0..6),
            b in prop::collection::vec((0_u32..320, 0_u32..340), 0..6),
        ) {
            let ((mut bits, model), (other, of_other)) = (set(&a), set(&b));
            prop_assert_eq!(listed(&bits), model.clone());
            prop_assert_eq!(bits.count() as usize, model.len());
            let ranks = bits.ranks();
            for position in 0..330 {
                let rank = model.range(..position).count() as u32;
                prop_assert_eq!(ranks.get(position), model.contains(&position).then_some(rank));
            }
            let mut without = bits.clone();
            bits.intersect(&other);
            without.subtract(&other);
            prop_assert_eq!(listed(&bits), model.intersection(&of_other).copied().collect());
            prop_assert_eq!(listed(&without), model.difference(&of_other).copied().collect());
        }
    }

    #[test]
    fn all_are_all_and_nothing_beyond() {
        for len in [0, 1, 63, 64, 65, 128] {
            let all = Bits::all(len);
            assert_eq!((all.count(), all.next_from(len)), (len, None));
        }
    }
}
