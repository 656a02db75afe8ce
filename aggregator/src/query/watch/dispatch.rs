//! The hub's thread: changes to dirty points, new series to queries, and rounds that are due to the query threads.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    changes::{LoggedChange, News},
    error::WatchError,
    hub::Hub,
    state::{Member, State},
    subscription::Subscription,
    watched::{Phase, Watched},
};
use crate::{
    clock,
    metrics::Metrics,
    query::error::QueryError,
    store::{SeriesEntry, SeriesId},
};

/// Interval of the looks at all subscriptions: readers that do not read, heartbeats.
const SWEEP: Duration = Duration::from_millis(250);
/// The same while there are none.
const IDLE: Duration = Duration::from_secs(10);
/// Without changes, progress is reported this often: the time up to which answers are complete moves on.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Longest time in a row for which new series are matched.
const MATCHING: Duration = Duration::from_millis(2);

/// Why everything is sent again.
pub(super) const OVERRUN: &str = "more has changed than the change log (watch_changes) held";

/// New series that are matched with the queries.
struct Matching {
    /// Series with lower ids were matched, or are among the entries.
    listed: SeriesId,
    /// The next ones.
    entries: VecDeque<SeriesEntry>,
    /// Closed windows of series that were not matched yet: from the first to the last, Unix milliseconds.
    closed: HashMap<SeriesId, (i64, i64)>,
}

impl Matching {
    /// Whether a series was not matched yet.
    fn is_new(&self, series: SeriesId) -> bool {
        series >= self.entries.front().map_or(self.listed, |entry| entry.id)
    }

    /// Notes a change of a series that was not matched yet.
    fn note(&mut self, change: &LoggedChange) {
        let closed = self.closed.entry(change.series).or_insert((change.from_ms, change.to_ms));
        *closed = (closed.0.min(change.from_ms), closed.1.max(change.to_ms));
    }
}

impl Hub {
    /// Passes on changes until the server stops. Series with lower ids than `next_series` are there already, so they
    /// are selected when a subscription begins.
    pub(super) fn run(self: &Arc<Self>, next_series: SeriesId) {
        let mut matching = Matching { listed: next_series, entries: VecDeque::new(), closed: HashMap::new() };
        let (mut sweep_at, mut next_series) = (Instant::now(), next_series);
        while !self.is_stopping() {
            let timeout = self.idle_time(&self.lock(), sweep_at);
            let matched = matching.entries.is_empty() && matching.listed >= next_series;
            let timeout = if matched { timeout } else { Duration::ZERO };
            let news = self.log.news(self.cursor.load(Ordering::Acquire), timeout);
            self.dispatch(&news, &mut matching);
            next_series = news.next_series;
            self.match_new(&mut matching, next_series);
            self.start_due();
            let leaving = std::mem::take(&mut self.lock().leaving);
            leaving.iter().for_each(|subscription| self.remove(subscription));
            if Instant::now() >= sweep_at {
                self.sweep();
                sweep_at = Instant::now() + SWEEP;
            }
        }
        let all: Vec<_> = self.lock().subscriptions.values().cloned().collect();
        all.iter().for_each(|subscription| self.fail(subscription, WatchError::Stopping));
        // Queries and subscriptions refer to one another until then.
        all.iter().for_each(|subscription| self.remove(subscription));
    }

    /// How long there is nothing to do unless something changes.
    fn idle_time(&self, state: &State, sweep_at: Instant) -> Duration {
        let due = state.due.first_key_value().map(|(tick, _)| self.time_of(*tick));
        let nobody = state.subscriptions.is_empty() && state.ending.is_empty();
        let sweep_at = if nobody { Instant::now() + IDLE } else { sweep_at };
        due.map_or(sweep_at, |due| due.min(sweep_at)).saturating_duration_since(Instant::now())
    }

