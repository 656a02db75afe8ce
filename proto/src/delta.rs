//! Delta encoding: each value as the difference to the one before it, the first as the difference to 0.

/// The previous value of a column that is written or read from its start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delta(i64);

impl Delta {
    /// The difference that stands for the next value.
    pub(crate) fn step(&mut self, value: i64) -> i64 {
        value.wrapping_sub(std::mem::replace(&mut self.0, value))
    }

    /// The value that the next difference stands for; `None` if it exceeds 64 bits; the column is then unusable.
    pub(crate) fn value(&mut self, step: i64) -> Option<i64> {
        self.0 = self.0.checked_add(step)?;
        Some(self.0)
    }

    /// As [`Delta::value`], modulo 2^64: for columns that are checked elsewhere.
    pub(crate) fn wrapping_value(&mut self, step: i64) -> i64 {
        self.0 = self.0.wrapping_add(step);
        self.0
    }
}
