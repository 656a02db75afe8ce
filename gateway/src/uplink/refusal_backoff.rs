//! How long a shard's sender pauses after a batch that the aggregator refused for want of room: longer each time,
//! until a batch is acknowledged. Pure.

use std::time::Duration;

use super::backoff::Backoff;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);
/// The first pause: an aggregator that forgets series has room a moment later.
const FIRST: Duration = Duration::from_millis(500);

/// Pauses of one shard; outlives the streams.
#[derive(Debug)]
pub(super) struct RefusalBackoff {
    backoff: Backoff,
    /// Refusals since the last acknowledgement.
    count: u64,
}

impl Default for RefusalBackoff {
    /// Nothing was refused.
    fn default() -> Self {
        Self { backoff: Backoff::between(FIRST, LONGEST), count: 0 }
    }
}

impl RefusalBackoff {
    /// A batch was refused: how long to pause. `jitter` lies in [0, 1).
    pub(super) fn refused(&mut self, jitter: f64) -> Duration {
        self.count += 1;
        self.backoff.pause(jitter)
    }

    /// A batch is acknowledged: how many refusals were before it.
    pub(super) fn acknowledged(&mut self) -> u64 {
        self.backoff.reset();
        std::mem::take(&mut self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_until_something_is_taken() {
        let mut refusals = RefusalBackoff::default();
        assert_eq!(refusals.acknowledged(), 0);
        assert_eq!(refusals.refused(1.0), FIRST);
        for _ in 0..10 {
            assert!(refusals.refused(0.5) <= LONGEST);
        }
        assert_eq!(refusals.refused(1.0), LONGEST);
        assert_eq!(refusals.acknowledged(), 12);
        assert_eq!(refusals.refused(1.0), FIRST);
    }
}
