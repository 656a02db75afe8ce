//! Deadlines for acknowledgements of batches in flight. Pure: the time comes in.
//!
//! Pings prove a connection, not a working aggregator: one that answers only pings would hold the stream and the
//! gateway's partials forever. So the stream ends when batches have been in flight for too long without an
//! acknowledgement or refusal on their shard. A slow, full aggregator loses nothing: unacknowledged batches are sent
//! again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Acknowledgements that a stream waits for, by shard.
#[derive(Debug)]
pub(super) struct AckDeadlines {
    timeout: Duration,
    /// When the oldest batch in flight left, or the last response on the shard came; `None`: none is in flight.
    since: Vec<Option<Instant>>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Check again then.
    At(Instant),
    /// The deadline of this shard has passed.
    Expired(usize),
}

impl AckDeadlines {
    /// Nothing is in flight; batches may be in flight for `timeout` without a response.
    pub(super) fn new(shards: usize, timeout: Duration) -> Self {
        Self { timeout, since: vec![None; shards] }
    }

    /// A stream begins with nothing in flight.
    pub(super) fn begin(&mut self) {
        self.since.fill(None);
    }

    /// A batch of a shard leaves.
    pub(super) fn record_sent(&mut self, shard: usize, now: Instant) {
        if let Some(since) = self.since.get_mut(shard) {
            since.get_or_insert(now);
        }
    }

    /// The aggregator acknowledges or refuses batches of a shard.
    pub(super) fn record_response(&mut self, shard: usize, now: Instant) {
        if let Some(since) = self.since.get_mut(shard) {
            *since = since.map(|_| now);
        }
    }

    /// Nothing of a shard is in flight any more.
    pub(super) fn idle(&mut self, shard: usize) {
        if let Some(since) = self.since.get_mut(shard) {
            *since = None;
        }
    }

    /// The shard whose deadline has passed, or when to check again.
    pub(super) fn check(&self, now: Instant) -> Wake {
        let waiting =
            self.since.iter().enumerate().filter_map(|(shard, since)| Some((since.as_ref()?, shard)));
        match waiting.min() {
            Some((since, shard)) if now >= *since + self.timeout => Wake::Expired(shard),
            Some((since, _)) => Wake::At(*since + self.timeout),
            // Batches that leave from now on have the whole timeout.
            None => Wake::At(now + self.timeout),
        }
    }
}

/// The deadlines of a stream, shared by its senders and the response handler.
#[derive(Clone, Debug)]
pub(super) struct SharedAckDeadlines(Arc<Mutex<AckDeadlines>>);

impl SharedAckDeadlines {
    /// See [`AckDeadlines::new`].
    pub(super) fn new(shards: usize, timeout: Duration) -> Self {
        Self(Arc::new(Mutex::new(AckDeadlines::new(shards, timeout))))
    }

    /// For one call.
    pub(super) fn lock(&self) -> MutexGuard<'_, AckDeadlines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes with the shard whose deadline has passed.
    pub(super) async fn expired(&self) -> usize {
        loop {
            let wake = self.lock().check(Instant::now());
            match wake {
                Wake::At(due) => sleep_until(due).await,
                Wake::Expired(shard) => return shard,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn batches_wait_for_so_long_since_the_last_word_on_their_shard() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ack_deadlines = AckDeadlines::new(2, TIMEOUT);
        assert_eq!(ack_deadlines.check(at(0)), Wake::At(at(30)), "nothing waits");
        ack_deadlines.record_response(0, at(1));
        assert_eq!(ack_deadlines.check(at(2)), Wake::At(at(32)));
        ack_deadlines.record_sent(0, at(10));
        ack_deadlines.record_sent(0, at(20));
        assert_eq!(ack_deadlines.check(at(30)), Wake::At(at(40)), "the oldest counts");
        ack_deadlines.record_sent(1, at(25));
        ack_deadlines.record_response(0, at(39));
        assert_eq!(ack_deadlines.check(at(40)), Wake::At(at(55)), "each shard for itself");
        ack_deadlines.idle(1);
        assert_eq!(ack_deadlines.check(at(55)), Wake::At(at(69)));
        assert_eq!(ack_deadlines.check(at(69)), Wake::Expired(0));
        ack_deadlines.idle(0);
        assert_eq!(ack_deadlines.check(at(69)), Wake::At(at(99)));
        // An answer about a shard that there is not changes nothing.
        ack_deadlines.record_sent(7, at(70));
        ack_deadlines.record_response(7, at(70));
        assert_eq!(ack_deadlines.check(at(70)), Wake::At(at(100)));
    }
    #[tokio::test(start_paused = true)]
    async fn only_what_is_on_its_way_runs_out_of_time() {
        let deadlines = SharedAckDeadlines::new(1, TIMEOUT);
        let expired = deadlines.expired();
        let mut expired = std::pin::pin!(expired);
        let within = |seconds| Duration::from_secs(seconds);
        let begun = Instant::now();
        assert!(tokio::time::timeout(within(1000), &mut expired).await.is_err(), "nothing is on its way");
        deadlines.lock().record_sent(0, Instant::now());
        assert!(tokio::time::timeout(within(29), &mut expired).await.is_err());
        deadlines.lock().record_response(0, Instant::now());
        assert!(tokio::time::timeout(within(29), &mut expired).await.is_err());
        assert_eq!(expired.await, 0);
        assert_eq!(begun.elapsed(), within(1000 + 29 + 30));
    }
}
