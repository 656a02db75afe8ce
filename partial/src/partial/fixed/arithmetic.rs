//! Arithmetic for reading exact sums: difference, product, quotient, and the single rounding at the end.
//!
//! Schoolbook methods on few limbs; nothing here runs per reading.

use super::Fixed;

/// `mantissa * 2^exponent`, rounded to nearest, ties to even: a double with an unbounded exponent.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Rounded {
    /// Zero, or from 1 to 2^53.
    mantissa: f64,
    exponent: i32,
}

const DOUBLE_BITS: u32 = 53;

impl Fixed {
    /// `self - other`; zero if that is negative.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        if self <= other {
            return Self::default();
        }
        let mut difference = self.clone();
        difference.cover(other.low, other.limbs.len());
        let offset = difference.offset(other.low).unwrap_or_default();
        let mut limbs = difference.limbs.iter_mut().skip(offset);
        let mut borrow = false;
        for (&word, limb) in other.limbs.iter().zip(limbs.by_ref()) {
            (*limb, borrow) = limb.borrowing_sub(word, borrow);
        }
        while borrow && let Some(limb) = limbs.next() {
            (*limb, borrow) = limb.overflowing_sub(1);
        }
        difference
    }

    /// `self * factor`.
    pub(crate) fn times(&self, factor: u64) -> Self {
        let mut carry = 0;
        let mut product = self.clone();
        for limb in &mut product.limbs {
            (*limb, carry) = limb.carrying_mul(factor, carry);
        }
        product.limbs.push(carry);
        product
    }

    /// `self * self`.
    pub(crate) fn squared(&self) -> Self {
        self.product(self)
    }

    /// `self * other`.
    pub(crate) fn product(&self, other: &Self) -> Self {
        let limbs = vec![0; self.limbs.len() + other.limbs.len()];
        let mut product = Self { low: self.low + other.low, limbs };
        for (place, &factor) in other.limbs.iter().enumerate() {
            let row = self.times(factor);
            if let Some(limbs) = product.limbs.get_mut(place..) {
                super::add_limbs(limbs, &row.limbs);
            }
        }
        product
    }

    /// `self / divisor` (not zero), rounded down to `places` limbs below the lowest, and whether there is a remainder.
    pub(crate) fn over(&self, divisor: u64, places: u8) -> (Self, bool) {
        let mut quotient = Self { low: self.low - i32::from(places), limbs: vec![0; places.into()] };
        quotient.limbs.extend_from_slice(&self.limbs);
        let mut rest = 0u64;
        for limb in quotient.limbs.iter_mut().rev() {
            let dividend = u128::from(rest) << 64 | u128::from(*limb);
            // The remainder is below the divisor, so the quotient fits.
            *limb = dividend.checked_div(divisor.into()).unwrap_or_default() as u64;
            rest = dividend.checked_rem(divisor.into()).unwrap_or_default() as u64;
        }
        (quotient, rest != 0)
    }

    /// The 53-bit number nearest to `(self + r) * 2^unit`. If `more`, `r` is greater than zero and less than the lowest
    /// bit; otherwise it is zero.
    pub(crate) fn round(&self, unit: i32, more: bool) -> Rounded {
        let (start, limbs) = super::trim(&self.limbs);
        let mut down = limbs.iter().rev().copied();
        let Some(first) = down.next() else { return Rounded { mantissa: 0.0, exponent: 0 } };
        let (second, third) = (down.next().unwrap_or(0), down.next().unwrap_or(0));
        let shift = first.leading_zeros();
        // The highest of the 128 bits of `top` is `shift` bits below the top of the highest limb.
        let end = 64 * (self.low + start + limbs.len() as i32) - shift as i32;
        let pair = u128::from(first) << 64 | u128::from(second);
        let top = pair.unbounded_shl(shift) | u128::from(third.unbounded_shr(64 - shift));
        let below = third.unbounded_shl(shift) != 0 || down.any(|limb| limb != 0) || more;

        Rounded::of(top, unit + end - u128::BITS as i32, below)
    }
}

impl Rounded {
    /// The 53-bit number nearest to `(integer + r) * 2^exponent`. If `more`, `r` is greater than zero and less than 1,
    /// and `integer` has at least 54 bits or is 0, which gives 0; otherwise it is zero.
    pub(crate) fn of(integer: u128, exponent: i32, more: bool) -> Self {
        if integer == 0 {
            return Self { mantissa: 0.0, exponent: 0 };
        }
        let zeros = integer.leading_zeros();
        let top = integer << zeros;
        let mantissa = (top >> (u128::BITS - DOUBLE_BITS)) as u64;
        let fraction = top.unbounded_shl(DOUBLE_BITS);
        let half = 1u128 << (u128::BITS - 1);
        let up = fraction > half || (fraction == half && (more || mantissa % 2 == 1));
        let exponent = exponent + (u128::BITS - DOUBLE_BITS) as i32 - zeros as i32;
        Self { mantissa: (mantissa + u64::from(up)) as f64, exponent }
    }

    /// Converts to a double: infinite beyond the range, rounded again below the normal range.
    pub(crate) fn value(self) -> f64 {
        let (mut value, mut exponent) = (self.mantissa, self.exponent);
        while exponent > 971 && value.is_finite() {
            value *= power_of_two(971);
            exponent -= 971;
        }
        if exponent < -1022 {
            // The first step is exact, because the mantissa is at least 1; so there is at most one rounding.
            value *= power_of_two(-1022);
            exponent = (exponent + 1022).max(-1022);
        }
        value * power_of_two(exponent.min(971))
    }

    /// The quotient by a number that is not zero, rounded.
    pub(crate) fn over(self, divisor: Self) -> Self {
        // Both mantissas are from 1 to 2^53, so this one is at least 1 too; zero stays zero.
        let mantissa = self.mantissa / divisor.mantissa * power_of_two(DOUBLE_BITS as i32);
        Self { mantissa, exponent: self.exponent - divisor.exponent - DOUBLE_BITS as i32 }
    }

    /// The square root, correctly rounded apart from the rounding of `self`.
    pub(crate) fn sqrt(self) -> Self {
        let odd = self.exponent.rem_euclid(2);
        Self { mantissa: (self.mantissa * power_of_two(odd)).sqrt(), exponent: (self.exponent - odd) / 2 }
    }
}

/// `2^exponent`, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}
