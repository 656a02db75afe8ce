//! A worker's background tasks: checkpoints, and live batches of open windows.

use std::{rc::Rc, sync::Arc, time::Duration};

use catchment_journal::{Commit, Position};
use catchment_settings::supervise::resume_panic;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{LiveSlot, thread::WorkerThread};
use crate::turns::Slice;

/// How often to check whether a checkpoint is due.
const CHECKPOINT_CHECK_EVERY: Duration = Duration::from_millis(500);

impl WorkerThread {
    /// Takes checkpoints, and the last one once all sessions have ended.
    pub(super) async fn run_checkpoints(self: Rc<Self>, stopped: watch::Sender<bool>) {
        let mut stopping = self.stopping.clone();
        let mut session_count = self.session_count.subscribe();
        loop {
            let last = tokio::select! {
                () = sleep(CHECKPOINT_CHECK_EVERY) => false,
                _ = stopping.wait_for(|stopping| *stopping) => {
                    let _ = session_count.wait_for(|count| *count == 0).await;
                    true
                }
            };
            let due = {
                let mut shard = self.context.shard.borrow_mut();
                shard.expire_raw();
                if last { shard.changed_since_checkpoint() } else { shard.checkpoint_due() }
            };
            if due && let Err(error) = self.checkpoint().await {
                tracing::warn!(
                    condition = "no_checkpoint", %error,
                    "no checkpoint could be written; the journal keeps what is needed"
                );
            }
            if last {
                stopped.send_replace(true);
                return;
            }
        }
    }

    pub(super) async fn checkpoint(&self) -> std::io::Result<()> {
        if !self.context.shard.borrow_mut().begin_capture() {
            return Ok(());
        }
        let capture = loop {
            let slice = Slice::begin();
            let stepped = self.context.shard.borrow_mut().step_capture();
            match stepped {
                Some(capture) => break capture,
                None => slice.give_way().await,
            }
        };
        let (journal, outbox) = {
            let shard = self.context.shard.borrow();
            (shard.journal().clone(), shard.outbox().clone())
        };
        let failed = |_| std::io::Error::other("the log was closed");
        journal
            .subscribe()
            .wait_for(|commit| commit.durable >= capture.position || commit.poisoned.is_some())
            .await
            .map_err(failed)?;
        outbox
            .subscribe()
            .wait_for(|commit| commit.durable >= capture.outbox_end || commit.poisoned.is_some())
            .await
            .map_err(failed)?;
        if !self.context.shard.borrow().may_write(&capture) {
            return Err(std::io::Error::other("the log has failed"));
        }
        let checkpoints = self.context.shard.borrow().checkpoints();
        let parts = capture.parts;
        let writing = tokio::task::spawn_blocking(move || checkpoints.write_parts(&parts));
        resume_panic(writing.await)??;
        self.context.shard.borrow_mut().checkpointed(capture.position);
        Ok(())
    }

    /// Sends the state of open windows, once it is durable.
    pub(super) async fn send_live(self: Rc<Self>, every: Duration, slot: Arc<LiveSlot>) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commits = self.journal.subscribe();
        loop {
            ticks.tick().await;
            // The uplink has not taken the previous batches: the next round includes all changes since.
            let full = slot.take_full_request();
            if !slot.is_empty() && !full {
                continue;
            }
            if full {
                self.context.shard.borrow_mut().restart_live();
            }
            let (mut end, mut batches) = (Position::ZERO, Vec::new());
            loop {
                let slice = Slice::begin();
                let (reflects, more, over) = self.context.shard.borrow_mut().live();
                end = end.max(reflects);
                batches.extend(more);
                if over {
                    break;
                }
                slice.give_way().await;
            }
            let ended = |commit: &Commit| commit.durable >= end || commit.poisoned.is_some();
            match commits.wait_for(ended).await.map(|commit| commit.poisoned.is_some()) {
                Ok(false) => slot.put(batches),
                Ok(true) => std::future::pending().await,
                Err(_) => return,
            }
        }
    }
}
