//! What putting, repeating and cancelling a batch leaves behind.

use futures_util::FutureExt as _;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{Subject, content, model, put};
use crate::store::{
    ReadAll as _, StoreError,
    testing::{Model, batch, entries, entry, epoch},
};

pub(super) async fn a_known_number_changes_nothing(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    let first = batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 2, 2, 2)]);
    put(subject, &g, first.clone()).await;
    // Whatever it holds now: the number decides.
    for stream_start in [false, true] {
        store.put(&g, batch(0, 1, vec![entry(0, 9, 9, 9)]), stream_start).await.unwrap();
        subject.settle().await;
        assert_eq!(content(store), model(&g, std::slice::from_ref(&first)));
    }
    assert_eq!(store.delivered(&g), [1, 0]);
}

pub(super) async fn the_highest_revision_of_a_name_counts(subject: &dyn Subject) {
    let g = epoch("g", 1);
    let mut batches = Vec::new();
    for (number, revision) in [(1, 2), (2, 1), (3, 4), (4, 3), (5, 4)] {
        batches.push(batch(0, number, vec![entry(0, 1, 1, revision)]));
        put(subject, &g, batches[batches.len() - 1].clone()).await;
        assert_eq!(content(subject.store()), model(&g, &batches), "after {number}");
    }
    assert_eq!(content(subject.store()).len(), 1);
}

pub(super) async fn different_names_of_a_window_are_all_kept(subject: &dyn Subject) {
    let (store, g, later, other) = (subject.store(), epoch("g", 1), epoch("g", 2), epoch("h", 1));
    let mut expected = Model::default();
    // Another part, another shard, another epoch, another gateway, and a batch with the names of another epoch.
    let mut renamed = batch(0, 2, vec![entry(0, 1, 1, 1)]);
    renamed.names_epoch = 7;
    for (epoch, batch) in [
        (&g, batch(0, 1, vec![entry(0, 1, 1, 1), entry(0, 1, 2, 2)])),
        (&g, batch(1, 1, vec![entry(0, 1, 1, 1)])),
        (&later, batch(0, 1, vec![entry(0, 1, 1, 1)])),
        (&other, batch(0, 1, vec![entry(0, 1, 1, 1)])),
        (&g, renamed),
    ] {
        put(subject, epoch, batch.clone()).await;
        expected.put(epoch, &batch);
    }
    assert_eq!(content(store), expected.content());
    assert_eq!(content(store).values().map(Vec::len).collect::<Vec<_>>(), [5, 1]);
}

pub(super) async fn a_number_that_skips_ahead_is_refused_unless_the_stream_begins(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    put(subject, &g, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    let skipping = batch(0, 3, vec![entry(0, 3, 3, 3)]);
    let refused = store.put(&g, skipping.clone(), false).await;
    assert!(matches!(refused, Err(StoreError::Gap { shard: 0, highest: 1, got: 3 })), "{refused:?}");
    assert_eq!(store.delivered(&g), [1, 0]);
    store.put(&g, skipping, true).await.unwrap();
    assert_eq!(store.delivered(&g), [3, 0], "each shard counts alone");
    store.put(&g, batch(1, 1, Vec::new()), false).await.unwrap();
    assert_eq!(store.delivered(&g), [3, 1]);
    let begun = store.begin(&g).await.unwrap();
    assert_eq!(begun.iter().map(|delivered| delivered.number).collect::<Vec<_>>(), [3, 1]);
}

pub(super) async fn batches_that_were_skipped_are_listed_as_lost(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    let lost = || store.gateways()[0].gaps.iter().map(|gap| gap.batches).sum::<u64>();
    put(subject, &g, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    assert_eq!(lost(), 0);
    store.put(&g, batch(0, 4, vec![entry(0, 4, 4, 4)]), true).await.unwrap();
    subject.settle().await;
    assert_eq!(lost(), 2);
    store.put(&g, batch(0, 5, vec![entry(0, 5, 5, 5)]), true).await.unwrap();
    assert_eq!(lost(), 2, "nothing was skipped");
}

pub(super) async fn a_batch_with_an_invalid_body_is_refused_whole(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    let mut invalid = batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 2, 2, 2)]);
    invalid.entries[1].body = bytes::Bytes::from_static(&[9, 9]);
    let refused = store.put(&g, invalid, false).await;
    assert!(matches!(refused, Err(StoreError::Body { entry: 1, .. })), "{refused:?}");
    assert_eq!((content(store).len(), store.delivered(&g)), (0, vec![0, 0]));
    let valid = batch(0, 1, vec![entry(0, 1, 1, 1)]);
    put(subject, &g, valid.clone()).await;
    assert_eq!(content(store), model(&g, &[valid]));
}

pub(super) async fn a_put_that_is_dropped_can_be_repeated(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    let mut batches = Vec::new();
    for number in 1..20 {
        let next = batch(0, number, vec![entry(0, number as i64, number, number)]);
        // At its first await, or not even begun.
        let put = store.put(&g, next.clone(), false);
        if number % 2 == 0 {
            drop(put.now_or_never());
        }
        store.put(&g, next.clone(), false).await.unwrap();
        batches.push(next);
    }
    subject.settle().await;
    assert_eq!(content(store), model(&g, &batches));
    assert_eq!(store.delivered(&g), [19, 0]);
}

pub(super) async fn live_windows_show_until_they_are_final_or_dropped(subject: &dyn Subject) {
    let (store, g, other) = (subject.store(), epoch("g", 1), epoch("h", 1));
    let of = |number, revision| batch(0, number, vec![entry(0, 1, 1, revision)]);
    for revision in [2, 4] {
        put(subject, &g, of(0, revision)).await;
        assert_eq!(content(store), model(&g, &[of(0, revision)]));
    }
    put(subject, &g, of(0, 3)).await;
    assert_eq!(content(store), model(&g, &[of(0, 4)]), "an older state does not replace a newer one");
    put(subject, &other, of(0, 1)).await;
    store.drop_live(&g);
    assert_eq!(content(store), model(&other, &[of(0, 1)]), "each epoch's alone");
    put(subject, &g, of(0, 5)).await;
    put(subject, &g, of(1, 6)).await;
    store.drop_live(&other);
    assert_eq!(content(store), model(&g, &[of(1, 6)]), "the final partial takes the place of the live one");
    put(subject, &g, of(0, 5)).await;
    assert_eq!(content(store), model(&g, &[of(1, 6)]), "a live state that comes after it does not show");
    store.drop_live(&g);
    assert_eq!(content(store), model(&g, &[of(1, 6)]));
    assert_eq!(store.delivered(&g), [1, 0], "live batches have no number");
}

pub(super) async fn any_deliveries_leave_what_the_model_holds(subject: &dyn Subject) {
    let (mut runner, mut expected) = (TestRunner::deterministic(), Model::default());
    for number in 1..30 {
        let entries = entries().new_tree(&mut runner).unwrap().current();
        let (epoch, batch) = (epoch(["g", "h"][number % 2], 1), batch(0, number.div_ceil(2) as u64, entries));
        subject.store().put(&epoch, batch.clone(), false).await.unwrap();
        expected.put(&epoch, &batch);
        if number % 7 == 0 {
            subject.settle().await;
            assert_eq!(content(subject.store()), expected.content(), "after {number}");
        }
    }
    assert_eq!(content(subject.store()), expected.content());
}
