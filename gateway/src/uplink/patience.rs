//! How long a stream waits for its aggregator's word on what is on its way. Pure: the time comes in.
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
pub(super) struct Patience {
    most: Duration,
    /// Since when batches of each shard wait, or since the last word on them; `None` while none waits.
    since: Vec<Option<Instant>>,
}

/// What is to be done at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// To look again then.
    At(Instant),
    /// This shard has waited for too long.
    Over(usize),
}

impl Patience {
    /// Nothing is on its way; batches may wait for so long without a word.
    pub(super) fn new(shards: usize, most: Duration) -> Self {
        Self { most, since: vec![None; shards] }
    }

    /// Nothing is on its way: a stream begins.
    pub(super) fn begin(&mut self) {
        self.since.fill(None);
    }

    /// A batch of a shard leaves.
    pub(super) fn left(&mut self, shard: usize, now: Instant) {
        if let Some(since) = self.since.get_mut(shard) {
            since.get_or_insert(now);
        }
    }

    /// The aggregator says something about a shard's batches.
    pub(super) fn heard(&mut self, shard: usize, now: Instant) {
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

    /// Whether patience is at its end, or when to look again.
    pub(super) fn look(&self, now: Instant) -> Wake {
        let waiting =
            self.since.iter().enumerate().filter_map(|(shard, since)| Some((since.as_ref()?, shard)));
        match waiting.min() {
            Some((since, shard)) if now >= *since + self.most => Wake::Over(shard),
            Some((since, _)) => Wake::At(*since + self.most),
            // What leaves from now on may wait for so long.
            None => Wake::At(now + self.most),
        }
    }
}

/// The patience of a stream, between its feeds and what receives for them.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Patience>>);

impl Shared {
    /// See [`Patience::new`].
    pub(super) fn new(shards: usize, most: Duration) -> Self {
        Self(Arc::new(Mutex::new(Patience::new(shards, most))))
    }

    /// For one call.
    pub(super) fn lock(&self) -> MutexGuard<'_, Patience> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes with the shard whose batches have waited for too long.
    pub(super) async fn over(&self) -> usize {
        loop {
            let wake = self.lock().look(Instant::now());
            match wake {
                Wake::At(due) => sleep_until(due).await,
                Wake::Over(shard) => return shard,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    #[test]
    fn batches_wait_for_so_long_since_the_last_word_on_their_shard() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(2, MOST);
        assert_eq!(patience.look(at(0)), Wake::At(at(30)), "nothing waits");
        patience.heard(0, at(1));
        assert_eq!(patience.look(at(2)), Wake::At(at(32)));
        patience.left(0, at(10));
        patience.left(0, at(20));
        assert_eq!(patience.look(at(30)), Wake::At(at(40)), "the oldest counts");
        patience.left(1, at(25));
        patience.heard(0, at(39));
        assert_eq!(patience.look(at(40)), Wake::At(at(55)), "each shard for itself");
        patience.idle(1);
        assert_eq!(patience.look(at(55)), Wake::At(at(69)));
        assert_eq!(patience.look(at(69)), Wake::Over(0));
        patience.idle(0);
        assert_eq!(patience.look(at(69)), Wake::At(at(99)));
        // An answer about a shard that there is not changes nothing.
        patience.left(7, at(70));
        patience.heard(7, at(70));
        assert_eq!(patience.look(at(70)), Wake::At(at(100)));
    }
    #[tokio::test(start_paused = true)]
    async fn only_what_is_on_its_way_runs_out_of_time() {
        let shared = Shared::new(1, MOST);
        let over = shared.over();
        let mut over = std::pin::pin!(over);
        let within = |seconds| Duration::from_secs(seconds);
        let begun = Instant::now();
        assert!(tokio::time::timeout(within(1000), &mut over).await.is_err(), "nothing is on its way");
        shared.lock().left(0, Instant::now());
        assert!(tokio::time::timeout(within(29), &mut over).await.is_err());
        shared.lock().heard(0, Instant::now());
        assert!(tokio::time::timeout(within(29), &mut over).await.is_err());
        assert_eq!(over.await, 0);
        assert_eq!(begun.elapsed(), within(1000 + 29 + 30));
    }
}
