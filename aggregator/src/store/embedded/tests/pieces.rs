//! Long work on the state goes in pieces, between which others get it.

use std::task::{Context, Waker};

use catchment_journal::sim::SimDisk;

use super::*;
use crate::store::{
    MemoryTree,
    embedded::{inner::ROWS_AT_ONCE, locks::read},
    wal::apply::live::LIVE_ROWS_AT_ONCE,
};

/// One piece of a live batch, and some rows more.
fn long_live() -> Batch {
    batch(0, 0, (0..LIVE_ROWS_AT_ONCE as i64 + 10).map(|index| entry(0, index, 1, 1)).collect())
}

#[tokio::test]
async fn a_long_live_batch_is_applied_in_pieces() {
    let data = tempfile::tempdir().unwrap();
    let ((store, _), g) = (open(data.path()), epoch("g", 1));
    let mut put = store.put(&g, long_live(), false);
    assert!(once(&mut put).await.is_pending());
    assert_eq!(store.stats().live_partials, LIVE_ROWS_AT_ONCE);
    put.await.unwrap();
    assert_eq!(store.stats().live_partials, LIVE_ROWS_AT_ONCE + 10);
}

#[tokio::test]
async fn nothing_of_a_live_batch_comes_after_the_next_run_has_begun() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let [old, new] = [1, 2].map(|run| GatewayEpoch { run, ..epoch("g", 1) });
    store.begin(&old).await.unwrap();
    let mut put = store.put(&old, long_live(), false);
    assert!(once(&mut put).await.is_pending());
    store.begin(&new).await.unwrap();
    assert!(matches!(put.await, Err(StoreError::Superseded)));
    assert_eq!(store.stats().live_partials, 0);
}

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
