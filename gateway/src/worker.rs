//! A worker thread: an actix arbiter with one shard, the actors of its devices, and their sessions.
//!
//! Connections come from the accept loop with their handshake made; from there on a reading stays on this
//! thread. Devices are placed by a hash of their name that never changes, because their state lies in the
//! shard's journal.

use std::{
    cell::Cell,
    num::NonZeroU16,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::Arbiter;
use catchment_certs::Accepted;
use catchment_journal::{Commit, Position};
use catchment_proto::Name;
use catchment_settings::supervise::Supervisor;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    decode::DecodeLimits,
    device::{Actors, Connect, CountGuard, SessionId},
    metrics::Metrics,
    mqtt::connection::MqttOptions,
    session::{
        Context,
        commit_waiters::CommitWaiters,
        idle,
        protocol::ProtocolOptions,
        table::{SessionBounds, SessionTable},
    },
    shard::{Backpressure, Observation, Shard, ShardCell, ShardLog},
};

mod link;
mod maintenance;

pub use link::{LiveSlot, Progress, ShardLink};

/// Connections on their way to a worker; beyond, the accept task of each waits.
const ARRIVALS_MAX: usize = 256;
/// How often a worker looks for windows that are due: at most this late, and at least this often.
const TICK_MAX: Duration = Duration::from_millis(200);
const TICK_MIN: Duration = Duration::from_millis(10);

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

/// Where a device's state lies: FNV-1a of its name over the number of shards. Part of the data folder's format.
pub fn shard_of(device: &Name, shards: u32) -> u32 {
    let hash = device.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u32::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}

