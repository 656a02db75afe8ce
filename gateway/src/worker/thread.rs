//! The tasks of a worker's thread: connections, commits, due windows.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use catchment_certs::Accepted;
use catchment_journal::{Commit, Position};
use catchment_settings::supervise::Supervisor;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use super::Progress;
use crate::{
    device::{Actors, Connect, CountGuard, SessionId},
    session::Context,
    shard::{Backpressure, Observation, ShardLog},
    turns::Slice,
};

/// Longest and shortest interval between two looks for due windows.
const TICK_MAX: Duration = Duration::from_millis(200);
const TICK_MIN: Duration = Duration::from_millis(10);

/// The worker as its own thread sees it.
pub(super) struct WorkerThread {
    pub(super) index: u32,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) context: Rc<Context>,
    pub(super) journal: ShardLog,
    pub(super) actors: Rc<Actors>,
    pub(super) sessions_max: usize,
    pub(super) session_count: Arc<watch::Sender<usize>>,
    pub(super) next_session: Cell<SessionId>,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) observation: Arc<Mutex<Observation>>,
    pub(super) stopping: watch::Receiver<bool>,
}

impl WorkerThread {
    /// Runs a task that must live as long as the worker. Its panic poisons the shard.
    pub(super) fn supervise(&self, task: &str, body: impl Future<Output = ()> + 'static) {
        let journal = self.journal.clone();
        let name = format!("{task} of shard {}", self.index);
        actix::spawn(self.supervisor.task(&name, move |why| journal.poison(why), body));
    }

    /// Takes connections until the accept loop has ended.
    pub(super) async fn receive(self: Rc<Self>, mut arriving: mpsc::Receiver<Accepted>) {
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

    /// Ends all sessions when the gateway stops.
    pub(super) async fn end_sessions(self: Rc<Self>) {
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
        self.context.ending.cancel();
    }

    /// Begins a commit when all ready sessions have had their turn. During a commit messages gather for the next one,
    /// until the sessions that the sync woke have written and their devices' replies are read. More devices share
    /// each sync; a lone device is not delayed.
    pub(super) async fn group_commits(self: Rc<Self>, commit_requested: Arc<Notify>) {
        let mut commits = self.journal.subscribe();
        let mut begun = Position::ZERO;
        loop {
            commit_requested.notified().await;
            let ended = |commit: &Commit| commit.durable >= begun || commit.poisoned.is_some();
            // The result holds a lock that the committing thread needs: it is dropped at once.
            if commits.wait_for(ended).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
            begun = self.journal.end();
            self.journal.request_commit();
        }
    }

    /// After each sync: wakes sessions whose messages became durable, and moves batches to the outbox.
    pub(super) async fn follow_commits(self: Rc<Self>) {
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
            // Its windows and watermark may differ from the journal.
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
    pub(super) async fn tick(self: Rc<Self>, grace: Duration) {
        let mut ticks = interval((grace / 4).clamp(TICK_MIN, TICK_MAX));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                let slice = Slice::begin();
                let result = self.context.shard.borrow_mut().tick();
                self.publish_progress();
                match result {
                    Ok(true) => slice.give_way().await,
                    Ok(false) | Err(Backpressure::Room(_) | Backpressure::Devices(_)) => break,
                    Err(Backpressure::Sync) => sleep(Duration::from_millis(1)).await,
                    // The watcher of the journal ends the gateway.
                    Err(Backpressure::Failed(_)) => std::future::pending().await,
                }
            }
        }
    }
}
