//! When a backlog waits for tables.

use std::sync::mpsc::sync_channel;

use super::*;

#[tokio::test]
async fn a_backlog_of_few_series_is_behind_until_it_is_flushed() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let (epoch, at_once) = (epoch("g", 1), 4_096);
    // Until it is released, nothing is flushed.
    let inner = Arc::clone(&store.inner);
    let ((holds, held), (release, released)) = (sync_channel(1), sync_channel::<()>(1));
    let holding = std::thread::spawn(move || {
        let _flush = lock(&inner.flush_lock);
        holds.send(()).unwrap();
        let _ = released.recv();
    });
    held.recv().unwrap();
    let mut number = 0;
    while !store.is_behind() {
        let first = number as i64 * at_once;
        number += 1;
        assert!(number < 40, "never behind");
        let entries = (first..first + at_once).map(|index| entry(0, index, 1, 1)).collect();
        store.put(&epoch, batch(0, number, entries), false).await.unwrap();
    }
    assert!(number as i64 * at_once >= 128 << 10);
    let mut caught_up = store.caught_up();
    assert!(once(&mut caught_up).await.is_pending());
    drop(release);
    caught_up.await;
    assert!(!store.is_behind());
    holding.join().unwrap();
}
