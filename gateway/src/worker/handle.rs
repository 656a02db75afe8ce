//! A worker from outside its thread.

use std::{
    cell::Cell,
    num::NonZeroU16,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use actix::Arbiter;
use catchment_certs::Accepted;
use catchment_journal::Position;
use catchment_settings::supervise::Supervisor;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{LiveSlot, Progress, ShardLink, thread::WorkerThread};
use crate::{
    clock::Clock,
    config::Config,
    decode::DecodeLimits,
    intake::StateSupport,
    metrics::Metrics,
    mqtt::connection::MqttOptions,
    raw::SeriesLookup,
    session::{
        Context,
        commit_waiters::CommitWaiters,
        idle,
        protocol::ProtocolOptions,
        table::{SessionBounds, SessionTable},
    },
    shard::{Observation, Shard, ShardCell, ShardLog},
};

/// Most lookups of series that wait for a worker; further ones wait in their tasks.
const LOOKUPS_MAX: usize = 4;
/// Most connections on their way to a worker; the accept tasks of further ones wait.
const ARRIVALS_MAX: usize = 256;

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The gateway's metrics.
    pub metrics: Arc<Metrics>,
    /// Who learns of a defect.
    pub supervisor: Arc<Supervisor>,
    /// Whether the aggregator takes states.
    pub state_support: StateSupport,
}

impl Shared {
    /// Shares these.
    pub fn new(
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
        supervisor: &Arc<Supervisor>,
        state_support: &StateSupport,
    ) -> Self {
        Self {
            clock: Arc::clone(clock),
            metrics: Arc::clone(metrics),
            supervisor: Arc::clone(supervisor),
            state_support: state_support.clone(),
        }
    }
}

/// A running worker, seen from outside its thread.
#[derive(Debug)]
pub struct Worker {
    arbiter: Arbiter,
    logs: [ShardLog; 2],
    arrivals: mpsc::Sender<Accepted>,
    sessions: watch::Receiver<usize>,
    stopped: watch::Receiver<bool>,
    observation: Arc<Mutex<Observation>>,
}

impl Worker {
    /// Starts the thread of shard `index` of `shards`. Must be called within an actix system.
    pub fn start(
        mut shard: Shard,
        (index, shards): (u32, u32),
        config: &Config,
        shared: Shared,
        stopping: watch::Receiver<bool>,
    ) -> (Self, ShardLink) {
        let (arrivals, arriving) = mpsc::channel(ARRIVALS_MAX);
        let (session_count, sessions) = watch::channel(0);
        let (progress, progress_seen) = watch::channel(Progress::default());
        let (stopped_tx, stopped) = watch::channel(false);
        let observation = Arc::new(Mutex::new(shard.observe()));
        let (lookups, asked) = mpsc::channel(LOOKUPS_MAX);
        let (live, seen) = (Arc::new(LiveSlot::default()), Arc::clone(&observation));
        let link = link(index, &shard, progress_seen, &live, lookups);
        let (limits, protocols, bounds) = of_sessions(config, shards);
        let (series_max, past_max, future_max) = (config.series_max, config.past_max, config.future_max);
        let (sessions_max, grace, live_every) = (config.sessions_max, config.grace, config.live);
        let logs = [shard.journal().clone(), shard.outbox().clone()];
        let Shared { clock, metrics, supervisor, state_support } = shared;
        let arbiter = Arbiter::new();
        arbiter.spawn_fn(move || {
            let (journal, commit_requested) = (shard.journal().clone(), Arc::new(Notify::new()));
            shard.defer_commits(Arc::clone(&commit_requested));
            let context = Rc::new(Context {
                limits,
                series_max,
                protocols,
                past_max,
                future_max,
                clock,
                shard: Rc::new(ShardCell::new(shard)),
                commit_waiters: CommitWaiters::default(),
                supervisor: Arc::clone(&supervisor),
                session_table: SessionTable::new(bounds),
                state_support,
                metrics,
                ending: CancellationToken::new(),
            });
            let inner = Rc::new(WorkerThread {
                index,
                supervisor,
                context,
                journal,
                actors: Rc::default(),
                sessions_max,
                session_count: Arc::new(session_count),
                next_session: Cell::new(1),
                progress,
                observation: seen,
                stopping,
            });
            inner.supervise("idle sessions", idle::end_idle_sessions(Rc::clone(&inner.context)));
            inner.supervise("receive", Rc::clone(&inner).receive(arriving));
            inner.supervise("begin commits", Rc::clone(&inner).group_commits(commit_requested));
            inner.supervise("follow commits", Rc::clone(&inner).follow_commits());
            inner.supervise("lookups", Rc::clone(&inner).answer_lookups(asked));
            inner.supervise("tick", Rc::clone(&inner).tick(grace));
            inner.supervise("end sessions", Rc::clone(&inner).end_sessions());
            if let Some(every) = live_every {
                inner.supervise("send live", Rc::clone(&inner).send_live(every, live));
            }
            inner.supervise("checkpoints", Rc::clone(&inner).run_checkpoints(stopped_tx));
        });
        (Self { arbiter, logs, arrivals, sessions, stopped, observation }, link)
    }

    /// Where connections of this worker's devices go.
    pub fn arrivals(&self) -> mpsc::Sender<Accepted> {
        self.arrivals.clone()
    }

    /// Values for the metrics.
    pub fn observation(&self) -> Observation {
        *self.observation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its shard still takes and acknowledges.
    pub fn is_healthy(&self) -> bool {
        self.logs.iter().all(|log| log.poisoned().is_none())
    }

    /// Waits until all sessions have ended. Cancel safe.
    pub async fn sessions_ended(&self) {
        let _ = self.sessions.clone().wait_for(|count| *count == 0).await;
    }

    /// Waits for the last checkpoint, which the worker takes when it stops.
    pub async fn finished(&self) {
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    /// Ends the thread; tasks that still run are dropped.
    pub fn stop(self) {
        self.arbiter.stop();
        let _ = self.arbiter.join();
    }
}

/// The shard as the uplink sees it.
fn link(
    index: u32,
    shard: &Shard,
    progress: watch::Receiver<Progress>,
    live: &Arc<LiveSlot>,
    lookups: mpsc::Sender<SeriesLookup>,
) -> ShardLink {
    let (outbox, journal) = (shard.outbox().clone(), shard.journal().clone());
    let acknowledged = watch::Sender::new(Position::ZERO);
    ShardLink { index, outbox, journal, lookups, progress, live: Arc::clone(live), acknowledged }
}

/// Limits of messages, protocol options, and the bounds of sessions of one of `shards` workers.
fn of_sessions(config: &Config, shards: u32) -> (DecodeLimits, ProtocolOptions, SessionBounds) {
    let limits = DecodeLimits {
        message_bytes_max: config.message_bytes_max,
        readings_max: config.readings_max,
        ..DecodeLimits::default()
    };
    let mqtt = MqttOptions {
        topics: Arc::clone(&config.topics),
        receive_max: NonZeroU16::new(config.mqtt_receive_max).unwrap_or(NonZeroU16::MIN),
    };
    let (precision, json) = (config.line_protocol_precision, Arc::clone(&config.json));
    (limits, ProtocolOptions { precision, json, mqtt }, SessionBounds::of(config, shards))
}
