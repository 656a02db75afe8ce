//! Numbers packed by the bits that they need, in chunks.
//!
//! ```text
//! chunk: least number (zigzag varint) | bits a number (1 byte: 0 to 56, or 64) | numbers minus the least, from the lowest
//!        bit of the first byte on
//! ```

use catchment_partial::{unzigzag, zigzag};

use super::varint::{length, put, varint};

/// Numbers of a chunk; the last one has what is left. One far number costs only its chunk.
const CHUNK: u32 = 64;

/// Bytes that [`put_packed`] writes.
pub(super) fn packed_bytes(numbers: impl Iterator<Item = i64>) -> usize {
    chunks(numbers, |numbers, least, bits| {
        length(zigzag(least)) + 1 + (numbers.len() * bits as usize).div_ceil(8)
    })
}

/// Packs numbers.
pub(super) fn put_packed(numbers: impl Iterator<Item = i64>, out: &mut Vec<u8>) {
    chunks(numbers, |numbers, least, bits| {
        put(zigzag(least), out);
        out.push(bits as u8);
        let (mut kept, mut kept_bits) = (0_u128, 0);
        for number in numbers {
            kept |= u128::from(number.wrapping_sub(least) as u64) << kept_bits;
            kept_bits += bits;
            while kept_bits >= 8 {
                out.push(kept as u8);
                (kept, kept_bits) = (kept >> 8, kept_bits - 8);
            }
        }
        if kept_bits > 0 {
            out.push(kept as u8);
        }
        0
    });
}

/// Calls `each` with the numbers of each chunk, the least one, and bits a number; returns the sum.
fn chunks(numbers: impl Iterator<Item = i64>, mut each: impl FnMut(&[i64], i64, u32) -> usize) -> usize {
    let mut sum = 0;
    let mut chunk = [0; CHUNK as usize];
    let mut numbers = numbers.fuse();
    loop {
        let mut count = 0;
        for (place, number) in chunk.iter_mut().zip(numbers.by_ref()) {
            *place = number;
            count += 1;
        }
        let Some(chunk) = chunk.get(..count).filter(|chunk| !chunk.is_empty()) else { return sum };
        let (least, greatest) =
            chunk.iter().fold((i64::MAX, i64::MIN), |(least, most), n| (least.min(*n), most.max(*n)));
        let bits = 64 - (greatest.wrapping_sub(least) as u64).leading_zeros();
        sum += each(chunk, least, if bits > 56 { 64 } else { bits });
    }
}

/// Reads packed numbers: a place among them, without the bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Packed {
    least: i64,
    bits: u32,
    /// Position of the next number, in bits.
    bit: u32,
    /// Numbers left in the chunk.
    left: u32,
    /// Numbers left after the chunk.
    rest: u32,
}

impl Packed {
    /// Before the first of so many numbers.
    pub(super) fn new(numbers: u32) -> Self {
        Self { rest: numbers, ..Self::default() }
    }

    /// The next number; `at` is the position of the next chunk. `None` if the bytes are malformed.
    #[inline]
    pub(super) fn next(&mut self, bytes: &[u8], at: &mut u32) -> Option<i64> {
        if self.left == 0 {
            self.open_chunk(bytes, at)?;
        }
        self.left -= 1;
        let word = word_at(bytes, self.bit / 8)? >> (self.bit % 8);
        let number = word & u64::MAX.unbounded_shr(64 - self.bits);
        self.bit += self.bits;
        Some(self.least.wrapping_add(number as i64))
    }

    fn open_chunk(&mut self, bytes: &[u8], at: &mut u32) -> Option<()> {
        self.least = unzigzag(varint(bytes, at)?);
        self.bits = u32::from(*bytes.get(*at as usize)?);
        if self.bits > 56 && self.bits != 64 {
            return None;
        }
        let start = *at + 1;
        self.bit = start.checked_mul(8)?;
        self.left = self.rest.min(CHUNK);
        self.rest -= self.left;
        *at = start + (self.left * self.bits).div_ceil(8);
        (self.left > 0 && *at as usize <= bytes.len()).then_some(())
    }
}

/// Eight bytes from a position on; zeros after the last one.
#[inline]
fn word_at(bytes: &[u8], at: u32) -> Option<u64> {
    let rest = bytes.get(at as usize..)?;
    if let Some(word) = rest.first_chunk() {
        return Some(u64::from_le_bytes(*word));
    }
    let mut word = [0; 8];
    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    Some(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn packed_numbers_come_back(numbers in prop_oneof![vec(-5..5_i64, 0..200), vec(any::<i64>(), 0..200), vec(0..1_i64 << 56, 0..70)]) {
            let mut bytes = vec![9];
            put_packed(numbers.iter().copied(), &mut bytes);
            prop_assert_eq!(packed_bytes(numbers.iter().copied()), bytes.len() - 1);
            let (mut packed, mut at) = (Packed::new(numbers.len() as u32), 1);
            for number in &numbers {
                prop_assert_eq!(packed.next(&bytes, &mut at), Some(*number));
            }
            prop_assert_eq!(at as usize, bytes.len());
            prop_assert_eq!(packed.next(&bytes, &mut at), None);
        }
    }
}
