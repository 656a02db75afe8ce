//! The quantile sketch for many values: a DDSketch (Masson, Rim, Lee, PVLDB 12(12), 2019).
//!
//! Positive and negative values are counted in separate bins of 1 % relative accuracy (see [`super::mapping`]), zeros
//! separately. Beyond [`super::MAX_BINS`] bins per sign, the values nearest to zero lose accuracy, never the others.
//! The state is a function of the multiset of values: push and merge only add counts.
//!
//! Encoding: varint number of zeros, then the positive and the negative values' bins (keys of the magnitudes).

use super::bins::{Bins, EncodedBins, Ends};
use super::codec::{DecodeError, Reader, put_varint};
use super::mapping;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sketch {
    pub(super) zeros: u64,
    pub(super) positive: Bins,
    pub(super) negative: Bins,
}

impl Sketch {
    /// Removes all values, and keeps memory.
    pub(super) fn clear(&mut self) {
        self.zeros = 0;
        self.positive.clear();
        self.negative.clear();
    }

    /// Makes it equal to another one, and keeps memory.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.zeros = other.zeros;
        self.positive.copy_from(&other.positive);
        self.negative.copy_from(&other.negative);
    }

    #[inline]
    pub(super) fn push(&mut self, value: f64) {
        if value > 0.0 {
            self.positive.add(mapping::key(value), 1);
        } else if value < 0.0 {
            self.negative.add(mapping::key(-value), 1);
        } else {
            self.zeros = self.zeros.saturating_add(1);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.zeros = self.zeros.saturating_add(other.zeros);
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// The number of values; saturates.
    #[cfg(test)]
    fn count(&self) -> u64 {
        let bins = self.positive.iter().chain(self.negative.iter());
        bins.fold(self.zeros, |sum, bin| sum.saturating_add(bin.count))
    }

    /// The values that stand for the bins, in rising order, each with the number of values in its bin.
    fn bins(&self) -> impl Iterator<Item = (f64, u64)> {
        let negative = self.negative.iter().rev().map(|bin| (-mapping::magnitude(bin.key), bin.count));
        let positive = self.positive.iter().map(|bin| (mapping::magnitude(bin.key), bin.count));
        negative.chain((self.zeros > 0).then_some((0.0, self.zeros))).chain(positive)
    }

    /// Approximate value at the zero-based `rank`, in rising order.
    pub(super) fn at_rank(&self, rank: u64) -> f64 {
        let mut below = 0u64;
        let mut reached = 0.0;
        for (value, count) in self.bins() {
            reached = value;
            below = below.saturating_add(count);
            if below > rank {
                break;
            }
        }
        reached
    }

    /// The number of values in bins whose middle is less than `value`.
    pub(super) fn below(&self, value: f64) -> u64 {
        let below = self.bins().take_while(|(middle, _)| *middle < value);
        below.fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Approximate values at the ranks from `from` to before `to`, in rising order, with their numbers.
    pub(super) fn between_ranks(&self, from: u64, to: u64) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0u64;
        self.bins().filter_map(move |(value, count)| {
            let start = below.max(from);
            below = below.saturating_add(count);
            let count = below.min(to).checked_sub(start).filter(|count| *count > 0)?;
            Some((value, count))
        })
    }

    pub(super) fn heap(&self) -> usize {
        self.positive.heap() + self.negative.heap()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.zeros, out);
        self.positive.encode(out);
        self.negative.encode(out);
    }

    /// As [`Sketch::merge`] with what [`EncodedSketch::decode`] makes of this.
    pub(super) fn merge_encoded(&mut self, other: &EncodedSketch<'_>) {
        self.zeros = self.zeros.saturating_add(other.zeros);
        self.positive.merge_encoded(&other.positive);
        self.negative.merge_encoded(&other.negative);
    }
}

/// The encoding of a [`Sketch`].
#[derive(Clone, Copy)]
pub(super) struct EncodedSketch<'a> {
    zeros: u64,
    positive: EncodedBins<'a>,
    negative: EncodedBins<'a>,
}

impl<'a> EncodedSketch<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let zeros = reader.varint()?;
        Ok(Self { zeros, positive: EncodedBins::read(reader)?, negative: EncodedBins::read(reader)? })
    }

    pub(super) fn decode(&self) -> Sketch {
        Sketch { zeros: self.zeros, positive: self.positive.decode(), negative: self.negative.decode() }
    }

    /// The number of values; saturates.
    pub(super) fn count(&self) -> u64 {
        self.zeros.saturating_add(self.positive.count).saturating_add(self.negative.count)
    }

    /// Whether any set of values has these extremes, this sketch and these signs (of the non-zero sums).
    pub(super) fn is_possible(&self, min: f64, max: f64, signs: (bool, bool)) -> bool {
        let positive = (max > 0.0).then(|| (mapping::key(max), min));
        let negative = (min < 0.0).then(|| (mapping::key(-min), -max));
        // The magnitude nearest to zero is known only if all values are on the same side of zero.
        let spans = |bins: Ends, ends: Option<(i32, f64)>| match ends {
            Some((greatest, nearest)) if nearest > 0.0 => {
                bins.can_span(Some((mapping::key(nearest), greatest)))
            }
            Some((greatest, _)) => bins.greatest_key() == Some(greatest),
            None => bins.can_span(None),
        };
        let one_side = min > 0.0 || max < 0.0;
        spans(self.positive.ends(), positive)
            && spans(self.negative.ends(), negative)
            && (self.zeros == 0 || !one_side)
            && (self.zeros > 0 || (min != 0.0 && max != 0.0))
            && signs == (positive.is_some(), negative.is_some())
    }
}

#[cfg(test)]
mod tests;
