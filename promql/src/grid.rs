//! The times at which an expression is evaluated.

/// `count` times from `start_ms` on, `step_ms` apart; Unix milliseconds. An instant query has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// The first time.
    pub start_ms: i64,
    /// Distance; at least 1, also where there is one time.
    pub step_ms: i64,
    /// Number of times; at least 1.
    pub count: usize,
}

impl Grid {
    /// One time.
    #[must_use]
    pub const fn instant(ms: i64) -> Self {
        Self { start_ms: ms, step_ms: 1, count: 1 }
    }

    /// The time of a step.
    #[must_use]
    pub fn time(&self, step: usize) -> i64 {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.start_ms.saturating_add(self.step_ms.saturating_mul(step))
    }

    /// The last time.
    #[must_use]
    pub fn end_ms(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }

    /// All times, in order.
    pub fn times(&self) -> impl ExactSizeIterator<Item = i64> + use<> {
        let grid = *self;
        (0..grid.count).map(move |step| grid.time(step))
    }

    /// The times moved by so many milliseconds.
    #[must_use]
    pub fn moved(self, by_ms: i64) -> Self {
        Self { start_ms: self.start_ms.saturating_add(by_ms), ..self }
    }
}
