//! How many turns queries may take at once: one fewer than there are processors while batches arrive, all otherwise.

use std::time::{Duration, Instant};

/// Time between two looks at the number of batches.
pub(super) const SAMPLE: Duration = Duration::from_millis(20);
/// How long ingest counts as busy after a batch.
const BUSY: Duration = Duration::from_millis(100);

/// Watches whether batches arrive.
pub(super) struct IngestWatch {
    /// Number of query threads, at least 1.
    pub(super) threads: usize,
    /// Turns at once while batches arrive, at least 1.
    beside_ingest: usize,
    /// Reads the number of batches so far.
    batches: Box<dyn Fn() -> u64 + Send>,
    seen: u64,
    sampled: Option<Instant>,
    busy_until: Option<Instant>,
}

impl IngestWatch {
    /// For so many query threads on so many processors; `batches` reads how many batches have arrived.
    pub(super) fn new(threads: usize, processors: usize, batches: impl Fn() -> u64 + Send + 'static) -> Self {
        let threads = threads.max(1);
        let beside_ingest = processors.saturating_sub(1).clamp(1, threads);
        let (seen, batches) = (batches(), Box::new(batches));
        Self { threads, beside_ingest, batches, seen, sampled: None, busy_until: None }
    }

    /// How many turns may be taken at once.
    pub(super) fn permits(&mut self, now: Instant) -> usize {
        if self.sampled.is_none_or(|sampled| now.saturating_duration_since(sampled) >= SAMPLE) {
            self.sampled = Some(now);
            let batches = (self.batches)();
            if batches != std::mem::replace(&mut self.seen, batches) {
                self.busy_until = now.checked_add(BUSY);
            }
        }
        if self.busy_until.is_some_and(|until| now < until) { self.beside_ingest } else { self.threads }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    #[test]
    fn a_processor_is_left_to_ingest_while_batches_arrive() {
        let batches = Arc::new(AtomicU64::new(7));
        let read = Arc::clone(&batches);
        let mut watch = IngestWatch::new(4, 4, move || read.load(Ordering::Relaxed));
        let start = Instant::now();
        let mut at = |ms| watch.permits(start + Duration::from_millis(ms));
        assert_eq!(at(0), 4, "batches of the past do not count");
        batches.store(8, Ordering::Relaxed);
        assert_eq!(at(10), 4, "not sampled yet");
        assert_eq!((at(20), at(119)), (3, 3));
        assert_eq!(at(120), 4);
    }

    #[test]
    fn there_is_always_a_turn() {
        for (threads, processors, busy) in [(1, 1, 1), (1, 8, 1), (2, 2, 1), (8, 4, 3), (0, 0, 1)] {
            let count = AtomicU64::new(0);
            let mut watch =
                IngestWatch::new(threads, processors, move || count.fetch_add(1, Ordering::Relaxed));
            assert_eq!(watch.permits(Instant::now()), busy, "{threads} threads, {processors} processors");
        }
    }
}
