//! Folds the sign of an integer into its lowest bit, so that small magnitudes make short varints: 0, -1, 1, -2 become
//! 0, 1, 2, 3.

/// The zigzag form of a number.
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)) as u64
}

/// The number of a zigzag form.
#[inline]
pub const fn unzigzag(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}
