mod behind;
mod completeness;
mod panics;
mod pieces;

use std::{task::Poll, time::Duration};

use catchment_journal::LogConfig;
use catchment_partial::Timestamp;
use catchment_proto::Batch;
use futures_util::{FutureExt as _, future::BoxFuture};

use std::path::Path;

use super::*;
use crate::selector::Selector;
use crate::store::flush::{flusher, round};
use crate::store::{
    GatewayEpoch, IngestStore as _, MaintenanceStore as _, QueryStore as _, ReadAll as _, Shortage,
    StoreConfig, StoreHealth,
    embedded::locks::{lock, write},
    testing::{Model, at, batch, config, content, copy, copy_of, entry, epoch, open, report_of, window},
};

/// Puts a batch and adds it to the model.
async fn put(store: &EmbeddedStore, model: &mut Model, epoch: &GatewayEpoch, batch: Batch) {
    store.put(epoch, batch.clone(), false).await.unwrap();
    model.put(epoch, &batch);
}

/// Polls a future once.
async fn once<T>(future: &mut BoxFuture<'_, T>) -> Poll<T> {
    std::future::poll_fn(|context| Poll::Ready(future.poll_unpin(context))).await
}

/// Waits for an effect of another thread.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited for ten seconds: {what}");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_start() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    put(&store, &mut model, &epoch, batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 2, 2, 2)])).await;
    put(&store, &mut model, &epoch, batch(1, 1, vec![entry(0, 1, 1, 4)])).await;
    put(&store, &mut model, &epoch, batch(0, 2, vec![entry(0, 1, 1, 3)])).await;
    assert_eq!(content(&*store), model.content());
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!((report.replayed, report.damage, report.series), (3, 0, 2));
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.delivered(&epoch), [2, 1]);
}

#[tokio::test]
async fn numbers_seen_before_change_nothing_and_gaps_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    put(&store, &mut model, &epoch, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    store.put(&epoch, batch(0, 1, vec![entry(0, 9, 9, 9)]), true).await.unwrap();
    assert_eq!(content(&*store), model.content(), "the number decides");
    let gap = store.put(&epoch, batch(0, 3, vec![entry(0, 3, 3, 3)]), false).await;
    assert!(matches!(gap, Err(StoreError::Gap { shard: 0, highest: 1, got: 3 })), "{gap:?}");
    assert_eq!(store.delivered(&epoch), [1, 0]);
    let late = batch(0, 3, vec![entry(0, 3, 3, 3)]);
    store.put(&epoch, late.clone(), true).await.unwrap();
    model.put(&epoch, &late);
    assert_eq!(content(&*store), model.content(), "on a new stream the gap is accepted and counted");
    let stats = store.stats();
    assert_eq!((stats.batches, stats.duplicates, stats.gaps), (2, 1, 1));
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!(
        (store.delivered(&epoch), report.lost_batches),
        (vec![3, 0], 0),
        "a sender's gap is not a loss of the store"
    );
}

#[tokio::test]
async fn flushed_windows_are_merged_with_what_comes_later() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    put(
        &store,
        &mut model,
        &epoch,
        batch(0, 1, (0..500).map(|i| entry(i % 3, i64::from(i), 5, 5)).collect()),
    )
    .await;
    store.flush().await.unwrap();
    let stats = store.stats();
    assert_eq!((stats.memtable_partials, stats.memtable_bytes, stats.flushed_partials), (0, 0, 500));
    assert_eq!(content(&*store), model.content());
    // Newer, older and equal revisions of flushed partials, and a further part.
    let again = [entry(0, 0, 5, 9), entry(1, 1, 5, 5), entry(2, 2, 4, 4), entry(0, 480, 6, 6)].to_vec();
    put(&store, &mut model, &epoch, batch(0, 2, again)).await;
    put(&store, &mut model, &epoch, batch(0, 3, vec![entry(0, 0, 5, 7)])).await;
    assert_eq!(content(&*store), model.content());
    store.flush().await.unwrap();
    assert_eq!(content(&*store), model.content());
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!(report.replayed, 0, "everything is flushed");
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.delivered(&epoch), [3, 0]);
}

