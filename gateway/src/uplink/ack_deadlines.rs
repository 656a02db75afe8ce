//! Deadlines for acknowledgements of batches in flight. Pure: the time comes in.
//!
//! Pings say that a connection is there, not that anybody at its other end works: an aggregator that answers them and nothing
//! else would keep the stream open, and the gateway's partials, for good. So batches that wait without a word on their shard
//! for too long end the stream. An aggregator that is slow because it is full loses nothing by that: what it has not
//! acknowledged is sent again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// What a stream waits for, by shard.
#[derive(Debug)]
pub(super) struct AckDeadlines {
    timeout: Duration,
    /// Since when batches of each shard wait, or since the last word on them; `None` while none waits.
    since: Vec<Option<Instant>>,
}

/// What is to be done at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// To check again then.
    At(Instant),
    /// This shard has waited for too long.
    Expired(usize),
}

impl AckDeadlines {
    /// Nothing is on its way; batches may wait for so long without a word.
    pub(super) fn new(shards: usize, timeout: Duration) -> Self {
        Self { timeout, since: vec![None; shards] }
    }

    /// Nothing is on its way: a stream begins.
    pub(super) fn begin(&mut self) {
        self.since.fill(None);
    }

    /// A batch of a shard leaves.
    pub(super) fn record_sent(&mut self, shard: usize, now: Instant) {
        if let Some(since) = self.since.get_mut(shard) {
            since.get_or_insert(now);
        }
    }

    /// The aggregator says something about a shard's batches.
    pub(super) fn record_response(&mut self, shard: usize, now: Instant) {
        if let Some(since) = self.since.get_mut(shard) {
            *since = since.map(|_| now);
        }
    }

    /// Nothing of a shard is on its way any more.
    pub(super) fn idle(&mut self, shard: usize) {
        if let Some(since) = self.since.get_mut(shard) {
            *since = None;
        }
    }

    /// Which shard has waited for too long, or when to check again.
    pub(super) fn check(&self, now: Instant) -> Wake {
        let waiting =
            self.since.iter().enumerate().filter_map(|(shard, since)| Some((since.as_ref()?, shard)));
        match waiting.min() {
            Some((since, shard)) if now >= *since + self.timeout => Wake::Expired(shard),
            Some((since, _)) => Wake::At(*since + self.timeout),
            // What leaves from now on may wait for so long.
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

    /// Completes with the shard whose batches have waited for too long.
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
