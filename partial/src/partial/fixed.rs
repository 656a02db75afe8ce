//! Exact sums: fixed-point numbers that grow as needed.
//!
//! Every finite double is an integer multiple of 2^-1074 and its square a multiple of 2^-2148, so their sums are
//! integers in these units. A [`Fixed`] holds such an integer in 64-bit limbs, and only those in use: three or four for
//! ordinary readings. Adding integers is commutative and associative without any rounding, unlike any compensated
//! floating-point sum, and faster: two or three additions with carry. The only rounding happens when the sum is read,
//! and it is correct to the last bit (as in Python's `math.fsum`). The sum cannot overflow before that: the limit is
//! above 2^64 fourth powers of the greatest double.
//!
//! Encoding: varint number of bytes, and unless that is 0: varint index of the lowest byte, then the bytes, least
//! significant first, without zero bytes at either end.

mod arithmetic;
mod encoded;
mod signed;

use super::codec::{DecodeError, Reader, put_varint};
use std::cmp::Ordering;

pub(super) use arithmetic::Rounded;
pub(super) use encoded::EncodedFixed;
pub(super) use signed::Signed;

/// Limbs from bit 0 to the limit. 2^64 fourth powers need 4 * (1024 + 1074) + 64 bits, and their multiples in the
/// formula of the kurtosis (see `powers`) 192 more.
const LIMIT: i32 = 140;
const LIMB_BYTES: usize = 8;

/// A non-negative integer: the sum of `limbs[i] << (64 * (low + i))`. Limbs at either end may be zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    /// Negative only within a division, for places after the point.
    low: i32,
    limbs: Vec<u64>,
}

/// Adds `words` to the lowest limbs and propagates the carry; returns the carry out.
#[inline]
fn add_limbs(limbs: &mut [u64], words: &[u64]) -> bool {
    let mut carry = false;
    let mut limbs = limbs.iter_mut();
    // `words` comes first in the zip: when the second iterator ends, `zip` has already consumed an item of the first.
    for (&word, limb) in words.iter().zip(limbs.by_ref()) {
        (*limb, carry) = limb.carrying_add(word, carry);
    }
    while carry && let Some(limb) = limbs.next() {
        (*limb, carry) = limb.overflowing_add(1);
    }
    carry
}

impl Fixed {
    /// Makes it zero, and keeps memory.
    pub(super) fn clear(&mut self) {
        self.limbs.clear();
    }

