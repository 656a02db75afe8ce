//! The change log: which series changed in which span of time, in order, since the first subscription.
//!
//! The store writes it under its lock, so writing never waits. Changes of open windows are passed on and not kept: what
//! follows them is the closed window.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::store::{Change, ChangeListener, SeriesId};

/// Most changes that are taken from the log at once.
const CHANGES_AT_ONCE: usize = 128;

/// A series, and the span in which windows of it changed: those that start in [from, to), Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoggedChange {
    pub(super) series: SeriesId,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// The log no longer has the changes that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun;

/// What has changed since a place in the log.
#[derive(Debug)]
pub(super) struct News {
    pub(super) changes: Vec<LoggedChange>,
    /// Place after them.
    pub(super) cursor: u64,
    /// Changes before them were dropped.
    pub(super) overrun: bool,
    /// Changes of open windows.
    pub(super) live: Vec<LoggedChange>,
    /// Some of those were dropped.
    pub(super) live_overrun: bool,
    /// All series have lower ids than this.
    pub(super) next_series: SeriesId,
}

#[derive(Debug)]
struct Log {
    entries: VecDeque<LoggedChange>,
    /// Number of the first entry.
    first: u64,
    live: VecDeque<LoggedChange>,
    live_overrun: bool,
    next_series: SeriesId,
    /// Somebody waits; somebody asked to wake them.
    waiting: bool,
    woken: bool,
}

impl Log {
    fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            live: VecDeque::new(),
            live_overrun: false,
            next_series: SeriesId::new(0),
            waiting: false,
            woken: false,
        }
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn copy(&self, from: u64, most: usize) -> Result<Vec<LoggedChange>, Overrun> {
        if from < self.first || from > self.end() {
            return Err(Overrun);
        }
        let skipped = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        Ok(self.entries.iter().skip(skipped).take(most).copied().collect())
    }
}

/// Changes by number, the latest of them, within a bound.
#[derive(Debug)]
pub(super) struct ChangeLog {
    log: Mutex<Log>,
    wake: Condvar,
    recording: AtomicBool,
    /// Subscriptions that want changes of open windows.
    live_wanted: AtomicUsize,
    entries_max: usize,
}

impl ChangeLog {
    /// An empty log of at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            log: Mutex::new(Log::new()),
            wake: Condvar::new(),
            recording: AtomicBool::new(false),
            live_wanted: AtomicUsize::new(0),
            entries_max: (bytes_max / size_of::<LoggedChange>()).max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to record: from now on, tokens may refer to the log.
    pub(super) fn record(&self) {
        self.recording.store(true, Ordering::Release);
    }