impl Worker {
    /// Starts the thread of shard `index` of `shards`. Must be called within an actix system.
    pub fn start(
        mut shard: Shard,
        (index, shards): (u32, u32),
        config: &Config,
        clock: Arc<dyn crate::clock::Clock>,
        metrics: Arc<Metrics>,
        supervisor: Arc<Supervisor>,
        stopping: watch::Receiver<bool>,
    ) -> (Self, ShardLink) {
        let (arrivals, arriving) = mpsc::channel(ARRIVALS_MAX);
        let (session_count, sessions) = watch::channel(0);
        let (progress, progress_seen) = watch::channel(Progress::default());
        let (stopped_tx, stopped) = watch::channel(false);
        let observation = Arc::new(Mutex::new(shard.observe()));
        let (live, seen) = (Arc::new(LiveSlot::default()), Arc::clone(&observation));
        let link = ShardLink {
            index,
            outbox: shard.outbox().clone(),
            progress: progress_seen,
            live: Arc::clone(&live),
            acknowledged: watch::Sender::new(Position::ZERO),
        };
        let (limits, protocols, bounds) = of_sessions(config, shards);
        let (series_max, past_max, future_max) = (config.series_max, config.past_max, config.future_max);
        let (sessions_max, grace, live_every) = (config.sessions_max, config.grace, config.live);
        let logs = [shard.journal().clone(), shard.outbox().clone()];
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
                metrics,
                ending: CancellationToken::new(),
            });
            let inner = Rc::new(Inner {
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

    /// Figures for the metrics.
    pub fn observation(&self) -> Observation {
        *self.observation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its shard still takes and acknowledges.
    pub fn is_healthy(&self) -> bool {
        self.logs.iter().all(|log| log.poisoned().is_none())
    }

    /// Waits until all sessions have ended; may be dropped at any await.
    pub async fn sessions_ended(&self) {
        let _ = self.sessions.clone().wait_for(|count| *count == 0).await;
    }

    /// Waits for the last checkpoint, which the worker takes once it is to finish.
    pub async fn finished(&self) {
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    /// Ends the thread; what it still runs is dropped.
    pub fn stop(self) {
        self.arbiter.stop();
        let _ = self.arbiter.join();
    }
}

/// What the configuration says of messages, and of the sessions of one of so many workers.
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

/// What lives on the worker's thread.
struct Inner {
    index: u32,
    supervisor: Arc<Supervisor>,
    context: Rc<Context>,
    journal: ShardLog,
    actors: Rc<Actors>,
    sessions_max: usize,
    session_count: Arc<watch::Sender<usize>>,
    next_session: Cell<SessionId>,
    progress: watch::Sender<Progress>,
    observation: Arc<Mutex<Observation>>,
    stopping: watch::Receiver<bool>,
}

impl Inner {
    /// Runs a task that must live as long as the worker. Its panic poisons the shard.
    fn supervise(&self, task: &str, body: impl Future<Output = ()> + 'static) {
        let journal = self.journal.clone();
        let name = format!("{task} of shard {}", self.index);
        actix::spawn(self.supervisor.task(&name, move |why| journal.poison(why), body));
    }

    /// Takes connections until the accept loop has ended.
    async fn receive(self: Rc<Self>, mut arriving: mpsc::Receiver<Accepted>) {
        while let Some(mut accepted) = arriving.recv().await {
            if let Err(error) = accepted.rebind() {
                tracing::warn!(peer = %accepted.peer.identity, %error, "a connection cannot move to its worker");
                continue;
            }
            let session = self.next_session.replace(self.next_session.get() + 1);
            let count_guard = CountGuard::new(&self.session_count);
            let actor = self.actors.get(accepted.peer.identity.name(), self.sessions_max, &self.context);
            // Fails when a panic has ended the actor: the connection closes, and the next one has a new actor.
            let _ = actor.send(Connect { session, accepted, count_guard }).await;
        }
    }

    /// Tells all sessions when the gateway stops.
    async fn end_sessions(self: Rc<Self>) {
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
        self.context.ending.cancel();
    }

    /// Begins a commit when all sessions that were ready have had their turn. While one is in progress the next one gathers,
    /// until the sessions that the sync woke have written and their devices' replies are read. More devices share each
    /// sync; a lone device is not delayed.
    async fn group_commits(self: Rc<Self>, commit_requested: Arc<Notify>) {
        let mut commits = self.journal.subscribe();
        let mut begun = Position::ZERO;
        loop {
            commit_requested.notified().await;
            let ended = |commit: &Commit| commit.durable >= begun || commit.poisoned.is_some();
            // What it answers holds a lock that the committing thread needs: it is not kept.
            if commits.wait_for(ended).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
            begun = self.journal.end();
            self.journal.request_commit();
        }
    }

    /// After each sync: what became durable moves on.
    async fn follow_commits(self: Rc<Self>) {
        let mut commits = self.journal.subscribe();
        loop {
            let commit = commits.borrow_and_update().clone();
            self.context.commit_waiters.synced(&commit);
            self.publish_progress();
            if commits.changed().await.is_err() {
                return;
            }
        }
    }

    fn publish_progress(&self) {
        let mut shard = self.context.shard.borrow_mut();
        if shard.is_poisoned() {
            // Its windows and watermark may not be what the journal says.
            return;
        }
        shard.append_durable_batches();
        if let Some(progress) = shard.progress() {
            self.progress.send_if_modified(|now| {
                let moved = *now != progress;
                *now = progress;
                moved
            });
        }
        *self.observation.lock().unwrap_or_else(PoisonError::into_inner) = shard.observe();
    }

    /// Closes windows as they fall due.
    async fn tick(self: Rc<Self>, grace: Duration) {
        let mut ticks = interval((grace / 4).clamp(TICK_MIN, TICK_MAX));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                let result = self.context.shard.borrow_mut().tick();
                self.publish_progress();
                match result {
                    Ok(true) => tokio::task::yield_now().await,
                    Ok(false) | Err(Backpressure::Room(_) | Backpressure::Devices(_)) => break,
                    Err(Backpressure::Sync) => sleep(Duration::from_millis(1)).await,
                    // The watcher of the journal ends the gateway.
                    Err(Backpressure::Failed(_)) => std::future::pending().await,
                }
            }
        }
    }
}
