//! Runs of a gateway at admission: only one delivers, and the runs that delivered are remembered.

use std::task::Poll;

use catchment_proto::Batch;
use futures_util::{FutureExt as _, future::BoxFuture};

use crate::store::{
    Delivered, EmbeddedStore, GatewayEpoch, IngestStore as _, ReadAll as _, RunDelivered, StoreError,
    previous_runs,
    testing::{Model, batch, content, entry, epoch, open, report_of},
};

fn run(run: u64, previous_run: u64) -> GatewayEpoch {
    GatewayEpoch { run, previous_runs: previous_runs(&[previous_run]), ..epoch("g", 1) }
}

fn one(number: u64) -> Batch {
    batch(0, number, vec![entry(0, number as i64, number, number)])
}

async fn put(store: &EmbeddedStore, epoch: &GatewayEpoch, number: u64) -> Result<(), StoreError> {
    store.put(epoch, one(number), false).await
}

#[tokio::test]
async fn only_the_run_that_began_last_delivers() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let (old, new) = (run(5, 0), run(6, 5));
    store.begin(&old).await.unwrap();
    put(&store, &old, 1).await.unwrap();
    let begun = store.begin(&new).await.unwrap();
    let delivered =
        Delivered { number: 1, runs: vec![RunDelivered { run: 5, previous: previous_runs(&[]), number: 1 }] };
    assert_eq!(begun, [delivered, Delivered::default()]);
    assert!(matches!(put(&store, &old, 2).await, Err(StoreError::Superseded)), "a new batch");
    put(&store, &new, 2).await.unwrap();
    assert!(
        matches!(put(&store, &old, 2).await, Err(StoreError::Superseded)),
        "nor does another run's batch count as its own"
    );
    let live = store.put(&old, batch(0, 0, vec![entry(0, 9, 9, 9)]), false).await;
    assert!(matches!(live, Err(StoreError::Superseded)), "{live:?}");
    let progress = store.progress(&old, &report_of(0, Some(crate::store::testing::at(50)), 0));
    assert!(matches!(progress, Err(StoreError::Superseded)), "{progress:?}");
    assert_eq!(store.gateways()[0].watermark, None, "an ended run says nothing about the present");
    store.begin(&old).await.unwrap();
    put(&store, &old, 3).await.unwrap();
}

#[tokio::test]
async fn a_run_is_kept_out_as_long_as_a_stream_of_its_epoch_lives() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let (old, new) = (run(5, 0), run(6, 5));
    store.attach(&old);
    store.begin(&old).await.unwrap();
    put(&store, &old, 1).await.unwrap();
    store.attach(&new);
    store.begin(&new).await.unwrap();
    store.detach(&new);
    assert!(matches!(put(&store, &old, 2).await, Err(StoreError::Superseded)), "its stream has not ended");
    store.detach(&old);
    store.attach(&old);
    store.begin(&old).await.unwrap();
    put(&store, &old, 2).await.unwrap();
    store.detach(&old);
}

#[tokio::test]
async fn an_epoch_that_delivers_nothing_is_forgotten_and_one_that_delivers_keeps_its_reports() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let at = crate::store::testing::at;
    let other = |id| GatewayEpoch { run: id, ..epoch("h", id) };
    for id in 1..=1_000 {
        store.attach(&other(id));
        store.begin(&other(id)).await.unwrap();
        store.progress(&other(id), &report_of(0, Some(at(50)), 0)).unwrap();
        store.detach(&other(id));
    }
    assert_eq!(store.stats().epochs, 0);
    assert_eq!(store.gateways().len(), 1, "it is listed");
    assert_eq!(crate::store::embedded::locks::lock(&store.inner.admission).current_runs.len(), 0);
    let last = other(1_000);
    for shard in 0..2 {
        store.progress(&last, &report_of(shard, Some(at(60)), 3)).unwrap();
    }
    let said = &store.gateways()[0];
    assert_eq!((said.epoch.id, said.watermark, said.gaps.len()), (1_000, Some(at(60)), 1));
    assert_eq!(store.stats().lost_batches, 6);
    store.put(&last, one(4), true).await.unwrap();
    let (known, stats) = (&store.gateways()[0], store.stats());
    assert_eq!((known.epoch.id, known.watermark, known.gaps.len()), (1_000, Some(at(60)), 1));
    assert_eq!((stats.epochs, stats.lost_batches), (1, 6));
    store.flush().await.unwrap();
    drop(store);
    let (store, _) = open(data.path());
    assert_eq!((store.gateways()[0].watermark, store.stats().lost_batches), (Some(at(60)), 6));
    // A newer epoch of a known gateway without batches: its watermark becomes the gateway's.
    let newer = other(2_000);
    store.begin(&newer).await.unwrap();
    assert_eq!(store.gateways()[0].watermark, Some(at(60)));
    for shard in 0..2 {
        store.progress(&newer, &report_of(shard, Some(at(90)), 0)).unwrap();
    }
    let shown = &store.gateways()[0];
    assert_eq!((shown.epoch.id, shown.watermark), (2_000, Some(at(90))));
    store.drop_live(&newer);
    assert_eq!(store.gateways()[0].watermark, Some(at(90)), "even after its stream has ended");
    assert_eq!(store.stats().epochs, 1);
}

