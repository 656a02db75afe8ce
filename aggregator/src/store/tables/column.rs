//! One column of the rows of a section: numbers that are often alike or regular.
//!
//! ```text
//! first value (zigzag) | by the form of the column (2 bits, kept by the section):
//! 0 same:   nothing: all rows have the first value
//! 1 steady: the difference of each row to the one before (zigzag)
//! 2 runs:   bytes (varint) | difference (zigzag), times (varint) …
//! 3 packed: bytes (varint) | differences, packed by the bits that they need: see `packed`
//! ```
//!
//! Differences wrap, so any numbers have one. A column has its shortest form.

use catchment_partial::{unzigzag, zigzag};

use super::{
    packed::{Packed, packed_bytes, put_packed},
    varint::{length, put, varint},
};

const SAME: u8 = 0;
const STEADY: u8 = 1;
const RUNS: u8 = 2;
const PACKED: u8 = 3;

/// Writes a column of at least one value; returns its form.
pub(super) fn put_column(values: &[i64], out: &mut Vec<u8>) -> u8 {
    let Some((first, rest)) = values.split_first() else { return SAME };
    let runs = || Runs { before: *first, rest };
    let steps = || values.iter().zip(rest).map(|(before, value)| value.wrapping_sub(*before));
    let (mut count, mut runs_bytes) = (0, 0);
    for (step, times) in runs() {
        count += 1;
        runs_bytes += length(zigzag(step)) + length(times);
    }
    let packed_bytes = if count > 1 { packed_bytes(steps()) } else { 0 };
    let form = match count {
        0 => SAME,
        1 => runs().next().map_or(SAME, |(step, _)| if step == 0 { SAME } else { STEADY }),
        _ if runs_bytes <= packed_bytes => RUNS,
        _ => PACKED,
    };
    put(zigzag(*first), out);
    match form {
        STEADY => runs().take(1).for_each(|(step, _)| put(zigzag(step), out)),
        RUNS => {
            put(runs_bytes as u64, out);
            for (step, times) in runs() {
                put(zigzag(step), out);
                put(times, out);
            }
        }
        PACKED => {
            put(packed_bytes as u64, out);
            put_packed(steps(), out);
        }
        _ => {}
    }
    form
}

/// Differences between neighbours, and how often each is repeated.
struct Runs<'a> {
    before: i64,
    rest: &'a [i64],
}

impl Iterator for Runs<'_> {
    type Item = (i64, u64);

    fn next(&mut self) -> Option<(i64, u64)> {
        let (value, mut rest) = self.rest.split_first()?;
        let (step, mut before, mut times) = (value.wrapping_sub(self.before), *value, 1);
        while let Some((value, behind)) = rest.split_first()
            && value.wrapping_sub(before) == step
        {
            (before, rest, times) = (*value, behind, times + 1);
        }
        (self.before, self.rest) = (before, rest);
        Some((step, times))
    }
}

/// Reads a column: a place in it, without the bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Column {
    /// The value read last.
    value: i64,
    /// Difference of the next `left` values, each to the one before.
    step: i64,
    left: u32,
    /// Position of the next difference, or of the next ones that are packed.
    at: u32,
    /// Position after the last one.
    end: u32,
    /// Differences that are packed; `None`: each is followed by how often it is repeated.
    packed: Option<Packed>,
}

impl Column {
    /// Opens the column of `rows` values of the form in the lowest bits of `form` at a position, which moves behind the
    /// column.
    #[inline]
    pub(super) fn open(bytes: &[u8], at: &mut u32, form: u8, rows: u32) -> Option<Self> {
        let value = unzigzag(varint(bytes, at)?);
        let column = Self { value, step: 0, left: rows, at: *at, end: *at, packed: None };
        let form = form & 3;
        match form {
            SAME => Some(column),
            STEADY => {
                let step = unzigzag(varint(bytes, at)?);
                Some(Self { value: value.wrapping_sub(step), step, ..column })
            }
            _ => {
                let length = varint(bytes, at)?;
                let first = *at;
                let packed = (form == PACKED).then(|| Packed::new(rows.saturating_sub(1)));
                *at = u32::try_from(length).ok()?.checked_add(*at)?;
                Some(Self { left: 1, at: first, end: *at, packed, ..column })
            }
        }
    }

