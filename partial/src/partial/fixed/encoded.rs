//! Encoded sums, checked but not decoded: they are estimated, and added to others, from their bytes.

use super::super::codec::{DecodeError, Reader};
use super::{Fixed, LIMB_BYTES, LIMIT};

/// Limbs of an ordinary sum: readings whose exponents differ by less than 100.
const ORDINARY: usize = 4;

/// The encoding of a [`Fixed`].
#[derive(Clone, Copy)]
pub(in crate::partial) struct EncodedFixed<'a> {
    /// Index of the lowest byte.
    start: usize,
    bytes: &'a [u8],
}

impl<'a> EncodedFixed<'a> {
    /// Reads a sum and checks it.
    pub(in crate::partial) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        const RANGE: &str = "a sum is out of range";
        // The limit itself needs one bit more than the limbs below it.
        let limit = (LIMIT as usize) * LIMB_BYTES + 1;
        let count = reader.count(limit, RANGE)?;
        if count == 0 {
            return Ok(Self { start: 0, bytes: &[] });
        }
        let start = reader.count(limit - count, RANGE)?;
        Ok(Self { start, bytes: reader.bytes(count)? })
    }

    pub(in crate::partial) fn is_zero(&self) -> bool {
        self.bytes.iter().all(|&byte| byte == 0)
    }

    /// Index of the lowest limb.
    fn low(&self) -> i32 {
        (self.start / LIMB_BYTES) as i32
    }

    /// The number of limbs, from the lowest on.
    fn limbs(&self) -> usize {
        (self.start % LIMB_BYTES + self.bytes.len()).div_ceil(LIMB_BYTES)
    }

    /// The limbs from the lowest on, if they are few enough.
    #[inline]
    fn ordinary(&self) -> Option<[u64; ORDINARY]> {
        if self.limbs() > ORDINARY {
            return None;
        }
        let (whole, rest) = self.bytes.as_chunks::<LIMB_BYTES>();
        let highest = match self.bytes.last_chunk::<LIMB_BYTES>() {
            Some(last) => {
                u64::from_le_bytes(*last).unbounded_shr((u64::BITS as usize - 8 * rest.len()) as u32)
            }
            None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        };
        let words = whole.iter().map(|word| u64::from_le_bytes(*word)).chain([highest, 0]);
        let shift = (8 * (self.start % LIMB_BYTES)) as u32;
        let (mut limbs, mut below) = ([0; ORDINARY], 0_u64);
        for (limb, word) in limbs.iter_mut().zip(words) {
            *limb = word << shift | below.unbounded_shr(u64::BITS - shift);
            below = word;
        }
        Some(limbs)
    }

    /// The sum times `2^exponent`, with a relative error below 2^-49; `None` if it is not an ordinary sum, neither zero nor
    /// far from the limits of doubles.
    pub(in crate::partial) fn estimate(&self, exponent: i32) -> Option<f64> {
        const LIMB: f64 = 18_446_744_073_709_551_616.0;
        if self.bytes.is_empty() {
            return Some(0.0);
        }
        let limbs = self.ordinary()?;
        let estimate = limbs.iter().rev().fold(0.0, |sum, &limb| sum * LIMB + limb as f64);
        let exponent = self.low() * u64::BITS as i32 + exponent;
        let ordinary = estimate == 0.0 || (-600..600).contains(&exponent);
        ordinary.then(|| estimate * f64::from_bits(((exponent.clamp(-600, 600) + 1023) as u64) << 52))
    }

    /// Whether the sum is `count * mantissa << bit`, as far as 128 bits tell; the mantissa is below 2^53.
    pub(in crate::partial) fn is_product(&self, count: u64, mantissa: u64, bit: u32) -> bool {
        const BYTES: usize = size_of::<u128>();
        let mut bytes = [0; BYTES];
        let Some(place) = bytes.get_mut(..self.bytes.len()) else { return false };
        place.copy_from_slice(self.bytes);
        let sum = u128::from_le_bytes(bytes);
        let Some(product) = u128::from(count).checked_mul(mantissa.into()) else { return false };
        let place = |number: u128, bit: usize| {
            (number.unbounded_shr(number.trailing_zeros()), bit + number.trailing_zeros() as usize)
        };
        sum != 0 && place(sum, 8 * self.start) == place(product, bit as usize)
    }

    pub(in crate::partial) fn decode(&self) -> Fixed {
        let mut limbs = vec![0u64; self.limbs()];
        for (place, &byte) in (self.start % LIMB_BYTES..).zip(self.bytes) {
            if let Some(limb) = limbs.get_mut(place / LIMB_BYTES) {
                *limb |= u64::from(byte) << (8 * (place % LIMB_BYTES));
            }
        }
        let mut sum = Fixed { low: self.low(), limbs };
        sum.limit();
        sum
    }
}

impl Fixed {
    /// As [`Fixed::merge`] with what [`EncodedFixed::decode`] makes of this.
    pub(in crate::partial) fn merge_encoded(&mut self, other: &EncodedFixed<'_>) {
        if other.bytes.is_empty() {
            return;
        }
        match other.ordinary() {
            Some(limbs) => self.merge_limbs(other.low(), &limbs),
            None => self.merge(&other.decode()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![any::<u8>(), Just(0), Just(u8::MAX)];
        (0..1_130_u64, prop::collection::vec(byte, 0..40)).prop_map(|(start, sum)| {
            let mut bytes = Vec::new();
            super::super::put_varint(sum.len() as u64, &mut bytes);
            if !sum.is_empty() {
                super::super::put_varint(start, &mut bytes);
            }
            bytes.extend(sum);
            bytes
        })
    }

    proptest! {
        #[test]
        fn adding_encoded_sums_equals_adding_them(sums in prop::collection::vec(sum(), 1..5)) {
            let (mut expected, mut found) = (Fixed::default(), Fixed::default());
            for bytes in &sums {
                let Ok(encoded) = EncodedFixed::read(&mut Reader::new(bytes)) else { continue };
                let decoded = encoded.decode();
                prop_assert_eq!(encoded.is_zero(), decoded.is_zero());
                if let Some(estimate) = encoded.estimate(-1074) {
                    let exact = decoded.round(-1074, false).value();
                    prop_assert!((estimate - exact).abs() <= exact * 2_f64.powi(-49), "{} for {}", estimate, exact);
                }
                expected.merge(&decoded);
                found.merge_encoded(&encoded);
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