    /// A subscription wants changes of open windows, or no longer.
    pub(super) fn want_live(&self, wanted: bool) {
        if wanted {
            self.live_wanted.fetch_add(1, Ordering::AcqRel);
        } else {
            self.live_wanted.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Number of the next change.
    pub(super) fn end(&self) -> u64 {
        self.lock().end()
    }

    /// Some changes from a number on.
    ///
    /// # Errors
    /// They are no longer there, or never were.
    pub(super) fn read(&self, from: u64) -> Result<Vec<LoggedChange>, Overrun> {
        self.lock().copy(from, CHANGES_AT_ONCE)
    }

    /// Wakes whoever waits for news.
    pub(super) fn wake(&self) {
        let mut log = self.lock();
        log.woken = true;
        self.notify(log);
    }

    fn notify(&self, mut log: MutexGuard<'_, Log>) {
        let waiting = std::mem::take(&mut log.waiting);
        drop(log);
        if waiting {
            self.wake.notify_one();
        }
    }

    /// What has changed since a place; waits for that, for [`Self::wake`], or for the time to pass.
    pub(super) fn news(&self, cursor: u64, timeout: Duration) -> News {
        let mut log = self.lock();
        let idle =
            |log: &mut Log| !log.woken && log.end() == cursor && log.live.is_empty() && !log.live_overrun;
        if idle(&mut log) && !timeout.is_zero() {
            log.waiting = true;
            let waited = self.wake.wait_timeout_while(log, timeout, |log| idle(log));
            log = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (log.waiting, log.woken) = (false, false);
        let copied = log.copy(cursor, CHANGES_AT_ONCE);
        let overrun = copied.is_err();
        let changes = copied.unwrap_or_default();
        let cursor = if overrun { log.end() } else { cursor + changes.len() as u64 };
        let taken = log.live.len().min(CHANGES_AT_ONCE);
        let live = log.live.drain(..taken).collect();
        let live_overrun = std::mem::take(&mut log.live_overrun);
        News { changes, cursor, overrun, live, live_overrun, next_series: log.next_series }
    }
}

impl ChangeListener for ChangeLog {
    fn listens(&self, live: bool) -> bool {
        match live {
            true => self.live_wanted.load(Ordering::Acquire) > 0,
            false => self.recording.load(Ordering::Acquire),
        }
    }

    fn changed(&self, changes: &[Change], live: bool, next_series: SeriesId) {
        let logged = changes.iter().map(|Change { series, from, to }| LoggedChange {
            series: *series,
            from_ms: from.as_millis(),
            to_ms: to.as_millis(),
        });
        let mut log = self.lock();
        log.next_series = log.next_series.max(next_series);
        let most = self.entries_max;
        if live {
            log.live.extend(logged);
            if log.live.len() > most {
                log.live.clear();
                log.live_overrun = true;
            }
        } else {
            log.entries.extend(logged);
            let excess = log.entries.len().saturating_sub(most);
            drop(log.entries.drain(..excess));
            log.first += excess as u64;
        }
        self.notify(log);
    }
}

#[cfg(test)]
mod tests {
    use catchment_partial::Timestamp;

    use super::*;

    fn id(number: u64) -> SeriesId {
        SeriesId::new(number)
    }

    fn change(series: u64) -> Change {
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        Change { series: id(series), from: at(1_000), to: at(2_000) }
    }

    fn series(news: &News) -> Vec<u64> {
        news.changes.iter().map(|change| change.series.number()).collect()
    }

    #[test]
    fn changes_are_read_in_order_from_a_place_on() {
        let log = ChangeLog::new(1 << 20);
        assert!(!log.listens(false));
        log.record();
        assert!(log.listens(false) && !log.listens(true));
        log.changed(&[change(1), change(2)], false, id(3));
        let news = log.news(0, Duration::ZERO);
        assert_eq!(
            (series(&news), news.cursor, news.next_series, news.overrun),
            (vec![1, 2], 2, id(3), false)
        );
        log.changed(&[change(3)], false, id(4));
        let news = log.news(2, Duration::from_secs(3_600));
        assert_eq!((series(&news), news.cursor), (vec![3], 3));
        assert_eq!(log.read(1).unwrap().len(), 2);
        assert_eq!(log.read(3), Ok(Vec::new()));
        assert_eq!(log.read(4), Err(Overrun), "a number that never was");
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_gone_and_that_is_noticed() {
        let log = ChangeLog::new(3 * size_of::<LoggedChange>());
        log.record();
        (0..5).for_each(|number| log.changed(&[change(number)], false, id(number + 1)));
        assert_eq!(log.read(1), Err(Overrun));
        assert_eq!(log.read(2).unwrap().len(), 3);
        let news = log.news(0, Duration::ZERO);
        assert_eq!((news.overrun, news.cursor, news.changes.len()), (true, 5, 0));
        let news = log.news(5, Duration::ZERO);
        assert!(!news.overrun && news.changes.is_empty());
        log.want_live(true);
        assert!(log.listens(true));
        (0..5).for_each(|number| log.changed(&[change(number)], true, id(5)));
        let news = log.news(5, Duration::ZERO);
        assert!(news.live_overrun && news.live.len() < 4 && !news.overrun);
        log.want_live(false);
        assert!(!log.listens(true));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let log = ChangeLog::new(1 << 20);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| log.news(0, Duration::from_secs(3_600)));
            log.wake();
            assert_eq!(waiting.join().unwrap().cursor, 0);
        });
    }
}