    /// The next value; `None` if the bytes are malformed.
    #[inline]
    pub(super) fn next(&mut self, bytes: &[u8]) -> Option<i64> {
        if self.left == 0 {
            self.load(bytes)?;
        }
        self.left -= 1;
        self.value = self.value.wrapping_add(self.step);
        Some(self.value)
    }

    #[inline]
    fn load(&mut self, bytes: &[u8]) -> Option<()> {
        (self.step, self.left) = match &mut self.packed {
            Some(packed) => (packed.next(bytes, &mut self.at)?, 1),
            None => {
                let step = unzigzag(varint(bytes, &mut self.at)?);
                (step, u32::try_from(varint(bytes, &mut self.at)?).ok()?)
            }
        };
        (self.left > 0).then_some(())
    }

    /// Skips values; returns their sum, which wraps.
    pub(super) fn skip(&mut self, bytes: &[u8], mut rows: u32) -> Option<i64> {
        let mut sum = 0_i64;
        while rows > 0 {
            if self.left == 0 {
                self.load(bytes)?;
            }
            let times = self.left.min(rows);
            let n = i64::from(times);
            // `value + step`, `value + 2 step`, …: n values.
            sum = sum.wrapping_add(self.value.wrapping_mul(n));
            sum = sum.wrapping_add(self.step.wrapping_mul(n * (n + 1) / 2));
            self.value = self.value.wrapping_add(self.step.wrapping_mul(n));
            self.left -= times;
            rows -= times;
        }
        Some(sum)
    }

    /// After the last value: whether nothing is left of the column.
    pub(super) fn ended(&self) -> bool {
        self.left == 0 && self.at == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let runs = vec((prop_oneof![-3..3_i64, any::<i64>()], 1..40_usize), 0..8);
        (any::<i64>(), runs).prop_map(|(first, runs)| {
            let mut values = vec![first];
            for (step, times) in runs {
                for _ in 0..times {
                    values.push(values.last().unwrap().wrapping_add(step));
                }
            }
            values
        })
    }

    proptest! {
        #[test]
        fn a_column_gives_back_its_values(values in values(), from in 0..300_usize) {
            let mut bytes = vec![7; 3];
            let form = put_column(&values, &mut bytes);
            let end = bytes.len() as u32;
            bytes.extend([1; 3]);
            let mut at = 3;
            let mut column = Column::open(&bytes, &mut at, form, values.len() as u32).unwrap();
            prop_assert_eq!(at, end);
            let from = from.min(values.len());
            let mut skipped = column;
            let sum = values[..from].iter().fold(0_i64, |sum, value| sum.wrapping_add(*value));
            prop_assert_eq!(skipped.skip(&bytes, from as u32), Some(sum));
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(column.next(&bytes), Some(*value));
                if index >= from {
                    prop_assert_eq!(skipped.next(&bytes), Some(*value));
                }
            }
            prop_assert!(column.ended() && skipped.ended());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in vec(prop_oneof![0..4_u8, any::<u8>()], 0..40), form: u8, rows in 1..100_u32) {
            let mut at = 0;
            if let Some(mut column) = Column::open(&bytes, &mut at, form, rows) {
                let mut skipped = column;
                let read = (0..rows).try_for_each(|_| column.next(&bytes).map(drop));
                prop_assert_eq!(skipped.skip(&bytes, rows).map(drop), read);
            }
        }
    }

    #[test]
    fn regular_columns_take_a_few_bytes() {
        for (values, bytes) in
            [(vec![1_000; 500], 2), ((0..500).collect(), 2), ((0..500).map(|i| i * 40).collect(), 2)]
        {
            let mut out = Vec::new();
            put_column(&values, &mut out);
            assert_eq!(out.len(), bytes);
        }
    }
}
