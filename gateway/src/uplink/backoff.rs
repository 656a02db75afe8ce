//! Pauses between attempts: exponential, with jitter so that a site's gateways do not return together.

use std::time::Duration;

/// First and longest pause.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses between attempts at one thing.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts with the shortest pause.
    pub(super) const fn new() -> Self {
        Self::between(FIRST, LONGEST)
    }

    /// Starts with `first`, up to `longest`.
    pub(super) const fn between(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next pause: between half and all of a bound that doubles. `jitter` lies in [0, 1).
    pub(super) fn pause(&mut self, jitter: f64) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.longest);
        bound.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// An attempt succeeded.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_start_anew() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.pause(1.0), FIRST);
        assert_eq!(backoff.pause(0.0), FIRST);
        assert_eq!(backoff.pause(1.0), FIRST * 4);
        for _ in 0..20 {
            assert!(backoff.pause(0.99) <= LONGEST);
        }
        assert_eq!(backoff.pause(1.0), LONGEST);
        backoff.reset();
        assert_eq!(backoff.pause(1.0), FIRST);
    }
}
