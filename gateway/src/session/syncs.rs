//! Who waits for the journal's next sync: the sessions of a worker with answers that are not durable yet.
//!
//! One task of the worker follows the journal and tells exactly those whose position is reached; a session without
//! such answers is not woken, however many there are.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use catchment_journal::{Commit, Position};

use super::answers::Answers;

/// The syncs of a worker's journal.
#[derive(Debug, Default)]
pub struct Syncs {
    durable: Cell<Position>,
    failed: Cell<bool>,
    /// Each session at most once.
    waiting: RefCell<Vec<(Position, Rc<Answers>)>>,
}

impl Syncs {
    /// Everything below is durable.
    pub fn durable(&self) -> Position {
        self.durable.get()
    }

    /// Whether nothing will become durable any more.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Tells the answers once the journal is synced up to a position.
    pub fn wait(&self, until: Position, answers: &Rc<Answers>) {
        self.waiting.borrow_mut().push((until, Rc::clone(answers)));
    }

    /// The journal says how far it is synced.
    pub fn synced(&self, commit: &Commit) {
        self.durable.set(commit.durable);
        self.failed.set(commit.poisoned.is_some());
        self.waiting.borrow_mut().retain(|(until, answers)| {
            let told = *until <= commit.durable || commit.poisoned.is_some();
            if told {
                answers.synced();
            }
            !told
        });
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
    fn only_those_are_woken_whose_answers_are_durable() {
        let syncs = Syncs::default();
        let sessions: Vec<_> = [10, 20]
            .map(|position| {
                let (answers, woken) = (Rc::new(Answers::default()), Arc::new(Woken::default()));
                answers.register(&Arc::clone(&woken).into());
                answers.ack(Position::new(position), 1, std::time::Duration::ZERO);
                let until = answers.awaits().unwrap();
                assert_eq!(answers.awaits(), None, "waited for already");
                syncs.wait(until, &answers);
                (answers, woken)
            })
            .into();
        let told = || -> Vec<u32> {
            sessions.iter().map(|(_, woken)| woken.0.load(std::sync::atomic::Ordering::Relaxed)).collect()
        };
        let commit = |durable| Commit { durable: Position::new(durable), poisoned: None, full: false };
        syncs.synced(&commit(9));
        assert_eq!(told(), [0, 0]);
        syncs.synced(&commit(10));
        assert_eq!(told(), [1, 0]);
        syncs.synced(&commit(15));
        assert_eq!(told(), [1, 0]);
        syncs.synced(&Commit { poisoned: Some("broken".into()), ..commit(15) });
        assert_eq!(told(), [1, 1], "nothing more will come");
        assert!(syncs.has_failed());
    }
}
