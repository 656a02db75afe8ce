//! A panic during a change of the state: nothing more is acknowledged, flushed or released, and a start finds
//! everything.

use std::panic::AssertUnwindSafe;

use super::*;
use crate::store::wal::apply::tests::panic_next;

#[tokio::test]
async fn a_half_applied_batch_is_replayed_and_nothing_is_built_on_it() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    put(&store, &mut model, &epoch, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    assert_eq!(store.failure(), None);
    let second = batch(0, 2, vec![entry(1, 2, 2, 2)]);
    panic_next();
    let putting = AssertUnwindSafe(store.put(&epoch, second.clone(), false)).catch_unwind();
    assert!(putting.await.is_err());
    // The journal holds it, memory does not. The journal's thread may take a while to write it.
    until("the batch is durable", || store.inner.log.durable() >= store.inner.log.end()).await;
    model.put(&epoch, &second);
    let next = store.put(&epoch, batch(0, 3, vec![entry(0, 3, 3, 3)]), false).await;
    assert!(matches!(next, Err(StoreError::Failed(_))), "{next:?}");
    let why = store.failure().unwrap().reason;
    assert!(why.starts_with("a panic interrupted a change of the store: "), "{why}");
    store.progress(&epoch, &report_of(0, Some(at(60)), 0)).unwrap();
    let watermarks: Vec<_> = store.gateways().iter().map(|gateway| gateway.watermark).collect();
    assert_eq!(watermarks, [None], "nothing is complete");
    let ids: Vec<_> = store.all_series().into_iter().map(|entry| entry.id).collect();
    let scanned =
        store.scan(&ids, Timestamp::MIN, Timestamp::MAX, &mut |_, _, _| std::ops::ControlFlow::Continue(()));
    assert!(matches!(scanned, Err(StoreError::Failed(_))), "{scanned:?}");
    assert!(store.flush().await.is_err(), "the journal's beginning would be released");
    assert!(store.close().await.is_err());
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!((report.replayed, report.damage), (2, 0));
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.delivered(&epoch), [2, 0]);
}

#[tokio::test]
async fn a_panic_of_a_store_thread_makes_the_store_fail() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    guarded(&store.inner, "flushes windows", || panic!("no more windows"));
    let why = store.failure().unwrap().reason;
    assert!(why.starts_with("the thread that flushes windows panicked: no more windows"), "{why}");
    let refused = store.put(&epoch("g", 1), batch(0, 1, vec![entry(0, 1, 1, 1)]), false).await;
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
}
