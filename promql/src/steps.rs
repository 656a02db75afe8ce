//! Sets of steps of a grid.

const BITS: usize = u64::BITS as usize;

/// A set of steps, one bit each. Sets of one grid have the same number of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    words: Vec<u64>,
}

impl Steps {
    /// The empty set for a grid of so many steps.
    pub(crate) fn none(steps: usize) -> Self {
        Self { words: vec![0; steps.div_ceil(BITS)] }
    }

    /// All of so many steps.
    pub(crate) fn all(steps: usize) -> Self {
        let mut words = vec![u64::MAX; steps.div_ceil(BITS)];
        if let Some(last) = words.last_mut()
            && !steps.is_multiple_of(BITS)
        {
            *last = (1 << (steps % BITS)) - 1;
        }
        Self { words }
    }

    /// From a bit for each step, without bits beyond the last one.
    pub(crate) fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    pub(crate) fn into_words(self) -> Vec<u64> {
        self.words
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn insert(&mut self, step: usize) {
        if let Some(word) = self.words.get_mut(step / BITS) {
            *word |= 1 << (step % BITS);
        }
    }

    pub(crate) fn contains(&self, step: usize) -> bool {
        self.words.get(step / BITS).is_some_and(|word| word >> (step % BITS) & 1 == 1)
    }

    /// Adds those of another set.
    pub(crate) fn add(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Keeps only those of another set too.
    pub(crate) fn keep(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Removes those of another set.
    pub(crate) fn remove(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Those of both sets.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self { words: self.words.iter().zip(&other.words).map(|(word, other)| word & other).collect() }
    }

    /// Whether a step is in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(word, other)| word & other != 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Removes those that do not pass.
    #[inline]
    pub(crate) fn retain(&mut self, mut pass: impl FnMut(usize) -> bool) {
        for (place, word) in self.words.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                if !pass(place * BITS + bit) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_steps_are_combined() {
        let of = |steps: &[usize]| {
            let mut set = Steps::none(70);
            steps.iter().for_each(|step| set.insert(*step));
            set
        };
        let (left, right) = (of(&[0, 5, 64]), of(&[5, 69]));
        assert!(left.meets(&right));
        assert_eq!(left.and(&right), of(&[5]));
        let mut both = left.clone();
        both.add(&right);
        assert_eq!(both, of(&[0, 5, 64, 69]));
        both.remove(&left);
        assert_eq!(both, of(&[69]));
        both.retain(|step| step < 69);
        assert!(both.is_empty());
        assert!((0..64).all(|step| Steps::all(64).contains(step)));
        assert!(Steps::all(70).contains(69) && !Steps::all(70).contains(70));
    }
}
