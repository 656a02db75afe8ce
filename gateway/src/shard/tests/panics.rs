//! A panic while a shard is changed: nothing more is taken or acknowledged, and the next start reads what the journal
//! says.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::*;

thread_local! {
    static DUE: Cell<bool> = const { Cell::new(false) };
}

/// Panics if the test wants it here: between an entry's append and the end of its fold.
pub(in crate::shard) fn on_demand() {
    assert!(!DUE.take(), "a defect while folding");
}

fn panics(body: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(body)).is_err());
}

#[test]
fn an_entry_that_was_not_folded_in_poisons_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    sync(&shard);
    DUE.set(true);
    panics(|| world.take(&mut shard, "a", 2, 200, 2.0));
    let why = shard.journal().poisoned().unwrap();
    assert!(why.contains("not in memory"), "{why}");
    assert!(shard.is_poisoned());
    // Memory has fallen behind: nothing is built on it, and nothing that follows is acknowledged.
    let device = shard.device(&Name::new("a").unwrap()).unwrap();
    assert!(matches!(shard.take(IntakeEntry { device, ..Default::default() }), Err(Backpressure::Failed(_))));
    world.clock.advance(Duration::from_secs(60));
    assert!(matches!(shard.tick(), Err(Backpressure::Failed(_)) | Ok(false)));
    let capture = shard.capture().unwrap();
    assert!(!shard.may_write(&capture), "a checkpoint would make it last");
    drop(shard);
    // What the journal holds is right: the first entry, and perhaps the second, which was acknowledged to nobody.
    let (mut shard, recovered) = world.open(folder.path());
    assert!(recovered.damage.is_empty() && recovered.unfit == 0);
    let device = shard.device(&Name::new("a").unwrap()).unwrap();
    let highest = shard.state().highest(device, "e");
    assert!((1..=2).contains(&highest));
    for seq in highest + 1..=2 {
        world.take(&mut shard, "a", seq, 200, 2.0);
    }
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)).iter().map(|(_, sum)| sum).sum::<f64>(), 3.0);
}

#[test]
fn a_panic_anywhere_within_a_change_poisons_and_one_while_looking_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (shard, _) = World::new().open(folder.path());
    let cell = ShardCell::new(shard);
    panics(|| {
        let _shard = cell.borrow();
        panic!("while looking");
    });
    assert!(!cell.borrow().is_poisoned());
    struct Leaving<'a>(&'a ShardCell);
    impl Drop for Leaving<'_> {
        fn drop(&mut self) {
            drop(self.0.borrow_mut());
        }
    }
    panics(|| {
        let _leaving = Leaving(&cell);
        panic!("before the change");
    });
    assert!(!cell.borrow().is_poisoned(), "that panic did not interrupt the change");
    panics(|| {
        let _shard = cell.borrow_mut();
        panic!("half-way");
    });
    let why = cell.borrow().journal().poisoned().unwrap();
    assert!(why.starts_with("shard 0: a change was interrupted"), "{why}");
    assert!(matches!(cell.borrow_mut().device(&Name::new("a").unwrap()), Err(Backpressure::Failed(_))));
}
