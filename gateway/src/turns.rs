//! Turns on a worker's thread: its tasks run one after the other, each until it waits or gives way.
//!
//! A message takes several turns from its reading to its acknowledgement: it is read, its commit begins, the commit is
//! seen, the answer is written. A task that has used much time at once therefore gives way for as many turns, not for
//! one: otherwise a light message would wait that long before each of its own. With nothing else to do, a turn takes a
//! few microseconds.

use std::time::Duration;

use tokio::{task::yield_now, time::Instant};

/// Turns of the others after a long slice: those that a message needs.
const TURNS: usize = 4;
/// A slice is long that takes this time.
const LONG: Duration = Duration::from_micros(100);

/// Work of a task between two turns of the others.
pub(crate) struct Slice {
    began: Instant,
}

impl Slice {
    /// The task's turn begins.
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// Lets the other tasks of this thread run before the next slice: once, or as often as a message needs if this one
    /// was long.
    pub(crate) async fn give_way(self) {
        for _ in 0..if self.began.elapsed() < LONG { 1 } else { TURNS } {
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use tokio::{join, time::advance};

    use super::*;

    /// Turns of another task until this one, which took a slice of some length, runs on.
    async fn turns(length: Duration) -> usize {
        let over = Rc::new(Cell::new(false));
        let long = async {
            let slice = Slice::begin();
            advance(length).await;
            slice.give_way().await;
            over.set(true);
        };
        let other = async {
            let mut turns = 0;
            while !over.get() {
                turns += 1;
                yield_now().await;
            }
            turns
        };
        join!(long, other).1
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_long_slice_a_message_has_all_its_turns() {
        let [short, long] = [turns(LONG / 2).await, turns(LONG).await];
        // The clock of the test may take a turn too.
        assert!((TURNS - 1..=TURNS).contains(&(long - short)), "{short}, {long}");
    }
}
