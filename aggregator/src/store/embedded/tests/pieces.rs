//! Long work on the state goes in pieces, between which others get it.

use std::task::{Context, Waker};

use catchment_journal::sim::SimDisk;

use super::*;
use crate::store::{
    MemoryTree,
    embedded::{inner::ROWS_AT_ONCE, locks::read},
};

#[test]
fn durable_batches_are_applied_in_pieces() {
    let (disk, tree) = (Arc::new(SimDisk::new(1)), MemoryTree::new());
    let (store, mut committer, _) = EmbeddedStore::manual(disk, Path::new("/data"), config(), tree).unwrap();
    let (g, a_batch) = (epoch("g", 1), 3_000);
    let numbered = |number: u64| {
        let first = number as i64 * a_batch;
        batch(0, number, (first..first + a_batch).map(|index| entry(0, index, 1, 1)).collect())
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut puts: Vec<_> = (1..=5).map(|number| store.put(&g, numbered(number), false)).collect();
    assert!(puts.iter_mut().all(|put| put.poll_unpin(&mut context).is_pending()));
    committer.step().unwrap();

    let (inner, durable) = (&store.inner, store.inner.log.durable());
    let seen = || {
        let state = read(&inner.state);
        (state.memtable.len(), state.applied_to, state.catalog.delivered(0, 0))
    };
    assert!(inner.apply_some(durable));
    let (rows, applied_to, delivered) = seen();
    assert_eq!((rows, delivered), (9_000, 3), "the batch that reaches {ROWS_AT_ONCE} rows is the last one");
    assert_eq!(lock(&inner.admission).pending.front().map(|(position, _)| *position), Some(applied_to));
    assert!(applied_to < durable);
    inner.apply_durable();
    assert_eq!(seen(), (15_000, durable, 5));
    assert!(puts.iter_mut().all(|put| matches!(put.poll_unpin(&mut context), Poll::Ready(Ok(())))));
}
