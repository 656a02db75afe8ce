//! Which run of a gateway delivers, and what its streams leave behind.

use super::{Subject, content, model, put};
use crate::store::{
    GatewayEpoch, RunDelivered, StoreError, previous_runs,
    testing::{at, batch, entry, epoch, report_of},
};

fn run(run: u64, previous: &[u64]) -> GatewayEpoch {
    GatewayEpoch { run, previous_runs: previous_runs(previous), ..epoch("g", 1) }
}

pub(super) async fn only_the_run_that_began_last_delivers(subject: &dyn Subject) {
    let (store, old, new) = (subject.store(), run(5, &[]), run(6, &[5]));
    let one = |number: u64| batch(0, number, vec![entry(0, number as i64, number, number)]);
    store.attach(&old);
    let begun = store.begin(&old).await.unwrap();
    assert!(begun.iter().all(|shard| (shard.number, shard.runs.len()) == (0, 0)), "{begun:?}");
    put(subject, &old, one(1)).await;
    put(subject, &old, batch(0, 0, vec![entry(0, 9, 9, 9)])).await;
    assert_eq!(content(store).len(), 2);

    store.attach(&new);
    let begun = store.begin(&new).await.unwrap();
    let delivered = RunDelivered { run: 5, previous: previous_runs(&[]), number: 1 };
    assert_eq!((begun.len(), begun[0].number, &begun[0].runs[..]), (2, 1, &[delivered][..]));
    assert_eq!(content(store), model(&old, &[one(1)]), "its live state ended with the run");
    for refused in [one(2), one(1), batch(0, 0, vec![entry(0, 9, 9, 9)])] {
        let refused = store.put(&old, refused, false).await;
        assert!(matches!(refused, Err(StoreError::Superseded)), "{refused:?}");
    }
    let progress = store.progress(&old, &report_of(0, Some(at(50)), 1));
    assert!(matches!(progress, Err(StoreError::Superseded)), "{progress:?}");
    put(subject, &new, one(2)).await;
    assert_eq!((store.delivered(&new), content(store)), (vec![2, 0], model(&new, &[one(1), one(2)])));
    let other = GatewayEpoch { id: 2, ..old.clone() };
    put(subject, &other, one(1)).await;

    // Once no stream of the folder is left, nobody has to be kept out.
    store.detach(&old);
    store.detach(&new);
    let begun = store.begin(&old).await.unwrap();
    let runs: Vec<_> = begun[0].runs.iter().map(|run| (run.run, run.number)).collect();
    assert_eq!((begun[0].number, runs), (2, vec![(5, 1), (6, 2)]));
    put(subject, &old, one(3)).await;
}

pub(super) async fn live_state_ends_with_the_last_stream_of_its_epoch(subject: &dyn Subject) {
    let (store, g, other) = (subject.store(), epoch("g", 1), epoch("h", 1));
    let live = || batch(0, 0, vec![entry(0, 1, 1, 1)]);
    for epoch in [&g, &g, &other] {
        store.attach(epoch);
        put(subject, epoch, live()).await;
    }
    store.detach(&g);
    assert_eq!(content(store).len(), 2, "another stream continues it");
    store.detach(&g);
    assert_eq!(content(store), model(&other, &[live()]));
    store.detach(&other);
    assert!(content(store).is_empty());
}

pub(super) async fn an_epoch_is_known_by_its_folder(subject: &dyn Subject) {
    let (store, g) = (subject.store(), GatewayEpoch { created_ms: 77, ..epoch("g", 1) });
    assert_eq!(store.created_ms(&g), None);
    put(subject, &g, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    let later = GatewayEpoch { created_ms: 99, run: 3, ..g.clone() };
    assert_eq!(store.created_ms(&later), Some(77), "what it said first");
    for unknown in [epoch("g", 2), epoch("h", 1)] {
        assert_eq!((store.created_ms(&unknown), store.delivered(&unknown)), (None, vec![0, 0]));
    }
}
