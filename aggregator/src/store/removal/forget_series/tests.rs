use std::collections::BTreeSet;

use crate::{
    selector::Selector,
    store::{
        EmbeddedStore, IngestStore as _, MaintenanceStore as _, ReadAll as _, StoreError,
        testing::{Model, batch, config, content, copy_of, entry, epoch, open, window},
        verify,
    },
};

/// Names of the metrics in a store.
fn metrics(store: &EmbeddedStore) -> BTreeSet<String> {
    store.all_series().iter().map(|series| series.key.metric.as_str().to_owned()).collect()
}

fn is(metric: &str) -> Selector {
    Selector::parse(metric).unwrap()
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn series_are_removed_from_blocks_and_memory_and_do_not_come_back() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    let flushed: Vec<_> = (0..600).flat_map(|index| [entry(0, index, 1, 1), entry(1, index, 1, 1)]).collect();
    let kept = batch(0, 1, flushed.iter().filter(|entry| entry.series == 0).cloned().collect());
    model.put(&epoch, &kept);
    store.put(&epoch, batch(0, 1, flushed), false).await.unwrap();
    store.flush().await.unwrap();
    // In memory and journal only: more of the removed series, and of another removed one.
    let sent = batch(0, 2, vec![entry(1, 7, 1, 9), entry(1, 900, 1, 1), entry(2, 1, 1, 1)]);
    store.put(&epoch, sent, false).await.unwrap();

    assert_eq!(store.forget_series(&Selector::parse("{__name__=~\"[^a]\"}").unwrap()).unwrap(), 2);
    assert_eq!(metrics(&store), names(&["a"]));
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.forget_series(&is("b")).unwrap(), 0);

    // As a crash would leave it: the journal does not bring them back, and the blocks are whole.
    let crashed = tempfile::tempdir().unwrap();
    copy_of(&store, data.path(), crashed.path());
    let (reopened, report) = open(crashed.path());
    assert_eq!((report.damage, report.lost_batches), (0, 0));
    assert_eq!(metrics(&reopened), names(&["a"]));
    assert_eq!(content(&*reopened), model.content());
    reopened.close().await.unwrap();
    drop(reopened);
    let report = verify(crashed.path()).unwrap();
    assert!(report.is_clean(), "{report:?}");

    // A series that is delivered again is a new one, and keeps what arrives.
    let again = batch(0, 3, vec![entry(1, 2000, 1, 1)]);
    model.put(&epoch, &again);
    store.put(&epoch, again, false).await.unwrap();
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.selected(&is("b"))[0].windows.0, window(2000).start());
    store.close().await.unwrap();
    drop(store);
    let (store, _) = open(data.path());
    assert_eq!(content(&*store), model.content());
}

#[tokio::test]
async fn a_crash_half_way_removes_fewer_series_and_damages_nothing() {
    let data = tempfile::tempdir().unwrap();
    let epoch = epoch("g", 1);
    let (store, _) = open(data.path());
    let all: Vec<_> =
        (0..50).flat_map(|index| (0..3).map(move |series| entry(series, index, 1, 1))).collect();
    store.put(&epoch, batch(0, 1, all), false).await.unwrap();
    // The step without the final round: what a crash leaves.
    let chosen = [(0_u32, std::collections::HashSet::from([1_u32]))];
    let groups = chosen.iter().map(|(group, series)| (group, series));
    assert_eq!(super::step(&store.inner, groups).unwrap(), 1);
    let crashed = tempfile::tempdir().unwrap();
    copy_of(&store, data.path(), crashed.path());
    let (reopened, report) = open(crashed.path());
    assert_eq!((report.damage, report.lost_batches), (0, 0));
    assert_eq!(content(&*reopened).len(), 150, "nothing of it is removed yet");
    assert_eq!(reopened.forget_series(&is("b")).unwrap(), 1, "the next call completes it");
    assert_eq!(metrics(&reopened), names(&["a", "c"]));
    assert_eq!(content(&*reopened).len(), 100);
}

