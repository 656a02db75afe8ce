//! Who watches what: the subscriptions, which queries they share, and which queries each series belongs to.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use catchment_proto::OperatorId;
use catchment_settings::supervise::Supervisor;
use futures_util::FutureExt as _;

use super::{
    changes::ChangeLog,
    error::WatchError,
    request::Request,
    shares::Memory,
    state::{Operator, State},
    subscription::{Opener, Subscription},
    watched::Watched,
    watermarks::Watermarks,
};
use crate::{
    access::CallingOperator,
    config::{QueryLimits, WatchLimits},
    ingest::StreamRegistry,
    metrics::Metrics,
    query::{error::QueryError, runner::Runner, workers::Workers},
    store::{ChangeListener, QueryStore},
};

/// Changes within this time are sent together, and the rounds of subscriptions are spread over a part of it.
const COALESCE: Duration = Duration::from_millis(20);
const SPREAD_MS: u64 = 20;
/// Deadlines are kept in ticks of this many milliseconds.
const TICK_MS: u64 = 5;
/// Memory of a subscription without its series, with its dirty ranges.
const SUBSCRIPTION_BYTES: usize = 24 << 10;

/// What all parts of watching share.
pub(super) struct Hub {
    pub(super) store: Arc<dyn QueryStore>,
    pub(super) streams: Arc<StreamRegistry>,
    /// How far ahead of the clock a watermark is believed.
    pub(super) clock_tolerance: Duration,
    pub(super) workers: Arc<Workers>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: WatchLimits,
    pub(super) queries: QueryLimits,
    pub(super) log: Arc<ChangeLog>,
    pub(super) memory: Arc<Memory>,
    pub(super) watermarks: Watermarks,
    /// Random: tokens of another run refer to another log.
    pub(super) run: u64,
    /// Changes before this place in the log were passed on. Set with the state locked.
    pub(super) cursor: AtomicU64,
    base: Instant,
    stopping: AtomicBool,
    state: Mutex<State>,
}

/// Watching, from the start of the server to its stop.
pub(crate) struct WatchHub(pub(super) Arc<Hub>);

impl Drop for WatchHub {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl WatchHub {
    /// Starts the thread that passes on changes.
    ///
    /// # Errors
    /// The system refused a thread.
    pub(crate) fn start(
        store: Arc<dyn QueryStore>,
        runner: &Runner,
        (streams, clock_tolerance): (&Arc<StreamRegistry>, Duration),
        metrics: &Arc<Metrics>,
        limits: WatchLimits,
        supervisor: &Arc<Supervisor>,
    ) -> io::Result<Self> {
        let log = Arc::new(ChangeLog::new(limits.changes_bytes_max));
        store.listen(Arc::clone(&log) as Arc<dyn ChangeListener>);
        let hub = Arc::new(Hub {
            store,
            streams: Arc::clone(streams),
            clock_tolerance,
            workers: runner.workers(),
            metrics: Arc::clone(metrics),
            limits,
            queries: runner.limits(),
            log,
            memory: Memory::new(limits.memory_max),
            watermarks: Watermarks::default(),
            run: RandomState::new().build_hasher().finish(),
            cursor: AtomicU64::new(0),
            base: Instant::now(),
            stopping: AtomicBool::new(false),
            state: Mutex::default(),
        });
        metrics.watch.set_memory_max(limits.memory_max);
        let (thread, next_series) = (Arc::clone(&hub), hub.log.news(0, Duration::ZERO).next_series);
        let supervised = supervisor.task("watch thread", |_| (), async move { thread.run(next_series) });
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            // Never waits as a future; it is one only so that the supervisor can watch it.
            supervised.now_or_never();
        })?;
        Ok(Self(hub))
    }

    /// Ends all subscriptions, once a server that stops asks for it, and opens no more.
    pub(crate) fn stop_when(&self, stopping: impl Future<Output = ()> + Send + 'static) {
        let hub = Arc::downgrade(&self.0);
        // Detached: ends with the server.
        drop(tokio::spawn(async move {
            stopping.await;
            if let Some(hub) = hub.upgrade() {
                hub.stop();
            }
        }));
    }
}

