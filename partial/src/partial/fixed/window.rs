//! Four limbs of a sum at a fixed place, kept in registers while many numbers of about one size are added.
//!
//! Invariant: what is in here is the sum of the numbers added since it was last emptied. Whoever adds a number that does
//! not fit the place ([`Window::reaches`]) moves it first, having put its content where it belongs.

const LIMBS: usize = 4;
/// Numbers that fit for certain: each is below 2^41 limbs' units in its highest limb.
const NUMBERS_MAX: u32 = 1 << 20;

/// An accumulator of numbers below `2^(64 * (low + 4) - 22)`.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Window {
    pub(super) low: i32,
    pub(super) limbs: [u64; LIMBS],
    numbers: u32,
}

impl Window {
    /// Whether a number of up to 3 limbs from this index on can be added.
    #[inline]
    pub(in super::super) fn reaches(&self, index: i32) -> bool {
        (index == self.low || index == self.low + 1) && self.numbers < NUMBERS_MAX
    }

    /// Empties it, at a place where numbers from this index on, and those a limb higher or (if that is how it was) lower, fit.
    pub(in super::super) fn move_to(&mut self, index: i32) {
        let low = if index == self.low + 2 { index - 1 } else { index };
        *self = Self { low, limbs: [0; LIMBS], numbers: 0 };
    }

    /// Adds three limbs from an index on that it reaches; the highest is below 2^41.
    #[inline]
    pub(in super::super) fn add(&mut self, index: i32, words: [u64; 3]) {
        let [a, b, c] = words;
        let [l0, l1, l2, l3] = &mut self.limbs;
        let mut carry = false;
        if index == self.low {
            (*l0, carry) = l0.carrying_add(a, carry);
            (*l1, carry) = l1.carrying_add(b, carry);
            (*l2, carry) = l2.carrying_add(c, carry);
            *l3 = l3.wrapping_add(u64::from(carry));
        } else {
            (*l1, carry) = l1.carrying_add(a, carry);
            (*l2, carry) = l2.carrying_add(b, carry);
            *l3 = l3.wrapping_add(c).wrapping_add(u64::from(carry));
        }
        self.numbers += 1;
    }
}
