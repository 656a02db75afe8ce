//! Which part of the journal is older than a given age, by the monotonic clock.

use std::{collections::VecDeque, time::Duration};

/// Samples in one age: the precision, and a bound on memory.
const STEPS: u32 = 64;

/// Samples of the journal's end, newest last.
#[derive(Debug)]
pub(super) struct PositionHistory {
    age: Duration,
    seen: VecDeque<(Duration, u64)>,
}

impl PositionHistory {
    /// For positions of this age. What the journal holds before the first sample has the age of that sample.
    pub(super) fn new(age: Duration) -> Self {
        Self { age, seen: VecDeque::new() }
    }

    /// Samples the journal's end, and returns the position before which everything has reached the age.
    pub(super) fn position_at_age(&mut self, now: Duration, end: u64) -> u64 {
        let step = self.age / STEPS;
        let new = |(at, last): &(Duration, u64)| *last != end && now.saturating_sub(*at) >= step;
        if self.seen.back().is_none_or(new) {
            self.seen.push_back((now, end));
        }
        let old = |at: &Duration| now.saturating_sub(*at) >= self.age;
        // The newest sample that is old enough stays in front.
        while self.seen.get(1).is_some_and(|(at, _)| old(at)) {
            self.seen.pop_front();
        }
        self.seen.front().filter(|(at, _)| old(at)).map_or(0, |(_, end)| *end)
    }
}