#[tokio::test]
async fn close_flushes_and_stops() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    let mut last = batch(0, 1, vec![entry(0, 1, 1, 1)]);
    last.watermark = Some(at(20));
    put(&store, &mut model, &epoch, last).await;
    store.progress(&epoch, &report_of(1, Some(at(30)), 0)).unwrap();
    store.close().await.unwrap();
    let refused = store.put(&epoch, batch(0, 2, Vec::new()), false).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert!(
        EmbeddedStore::open(data.path(), config()).is_err(),
        "the folder is in use until the store is dropped"
    );
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!(report.replayed, 0);
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.gateways()[0].watermark, Some(at(20)), "watermarks are flushed too");
}

#[tokio::test]
async fn a_put_that_is_given_up_is_taken_or_not_and_can_be_repeated() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    let sent = batch(0, 1, vec![entry(0, 1, 1, 1)]);
    let mut put = store.put(&epoch, sent.clone(), true);
    let _ = once(&mut put).await;
    drop(put);
    store.put(&epoch, sent.clone(), true).await.unwrap();
    model.put(&epoch, &sent);
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.stats().batches, 1);
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "the flusher waits for it on a thread of its own")]
async fn full_memory_makes_senders_wait_until_it_is_flushed() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let bound = 20_000;
    let (store, _) =
        EmbeddedStore::open(data.path(), StoreConfig { memory_bytes_max: bound, ..config() }).unwrap();
    let flushing = lock(&store.inner.flush_lock);
    let mut waiting = None;
    for number in 1..1000 {
        let sent = batch(0, number, vec![entry(0, number as i64, number, number)]);
        model.put(&epoch, &sent);
        let before = store.stats().memtable_bytes;
        let mut put = store.put(&epoch, sent, false);
        if before >= bound {
            assert!(once(&mut put).await.is_pending());
            waiting = Some(put);
            break;
        }
        put.await.unwrap();
    }
    let mut waiting = waiting.expect("memory is bounded");
    assert!(store.stats().memtable_bytes < bound + 1000);
    assert_eq!(store.health(), StoreHealth { failure: None, shortages: vec![Shortage::Memory] });
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(matches!(once(&mut waiting).await, Poll::Pending), "it waits for the flusher");
    }
    drop(flushing);
    waiting.await.unwrap();
    assert_eq!(store.health(), StoreHealth::default());
    assert_eq!(content(&*store), model.content());
}

#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "the flusher waits for it on a thread of its own")]
async fn a_full_journal_refuses_whole_batches_until_it_is_flushed() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let journal =
        LogConfig { bytes_max: 1 << 20, record_bytes_max: 64 << 10, disk_free_min: 0, ..config().journal };
    let (store, _) = EmbeddedStore::open(data.path(), StoreConfig { journal, ..config() }).unwrap();
    let big = |number: u64| -> Vec<catchment_proto::Entry> {
        (0..50).map(|i| entry(i % 3, (number as i64) * 50 + i64::from(i), 1, 1)).collect()
    };
    let flushing = lock(&store.inner.flush_lock);
    let mut number = 1;
    loop {
        let sent = batch(0, number, big(number));
        match store.put(&epoch, sent.clone(), false).await {
            Ok(()) => model.put(&epoch, &sent),
            Err(StoreError::Full(_)) => break,
            Err(error) => panic!("{error}"),
        }
        number += 1;
    }
    assert!(number > 2, "some fit");
    let short = store.health().shortages;
    assert!(matches!(&short[..], [Shortage::Backlog(why)] if why.contains("1048576")), "{short:?}");
    assert_eq!(store.delivered(&epoch), [number - 1, 0]);
    assert_eq!(content(&*store), model.content(), "nothing of the refused batch was stored");
    drop(flushing);
    for round in 0..200 {
        let sent = batch(0, number, big(number));
        let mut result = Err(StoreError::Full(String::new()));
        for _ in 0..2000 {
            result = store.put(&epoch, sent.clone(), false).await;
            if !matches!(result, Err(StoreError::Full(_))) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        result.unwrap_or_else(|error| panic!("round {round}: {error}"));
        model.put(&epoch, &sent);
        number += 1;
    }
    assert_eq!(content(&*store), model.content());
    drop(store);
    assert_eq!(content(&*open(data.path()).0), model.content());
}