    /// Marks the points that have changed.
    fn dispatch(self: &Arc<Self>, news: &News, matching: &mut Matching) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if news.overrun || news.live_overrun {
            for subscription in state.subscriptions.values().cloned().collect::<Vec<_>>() {
                if (news.overrun || subscription.open_windows) && subscription.reset_all(OVERRUN) {
                    self.make_due(state, &subscription);
                }
            }
        }
        for change in &news.changes {
            if matching.is_new(change.series) {
                matching.note(change);
            }
            self.mark(state, change, false);
        }
        news.live.iter().for_each(|change| self.mark(state, change, true));
        self.cursor.store(news.cursor, Ordering::Release);
    }

    fn mark(self: &Arc<Self>, state: &mut State, change: &LoggedChange, live: bool) {
        // Taken out, because subscriptions become due.
        let Some(queries) = state.by_series.get_mut(&change.series).map(std::mem::take) else { return };
        for member in &queries {
            self.mark_group(state, member, (change.from_ms, change.to_ms), live);
        }
        state.by_series.insert(change.series, queries);
    }

    fn mark_group(
        self: &Arc<Self>,
        state: &mut State,
        Member { watched, group, gateway }: &Member,
        (from_ms, to_ms): (i64, i64),
        live: bool,
    ) {
        let points = watched.points(from_ms, to_ms);
        let groups = {
            let mut selected = watched.selected();
            selected.gateways.extend(*gateway, (from_ms, to_ms), clock::now_ms());
            selected.groups.len()
        };
        for subscription in watched.subscribers().iter() {
            if (!live || subscription.open_windows) && subscription.mark(*group, points, groups) {
                self.make_due(state, subscription);
            }
        }
    }

    fn make_due(&self, state: &mut State, subscription: &Arc<Subscription>) {
        let not_before = subscription.pending().not_before;
        let tick = self.tick(Instant::now(), not_before, subscription.id);
        state.due.entry(tick).or_default().push(Arc::clone(subscription));
    }

    /// Passes rounds that are due to the query threads.
    fn start_due(self: &Arc<Self>) {
        let now = Instant::now();
        let mut due = Vec::new();
        {
            let mut state = self.lock();
            while let Some(first) = state.due.first_entry()
                && self.time_of(*first.key()) <= now
            {
                due.extend(first.remove());
            }
        }
        due.iter().for_each(|subscription| self.enqueue(subscription));
    }

    /// Matches new series with the queries, for a short while.
    fn match_new(self: &Arc<Self>, matching: &mut Matching, next_series: SeriesId) {
        if matching.entries.is_empty() && matching.listed < next_series {
            let page = self.store.series_page(matching.listed);
            matching.listed = page.next.unwrap_or(next_series).max(matching.listed);
            // Those beyond are listed again.
            let listed = matching.listed;
            matching.entries = page.entries.into_iter().filter(|entry| entry.id < listed).collect();
        }
        if matching.entries.is_empty() && matching.closed.is_empty() {
            return;
        }
        let watched: Vec<_> = self.lock().watched.values().cloned().collect();
        let begun = Instant::now();
        while begun.elapsed() < MATCHING
            && let Some(entry) = matching.entries.pop_front()
        {
            let closed = matching.closed.remove(&entry.id);
            watched.iter().for_each(|watched| self.add_series(watched, &entry, closed));
        }
        if matching.entries.is_empty() {
            let listed = matching.listed;
            matching.closed.retain(|series, _| *series >= listed);
        }
    }

    /// Adds a new series to a query, with its windows: closed ones if there are any.
    fn add_series(self: &Arc<Self>, watched: &Arc<Watched>, entry: &SeriesEntry, closed: Option<(i64, i64)>) {
        // Before the lock: a regular expression may be expensive.
        let groups = watched.groups_of(entry);
        if groups.is_empty() {
            return;
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let (first, last) = (entry.windows.0.as_millis(), entry.windows.1.as_millis());
        let added: Result<Vec<Member>, WatchError> = {
            let mut selected = watched.selected();
            if selected.phase == Phase::New || state.belongs(entry.id, watched) {
                // It will be selected, or was.
                return;
            }
            let gateway = selected.gateways.add(&entry.gateway, (first, last), clock::now_ms());
            let groups = groups.into_iter().map(|group| selected.add(group, self.limits.series_max));
            groups.map(|group| Ok(Member { watched: Arc::clone(watched), group: group?, gateway })).collect()
        };
        match added {
            Ok(members) => {
                state.by_series.entry(entry.id).or_default().extend(members.iter().cloned());
                for member in &members {
                    self.mark_group(state, member, (first, last.saturating_add(1)), true);
                    if let Some(closed) = closed {
                        self.mark_group(state, member, closed, false);
                    }
                }
            }
            Err(_) => {
                let subscribers = watched.subscribers().clone();
                drop(guard);
                let max = self.limits.series_max;
                subscribers.iter().for_each(|of| self.fail(of, WatchError::Series { max }));
            }
        }
    }

    /// Begins again to work for operators whose work was refused, because they had too many queries waiting.
    fn pump_again(self: &Arc<Self>) {
        let mut idle = Vec::new();
        for (name, operator) in &mut self.lock().operators {
            if !operator.ready.is_empty() && !std::mem::replace(&mut operator.pumping, true) {
                idle.push(name.clone());
            }
        }
        idle.iter().for_each(|operator| self.pump(operator));
    }

    /// Looks at all subscriptions: ends those whose reader does not read, and reports progress.
    fn sweep(self: &Arc<Self>) {
        let now = Instant::now();
        self.metrics.watch.memory.set(i64::try_from(self.memory.used()).unwrap_or(i64::MAX));
        let (all, ending) = {
            let mut state = self.lock();
            (state.subscriptions.values().cloned().collect::<Vec<_>>(), std::mem::take(&mut state.ending))
        };
        let longest = self.queries.read_timeout;
        let unread = |of: &Subscription| of.outbox.unread(now).is_some_and(|unread| unread >= longest);
        for subscription in &all {
            if unread(subscription) {
                self.fail(subscription, QueryError::Unread(longest).into());
                continue;
            }
            if subscription.wants_heartbeat(now, HEARTBEAT) {
                self.schedule(subscription);
            }
        }
        self.pump_again();
        let mut left = Vec::new();
        for subscription in ending {
            if subscription.outbox.is_over() {
                continue;
            }
            if unread(&subscription) {
                // It does not even read the error, which keeps HTTP/2 buffers occupied.
                let operator = &subscription.operator;
                tracing::info!(%operator, "a connection was cut because it does not read its watch");
                Metrics::count(&self.metrics.connections_cut, "answers_not_read");
                subscription.disconnect.trigger();
                continue;
            }
            left.push(subscription);
        }
        self.lock().ending.extend(left);
    }
}