#[tokio::test]
async fn forgetting_makes_room_for_a_batch_that_was_refused() {
    let data = tempfile::tempdir().unwrap();
    let bounds = crate::store::StoreConfig {
        series_max: 2,
        series_per_site_max: Some(2),
        series_per_gateway_max: Some(2),
        ..config()
    };
    let (store, _) = EmbeddedStore::open(data.path(), bounds).unwrap();
    let epoch = epoch("g", 1);
    assert_eq!(store.series_budget(&epoch), Some(1));
    store.put(&epoch, batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 1, 1, 1)]), false).await.unwrap();
    let third = || batch(0, 2, vec![entry(0, 2, 1, 1), entry(2, 2, 1, 1)]);
    let refused = store.put(&epoch, third(), false).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::TooManySeries { message } if message.contains("may have 2 series and has 2")),
        "{refused:?}"
    );
    assert_eq!(store.delivered(&epoch), [1, 0], "nothing of it was stored");
    assert_eq!(content(&*store).len(), 2);
    assert_eq!(store.series_budget(&epoch), Some(2));

    assert_eq!(store.forget_series(&is("b")).unwrap(), 1);
    assert_eq!(store.series_budget(&epoch), Some(3), "the folder still has the removed name");
    store.put(&epoch, third(), false).await.unwrap();
    assert_eq!(metrics(&store), names(&["a", "c"]));
    store.close().await.unwrap();
    drop(store);
    // Existing series stay, whatever the limit; forgotten ones are remembered.
    let one = crate::store::StoreConfig { series_max: 1, ..config() };
    let (store, _) = EmbeddedStore::open(data.path(), one).unwrap();
    assert_eq!(metrics(&store), names(&["a", "c"]));
    assert_eq!(store.series_budget(&epoch), Some(3));
    store.put(&epoch, batch(0, 3, vec![entry(0, 3, 1, 1), entry(2, 3, 1, 1)]), false).await.unwrap();
    let refused = store.put(&epoch, batch(0, 4, vec![entry(1, 2, 1, 1)]), false).await;
    assert!(matches!(refused, Err(StoreError::TooManySeries { .. })), "{refused:?}");
    assert_eq!(store.stats().series_max, 1);
}

#[tokio::test]
async fn a_replay_applies_the_whole_journal_whatever_the_limit() {
    let data = tempfile::tempdir().unwrap();
    let epoch = epoch("g", 1);
    let (store, _) = open(data.path());
    let all = batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 1, 1, 1), entry(2, 1, 1, 1)]);
    store.put(&epoch, all, false).await.unwrap();
    let before = content(&*store);
    let crashed = tempfile::tempdir().unwrap();
    copy_of(&store, data.path(), crashed.path());
    let one = crate::store::StoreConfig { series_max: 1, ..config() };
    let (store, _) = EmbeddedStore::open(crashed.path(), one).unwrap();
    assert_eq!(content(&*store), before);
}

#[tokio::test]
async fn series_of_pending_batches_count_once() {
    let data = tempfile::tempdir().unwrap();
    let bounds = crate::store::StoreConfig {
        series_max: 2,
        series_per_site_max: Some(2),
        series_per_gateway_max: Some(2),
        ..config()
    };
    let (store, _) = EmbeddedStore::open(data.path(), bounds).unwrap();
    let epoch = epoch("g", 1);
    // All within one sync of the journal, each with the same new series and the last with one too many.
    let puts = (1..=8).map(|number| {
        let mut entries =
            vec![entry(0, number as i64, number, number), entry(1, number as i64, number, number)];
        if number == 8 {
            entries.push(entry(2, 8, 8, 8));
        }
        store.put(&epoch, batch(0, number, entries), false)
    });
    let results = futures_util::future::join_all(puts).await;
    assert!(results[..7].iter().all(Result::is_ok), "{results:?}");
    assert!(matches!(results[7], Err(StoreError::TooManySeries { .. })), "{results:?}");
    assert_eq!((metrics(&store).len(), content(&*store).len()), (2, 14));
}