/// A batch in the journal that is not durable yet counts in the answer to a Start: its number is not free.
#[tokio::test]
async fn a_start_waits_for_batches_accepted_before() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let (old, new) = (run(5, 0), run(6, 5));
    store.begin(&old).await.unwrap();
    for number in 1..40 {
        let mut putting: BoxFuture<'_, _> = store.put(&old, one(number), false);
        let polled = std::future::poll_fn(|context| Poll::Ready(putting.poll_unpin(context))).await;
        drop((polled, putting));
        let begun = store.begin(&new).await.unwrap();
        assert_eq!(begun[0].number, number);
        store.begin(&old).await.unwrap();
    }
}

#[tokio::test]
async fn delivering_runs_are_known_after_starts_and_flushes() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    for number in 1..=6 {
        let epoch = run(10 + number / 2, 9 + number / 2);
        store.begin(&epoch).await.unwrap();
        put(&store, &epoch, number).await.unwrap();
        if number == 4 {
            store.flush().await.unwrap();
        }
    }
    let entry = |run, number| RunDelivered { run, previous: previous_runs(&[run - 1]), number };
    let kept = vec![entry(10, 1), entry(11, 3), entry(12, 5), entry(13, 6)];
    let last = run(99, 13);
    assert_eq!(store.begin(&last).await.unwrap()[0], Delivered { number: 6, runs: kept.clone() });
    drop(store);
    let (store, _) = open(data.path());
    assert_eq!(store.begin(&last).await.unwrap()[0], Delivered { number: 6, runs: kept.clone() }, "replayed");
    store.flush().await.unwrap();
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!(report.replayed, 0);
    assert_eq!(store.begin(&last).await.unwrap()[0], Delivered { number: 6, runs: kept }, "flushed");
}

/// A window folded before a folder went back keeps its old name: delivered by both branches, it counts once.
#[tokio::test]
async fn names_of_an_earlier_epoch_are_replaced_and_not_added() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    let mut model = Model::default();
    let (old, new) = (epoch("g", 1), epoch("g", 2));
    let mut deliver = async |epoch: &GatewayEpoch, number: u64, names_epoch: u64, entries| {
        let batch = Batch { names_epoch, ..batch(0, number, entries) };
        store.put(epoch, batch.clone(), false).await.unwrap();
        model.put(epoch, &batch);
        assert_eq!(content(&*store), model.content());
    };
    deliver(&old, 1, 0, vec![entry(0, 1, 1, 7)]).await;
    deliver(&new, 1, 1, vec![entry(0, 1, 1, 4), entry(0, 2, 2, 2)]).await;
    deliver(&new, 2, 0, vec![entry(0, 1, 1, 4)]).await;
    // An epoch that this store never saw: its names stay separate all the same.
    deliver(&new, 3, 9, vec![entry(0, 1, 1, 5)]).await;
    deliver(&new, 4, 9, vec![entry(0, 1, 1, 6)]).await;
    let windows: Vec<usize> = content(&*store).values().map(Vec::len).collect();
    assert_eq!(windows, [3, 1], "one partial per epoch");
    assert_eq!(store.gateways()[0].epoch.id, 2, "an epoch that only names refer to is not the present one");
    drop(store);
    let (store, _) = open(data.path());
    assert_eq!(content(&*store), model.content());
    store.flush().await.unwrap();
    drop(store);
    let (store, _) = open(data.path());
    assert_eq!(content(&*store), model.content());
    assert_eq!(store.gateways()[0].epoch.id, 2);
}
