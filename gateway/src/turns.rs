//! Turns on a worker's thread: its tasks run one after the other, each until it waits or gives way.
//!
//! A message takes several turns from its reading to its acknowledgement: it is read, its commit begins, the commit is
//! seen, the answer is written. A task that has just used a whole slice therefore gives way for as many turns, not for
//! one: otherwise a light message would wait for a slice before each of its own. With nothing else to do a turn takes a
//! few microseconds, the slice some hundred.

use tokio::task::yield_now;

/// Turns of the others after a slice: those that a message needs.
const TURNS: usize = 4;

/// Lets the other tasks of this thread run before the next slice.
pub(crate) async fn give_way() {
    for _ in 0..TURNS {
        yield_now().await;
    }
}
