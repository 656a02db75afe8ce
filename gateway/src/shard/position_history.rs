//! How long ago the journal was how long, by the clock that does not jump.

use std::{collections::VecDeque, time::Duration};

/// Ages are exact to this part of themselves; also the bound of what is remembered.
const STEPS: u32 = 64;

/// Where the journal ended at moments past, newest last.
#[derive(Debug)]
pub(super) struct PositionHistory {
    age: Duration,
    seen: VecDeque<(Duration, u64)>,
}

impl PositionHistory {
    /// Remembers so long. What was there before counts from the first look.
    pub(super) fn new(age: Duration) -> Self {
        Self { age, seen: VecDeque::new() }
    }

    /// Takes note of the journal's end, and tells the position before which everything is of that age.
    pub(super) fn position_at_age(&mut self, now: Duration, end: u64) -> u64 {
        let step = self.age / STEPS;
        let new = |(at, last): &(Duration, u64)| *last != end && now.saturating_sub(*at) >= step;
        if self.seen.back().is_none_or(new) {
            self.seen.push_back((now, end));
        }
        let old = |at: &Duration| now.saturating_sub(*at) >= self.age;
        // The newest that is old enough stays in front.
        while self.seen.get(1).is_some_and(|(at, _)| old(at)) {
            self.seen.pop_front();
        }
        self.seen.front().filter(|(at, _)| old(at)).map_or(0, |(_, end)| *end)
    }
}
