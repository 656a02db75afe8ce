//! Bounds the rate of a stream. Pure: time comes in as an argument.

use std::time::{Duration, Instant};

/// What may be sent at once after a pause, as a part of a second's bytes.
const BURST: Duration = Duration::from_millis(200);

/// The rate of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// `None`: unbounded.
    bytes_per_second: Option<u64>,
    /// When everything so far is paid for.
    paid: Option<Instant>,
}

impl Pace {
    /// At most so many bytes a second; 0: any number.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second).filter(|bytes| *bytes > 0), paid: None }
    }

    /// Counts bytes that are sent now; returns how long to wait before the next.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = self.paid.map_or(earliest, |paid| paid.max(earliest));
        let costs = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / rate);
        let paid = from + costs;
        self.paid = Some(paid);
        paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_holds_and_pauses_are_not_saved_up() {
        let start = Instant::now();
        let mut now = start + Duration::from_secs(10);
        let begun = now;
        let mut pace = Pace::new(1_000_000);
        for _ in 0..100 {
            now += pace.sent(250_000, now);
        }
        let took = now - begun;
        let least = Duration::from_secs(25) - BURST;
        assert!(took >= least && took < Duration::from_secs(26), "{took:?}");
        now += Duration::from_secs(3_600);
        assert!(pace.sent(250_000, now) >= Duration::from_millis(50));
        assert_eq!(Pace::new(0).sent(usize::MAX, now), Duration::ZERO);
    }
}