impl Hub {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.log.wake();
    }

    /// Whether an operator may open another subscription.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn check_room(&self, state: &State, operator: &OperatorId) -> Result<(), WatchError> {
        let watches = state.subscriptions.len();
        let own = state.operators.get(operator).map_or(0, |operator| operator.subscriptions);
        let free = self.limits.watches_max.saturating_sub(watches);
        match own >= self.limits.per_operator_max || own >= free {
            true => Err(WatchError::TooMany { watches, own }),
            false => Ok(()),
        }
    }

    /// Opens a subscription; its first round begins at once.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn open(
        self: &Arc<Self>,
        caller: &CallingOperator,
        request: Request,
    ) -> Result<Arc<Subscription>, WatchError> {
        let Request { plan, key, hash, from_ms, open_windows, resume } = request;
        self.log.record();
        let mut state = self.lock();
        if self.is_stopping() {
            return Err(WatchError::Stopping);
        }
        let state_ref = &mut *state;
        self.check_room(state_ref, &caller.operator)?;
        let operator = state_ref.operators.entry(caller.operator.clone()).or_insert_with(|| Operator {
            subscriptions: 0,
            share: self.memory.share(),
            ready: VecDeque::new(),
            pumping: false,
        });
        operator.subscriptions += 1;
        let share = Arc::clone(&operator.share);
        let store = &self.store;
        let watched = state_ref
            .watched
            .entry(key)
            .or_insert_with_key(|key| Arc::new(Watched::new(Arc::clone(store), plan, key.clone(), hash)));
        let opener =
            Opener { operator: caller.operator.clone(), disconnect: caller.disconnect.clone(), share };
        let id = state_ref.next_id;
        state_ref.next_id += 1;
        let subscription =
            Subscription::new(id, opener, Arc::clone(watched), (from_ms, open_windows), resume);
        state_ref.subscriptions.insert(id, Arc::clone(&subscription));
        if open_windows {
            self.log.want_live(true);
        }
        self.metrics.watch.subscriptions.set(state_ref.subscriptions.len() as i64);
        drop(state);
        // It may sleep for long while there are no subscriptions.
        self.log.wake();
        self.enqueue(&subscription);
        Ok(subscription)
    }

    /// The reader of a subscription is gone.
    pub(super) fn leave(&self, subscription: &Arc<Subscription>) {
        subscription.ended.store(true, Ordering::Release);
        self.lock().leaving.push(Arc::clone(subscription));
        self.log.wake();
    }

    /// Ends a subscription with an error, which its reader may take a while to read.
    pub(super) fn fail(&self, subscription: &Arc<Subscription>, error: WatchError) {
        if subscription.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::info!(operator = %subscription.operator, %error, "a watch ended");
        Metrics::count(&self.metrics.watch.ended, error.reason());
        // Unread messages take memory; of those that are read, the reader gets all first.
        let in_place = matches!(error, WatchError::Query(_) | WatchError::Memory(_));
        subscription.outbox.end(error.into(), in_place);
        let mut state = self.lock();
        state.ending.push(Arc::clone(subscription));
        state.leaving.push(Arc::clone(subscription));
        drop(state);
        self.log.wake();
    }

    /// Removes a subscription. On the hub's thread: a query may have many series.
    pub(super) fn remove(&self, subscription: &Arc<Subscription>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.subscriptions.remove(&subscription.id).is_none() {
            return;
        }
        self.metrics.watch.subscriptions.set(state.subscriptions.len() as i64);
        if subscription.open_windows {
            self.log.want_live(false);
        }
        if let Some(operator) = state.operators.get_mut(&subscription.operator) {
            operator.subscriptions -= 1;
            operator.ready.retain(|ready| ready.id != subscription.id);
            if operator.subscriptions == 0 && !operator.pumping {
                state.operators.remove(&subscription.operator);
            }
        }
        let watched = &subscription.watched;
        watched.subscribers().retain(|other| other.id != subscription.id);
        let shared = state.subscriptions.values().any(|other| Arc::ptr_eq(&other.watched, watched));
        if !shared {
            // From here on, nobody adds series to it.
            state.watched.remove(&watched.key);
        }
        drop(guard);
        if !shared {
            self.forget(watched);
        }
        let mut pending = subscription.pending();
        (pending.held, pending.round) = (None, None);
        drop(pending.dirty.take());
    }

    /// Tells a subscription of all further changes; returns the place in the log from which on they are.
    ///
    /// # Errors
    /// Its reader is gone.
    pub(super) fn follow(&self, subscription: &Arc<Subscription>) -> Result<u64, WatchError> {
        let state = self.lock();
        if !state.subscriptions.contains_key(&subscription.id) {
            return Err(QueryError::Gone.into());
        }
        subscription.watched.subscribers().push(Arc::clone(subscription));
        Ok(self.cursor.load(Ordering::Acquire))
    }

    /// Memory of a subscription.
    pub(super) fn bytes(watched: &Watched) -> usize {
        SUBSCRIPTION_BYTES + watched.selected().bytes
    }

    /// Schedules the next round of a subscription that is marked as scheduled: soon, but not before it may.
    pub(super) fn schedule(self: &Arc<Self>, subscription: &Arc<Subscription>) {
        let now = Instant::now();
        let (in_progress, not_before) = {
            let pending = subscription.pending();
            (pending.round.is_some(), pending.not_before)
        };
        if in_progress && not_before.is_none_or(|not_before| not_before <= now) {
            // The rest of a round that its reader waits for.
            return self.enqueue(subscription);
        }
        let tick = self.tick(now, not_before, subscription.id);
        let mut state = self.lock();
        let first = state.due.first_key_value().is_none_or(|(first, _)| tick < *first);
        state.due.entry(tick).or_default().push(Arc::clone(subscription));
        drop(state);
        if first {
            self.log.wake();
        }
    }

    /// The tick of a round that is wanted from now on.
    pub(super) fn tick(&self, now: Instant, not_before: Option<Instant>, id: u64) -> u64 {
        let soon = now + COALESCE + Duration::from_millis(id % SPREAD_MS);
        let at = not_before.map_or(soon, |not_before| soon.max(not_before));
        at.saturating_duration_since(self.base).as_millis() as u64 / TICK_MS + 1
    }

    /// When a tick has come.
    pub(super) fn time_of(&self, tick: u64) -> Instant {
        self.base + Duration::from_millis(tick.saturating_mul(TICK_MS))
    }

    /// Puts a subscription among those of its operator that are to be worked on now.
    pub(super) fn enqueue(self: &Arc<Self>, subscription: &Arc<Subscription>) {
        let mut state = self.lock();
        let Some(operator) = state.operators.get_mut(&subscription.operator) else { return };
        operator.ready.push_back(Arc::clone(subscription));
        let idle = !std::mem::replace(&mut operator.pumping, true);
        drop(state);
        if idle {
            self.pump(&subscription.operator);
        }
    }
}