#[tokio::test]
async fn live_state_is_seen_replaced_and_dropped_and_does_not_survive() {
    let data = tempfile::tempdir().unwrap();
    let (g, other) = (epoch("g", 1), epoch("h", 1));
    let (store, _) = open(data.path());
    let live = |revision| batch(0, 0, vec![entry(0, 1, 1, revision)]);
    let seen = |epoch: &GatewayEpoch, revision| {
        let mut model = Model::default();
        model.put(epoch, &batch(0, 0, vec![entry(0, 1, 1, revision)]));
        model.content()
    };
    store.put(&g, live(2), true).await.unwrap();
    assert_eq!(content(&*store), seen(&g, 2));
    store.put(&g, live(4), true).await.unwrap();
    assert_eq!(content(&*store), seen(&g, 4));
    store.put(&other, live(1), true).await.unwrap();
    store.drop_live(&g);
    assert_eq!(content(&*store), seen(&other, 1));
    store.put(&g, live(4), true).await.unwrap();
    store.put(&g, batch(0, 1, vec![entry(0, 1, 1, 6)]), true).await.unwrap();
    store.flush().await.unwrap();
    store.put(&g, live(5), true).await.unwrap();
    store.drop_live(&other);
    assert_eq!(content(&*store), seen(&g, 6), "a live state after a flushed one does not show");
    drop(store);
    assert_eq!(content(&*open(data.path()).0), seen(&g, 6));
}

