//! The sessions of a worker that wait for a commit: their responses are not durable yet.
//!
//! One task of the worker follows the journal and wakes exactly the sessions whose position is reached; a session
//! without such responses is not woken, however many sessions there are. A session that ends meanwhile takes its responses
//! with it: a sync that takes long keeps the memory of none.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use catchment_journal::{Commit, Position};

use super::responses::ResponseQueue;

/// Up to so many entries, those of sessions that have ended stay until the next sync.
const PRUNE_MIN: usize = 64;

/// How far a worker's journal is synced, and which sessions wait for it.
#[derive(Debug, Default)]
pub struct CommitWaiters {
    durable: Cell<Position>,
    failed: Cell<bool>,
    /// Each session at most once.
    waiting: RefCell<Vec<(Position, Weak<ResponseQueue>)>>,
    /// Entries that were of living sessions when they were looked at last.
    living: Cell<usize>,
}

impl CommitWaiters {
    /// Everything below is durable.
    pub fn durable(&self) -> Position {
        self.durable.get()
    }

    /// Whether nothing will become durable any more.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Wakes the session of these responses once the journal is synced up to a position.
    pub fn wait(&self, until: Position, responses: &Rc<ResponseQueue>) {
        let mut waiting = self.waiting.borrow_mut();
        // Once the list has doubled, so that each entry is looked at a few times at most.
        if waiting.len() >= PRUNE_MIN.max(2 * self.living.get()) {
            waiting.retain(|(_, responses)| responses.strong_count() > 0);
            self.living.set(waiting.len());
        }
        waiting.push((until, Rc::downgrade(responses)));
    }

    /// The journal says how far it is synced.
    pub fn synced(&self, commit: &Commit) {
        self.durable.set(commit.durable);
        self.failed.set(commit.poisoned.is_some());
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|(until, responses)| {
            let done = *until <= commit.durable || commit.poisoned.is_some();
            if done && let Some(responses) = responses.upgrade() {
                responses.synced();
            }
            !done
        });
        self.living.set(waiting.len());
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn only_sessions_with_durable_responses_are_woken() {
        let commit_waiters = CommitWaiters::default();
        let sessions: Vec<_> = [10, 20]
            .map(|position| {
                let (responses, woken) = (Rc::new(ResponseQueue::default()), Arc::new(Woken::default()));
                responses.register(&Arc::clone(&woken).into());
                responses.ack(Position::new(position), 1, std::time::Duration::ZERO);
                let until = responses.next_awaited().unwrap();
                assert_eq!(responses.next_awaited(), None, "waited for already");
                commit_waiters.wait(until, &responses);
                (responses, woken)
            })
            .into();
        let woken = || -> Vec<u32> {
            sessions.iter().map(|(_, woken)| woken.0.load(std::sync::atomic::Ordering::Relaxed)).collect()
        };
        let commit = |durable| Commit { durable: Position::new(durable), poisoned: None, full: false };
        commit_waiters.synced(&commit(9));
        assert_eq!(woken(), [0, 0]);
        commit_waiters.synced(&commit(10));
        assert_eq!(woken(), [1, 0]);
        commit_waiters.synced(&commit(15));
        assert_eq!(woken(), [1, 0]);
        commit_waiters.synced(&Commit { poisoned: Some("broken".into()), ..commit(15) });
        assert_eq!(woken(), [1, 1], "nothing more will come");
        assert!(commit_waiters.has_failed());
    }

    #[test]
    fn a_session_that_ends_before_the_sync_leaves_nothing_behind() {
        let commit_waiters = CommitWaiters::default();
        let ended: Vec<_> = (0..10_000)
            .map(|_| {
                let responses = Rc::new(ResponseQueue::default());
                responses.push(Position::new(10), vec![0; 1_000]);
                commit_waiters.wait(responses.next_awaited().unwrap(), &responses);
                assert!(commit_waiters.waiting.borrow().len() <= PRUNE_MIN);
                Rc::downgrade(&responses)
            })
            .collect();
        assert!(ended.iter().all(|responses| responses.strong_count() == 0));
        // Those that live stay, and are woken.
        let living: Vec<_> = (0..200).map(|_| Rc::new(ResponseQueue::default())).collect();
        for responses in &living {
            responses.ack(Position::new(10), 1, std::time::Duration::ZERO);
            commit_waiters.wait(responses.next_awaited().unwrap(), responses);
        }
        assert!((200..=400).contains(&commit_waiters.waiting.borrow().len()));
        commit_waiters.synced(&Commit { durable: Position::new(10), poisoned: None, full: false });
        assert!(living.iter().all(|responses| responses.next_awaited().is_some()));
        assert!(commit_waiters.waiting.borrow().is_empty());
    }
}