    /// Makes it equal to another one, and keeps memory.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.low = other.low;
        self.limbs.clone_from(&other.limbs);
    }

    /// Adds `mantissa << bit`, where `mantissa` is a double's mantissa or a sum of several (`bit` at most 2^12).
    #[inline]
    pub(super) fn add(&mut self, mantissa: u64, bit: u32) {
        let wide = u128::from(mantissa) << (bit % 64);
        self.add_words((bit / 64) as i32, &[wide as u64, (wide >> 64) as u64]);
    }

    /// Adds `mantissa << bit`, where `mantissa` is the square of a mantissa (below 2^106) or a sum of several (`bit` at
    /// most 2^12).
    #[inline]
    pub(super) fn add_square(&mut self, mantissa: u128, bit: u32) {
        let shift = bit % 64;
        let wide = mantissa << shift;
        let high = mantissa.unbounded_shr(128 - shift) as u64;
        self.add_words((bit / 64) as i32, &[wide as u64, (wide >> 64) as u64, high]);
    }

    /// Adds `number << bit`, where `number` is below 2^212 (`bit` at most 2^13).
    pub(super) fn add_shifted(&mut self, number: [u64; 4], bit: u32) {
        let shift = bit % 64;
        let (mut words, mut below) = ([0; 5], 0_u64);
        for (word, limb) in words.iter_mut().zip(number.into_iter().chain([0])) {
            *word = limb << shift | below.unbounded_shr(64 - shift);
            below = limb;
        }
        self.add_words((bit / 64) as i32, &words);
    }

    #[inline]
    fn add_words(&mut self, index: i32, words: &[u64]) {
        let carry = match self.offset(index).and_then(|offset| self.limbs.get_mut(offset..)) {
            Some(limbs) if limbs.len() >= words.len() => add_limbs(limbs, words),
            _ => {
                self.cover(index, words.len());
                let offset = self.offset(index).unwrap_or_default();
                let carry = add_limbs(self.limbs.get_mut(offset..).unwrap_or_default(), words);
                // Each addition extends a sum at the limit again; this brings it back to the limit.
                self.limit();
                carry
            }
        };
        if carry {
            // Rare: sums do not grow far.
            self.limbs.reserve_exact(1);
            self.limbs.push(1);
            self.limit();
        }
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.merge_limbs(other.low, &other.limbs);
    }

    /// Adds limbs of which the lowest has the index `low`.
    #[inline]
    fn merge_limbs(&mut self, low: i32, limbs: &[u64]) {
        let (start, limbs) = trim(limbs);
        if !limbs.is_empty() {
            self.add_words(low + start, limbs);
            self.limit();
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.limbs.iter().all(|&limb| limb == 0)
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        self.limbs.capacity() * LIMB_BYTES
    }

    fn offset(&self, index: i32) -> Option<usize> {
        usize::try_from(index - self.low).ok()
    }

    /// The index above the highest limb.
    fn top(&self) -> i32 {
        self.low + self.limbs.len() as i32
    }

    /// Makes room for `count` limbs starting at `index`.
    #[cold]
    fn cover(&mut self, index: i32, count: usize) {
        if self.limbs.is_empty() {
            self.low = index;
        }
        let below = (self.low - index).max(0) as usize;
        let above = (index + count as i32 - self.top()).max(0) as usize;
        self.limbs.reserve_exact(below + above);
        self.limbs.splice(0..0, std::iter::repeat_n(0, below));
        self.limbs.resize(self.limbs.len() + above, 0);
        self.low -= below as i32;
    }

    /// Clamps sums to `2^(64 * LIMIT)`, which no honest sum reaches. As sums only grow, it does not matter which
    /// addition crossed the limit.
    fn limit(&mut self) {
        if self.top() > LIMIT {
            let (start, limbs) = trim(&self.limbs);
            // Zeros that lie beyond it are no sum beyond it.
            if !limbs.is_empty() && self.low + start + limbs.len() as i32 > LIMIT {
                *self = Self { low: LIMIT, limbs: vec![1] };
            }
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (start, limbs) = trim(&self.limbs);
        let (Some(first), Some(last)) = (limbs.first(), limbs.last()) else {
            put_varint(0, out);
            return;
        };
        let (skip, drop) = ((first.trailing_zeros() / 8) as usize, (last.leading_zeros() / 8) as usize);
        let count = limbs.len() * LIMB_BYTES - skip - drop;
        put_varint(count as u64, out);
        put_varint(((self.low + start) as usize * LIMB_BYTES + skip) as u64, out);
        let at = out.len();
        limbs.iter().for_each(|limb| out.extend_from_slice(&limb.to_le_bytes()));
        out.drain(at..at + skip);
        out.truncate(at + count);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        EncodedFixed::read(reader).map(|sum| sum.decode())
    }
}

/// The limbs without zeros at either end, after the number of zero limbs removed at the low end.
fn trim(limbs: &[u64]) -> (i32, &[u64]) {
    let start = limbs.iter().take_while(|&&limb| limb == 0).count();
    let kept = limbs.get(start..).unwrap_or_default();
    let zeros = kept.iter().rev().take_while(|&&limb| limb == 0).count();
    (start as i32, kept.get(..kept.len() - zeros).unwrap_or_default())
}

impl Ord for Fixed {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((start, limbs), (other_start, other_limbs)) = (trim(&self.limbs), trim(&other.limbs));
        let top =
            |low: i32, limbs: &[u64]| if limbs.is_empty() { i32::MIN } else { low + limbs.len() as i32 };
        // With equal tops, compare limbs from the highest down; the one with further lower limbs is greater.
        top(self.low + start, limbs)
            .cmp(&top(other.low + other_start, other_limbs))
            .then_with(|| limbs.iter().rev().cmp(other_limbs.iter().rev()))
    }
}

impl PartialOrd for Fixed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fixed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Fixed {}

#[cfg(test)]
mod tests;