#[tokio::test]
async fn a_failed_sync_of_the_blocks_ends_all_acknowledgement() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    put(&store, &mut model, &epoch, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    let blobs = data.path().join("sled/blobs");
    std::fs::rename(&blobs, data.path().join("sled/elsewhere")).unwrap();
    assert!(matches!(store.flush().await, Err(StoreError::Failed(_))));
    let refused = store.put(&epoch, batch(0, 2, Vec::new()), false).await;
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
    assert!(store.failure().is_some());
    assert!(store.close().await.is_err());
    drop(store);
    std::fs::rename(data.path().join("sled/elsewhere"), &blobs).unwrap();
    assert!(!data.path().join("packed").exists(), "the journal was not released");
    assert_eq!(content(&*open(data.path()).0), model.content());
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn a_crash_between_two_steps_of_a_round_loses_nothing() {
    let (data, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    // Holds the flusher back from the beginning: a slow machine is none that has nothing to do.
    let ((held, is_held), (go, went)) =
        (std::sync::mpsc::sync_channel(1), std::sync::mpsc::sync_channel::<()>(1));
    let inner = Arc::clone(&store.inner);
    let round = std::thread::spawn(move || {
        let meta = &mut *lock(&inner.flush_lock);
        held.send(()).unwrap();
        went.recv().unwrap();
        flusher::write_catalog(&inner, meta).unwrap();
        let frozen = write(&inner.state).memtable.freeze();
        round::write_tables(&inner, &frozen).unwrap();
        held.send(()).unwrap();
        went.recv().unwrap();
    });
    is_held.recv().unwrap();
    for number in 1..=40_u64 {
        let mut entries = Vec::new();
        for index in 0..1000 {
            let mut wide = entry((index % 3) as u32, number as i64 * 1000 + index, number, number);
            wide.body = crate::store::testing::body(wide.window, number, 60);
            entries.push(wide);
        }
        put(&store, &mut model, &epoch, batch(0, number, entries)).await;
    }
    until("applied", || store.stats().memtable_partials == 40_000).await;
    go.send(()).unwrap();
    is_held.recv().unwrap();
    assert_eq!(content(&*store), model.content());
    // The round that is held back keeps every other one away meanwhile.
    copy(data.path(), crashed.path());
    go.send(()).unwrap();
    round.join().unwrap();
    assert!(files(&crashed.path().join("tables")) > 0);
    let (after, report) = open(crashed.path());
    assert_eq!(report.replayed, 40);
    assert_eq!(files(&crashed.path().join("tables")), 0, "files that no record names are removed");
    assert_eq!(content(&*after), model.content());
    after.flush().await.unwrap();
    assert_eq!(content(&*after), model.content());
    store.flush().await.unwrap();
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!(report.replayed, 0, "the journal is released");
    assert_eq!(content(&*store), model.content());
    let blobs = std::fs::read_dir(data.path().join("sled/blobs")).unwrap().count();
    assert_eq!(blobs, 0, "sled keeps nothing outside its synced file");
    let some = crate::store::testing::content_of(&*store, window(5000).start(), window(6001).start());
    assert_eq!(some.len(), 1001);
    assert!(some.keys().all(|(_, _, window)| (5000..=6000).contains(&window.index())));
}

#[tokio::test]
async fn a_batch_beyond_the_bound_of_series_is_refused_whole() {
    let data = tempfile::tempdir().unwrap();
    let epoch = epoch("g", 1);
    let (store, _) =
        EmbeddedStore::open(data.path(), StoreConfig { series_max: 1, epochs_max: 1, ..config() }).unwrap();
    let both = batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 1, 1, 1)]);
    let refused = store.put(&epoch, both, false).await;
    assert!(matches!(refused, Err(StoreError::TooManySeries { .. })), "{refused:?}");
    assert_eq!((store.delivered(&epoch), store.all_series().len()), (vec![0, 0], 0));
    store.put(&epoch, batch(0, 1, vec![entry(0, 1, 1, 1)]), false).await.unwrap();
    assert_eq!((store.delivered(&epoch), store.all_series().len()), (vec![1, 0], 1));
    // A live state has no acknowledgement: rows without room are dropped and counted.
    store.put(&epoch, batch(0, 0, vec![entry(0, 2, 1, 1), entry(1, 2, 1, 1)]), false).await.unwrap();
    assert_eq!((store.stats().dropped[0], store.stats().live_partials), (("series_limit", 1), 1));
    let refused = store.put(&crate::store::testing::epoch("h", 1), batch(0, 1, Vec::new()), false).await;
    assert!(matches!(refused, Err(StoreError::TooManyEpochs { .. })), "{refused:?}");
}

#[tokio::test]
async fn batches_are_taken_while_somebody_looks_at_the_series() {
    let data = tempfile::tempdir().unwrap();
    let epoch = epoch("g", 1);
    let (store, _) = open(data.path());
    store.put(&epoch, batch(0, 1, vec![entry(0, 1, 1, 1)]), false).await.unwrap();
    let (looks, looked) = std::sync::mpsc::sync_channel(1);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let shared = Arc::clone(&store);
    // A regular expression that takes as long as it likes.
    let matching = std::thread::spawn(move || {
        let everything = Selector::default();
        let mut selection = shared.select(&everything);
        let mut found = selection.next_page().map_or(0, |page| page.len());
        looks.send(()).unwrap();
        released.recv().unwrap();
        while let Some(page) = selection.next_page() {
            found += page.len();
        }
        found
    });
    looked.recv().unwrap();
    let taken = store.put(&epoch, batch(0, 2, vec![entry(0, 2, 2, 2)]), false);
    tokio::time::timeout(Duration::from_secs(30), taken).await.expect("the batch is accepted").unwrap();
    release.send(()).unwrap();
    assert_eq!(matching.join().unwrap(), 1);
}
