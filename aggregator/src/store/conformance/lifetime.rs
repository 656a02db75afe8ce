//! Restarts, the end, health.

use super::{Subject, content, model, put};
use crate::store::{
    ReadAll as _, StoreHealth,
    testing::{batch, entry, epoch},
};

pub(super) async fn what_was_acknowledged_survives_a_restart(subject: &mut dyn Subject) {
    let (g, h) = (epoch("g", 1), epoch("h", 1));
    let mut batches = Vec::new();
    for number in 1..=5_u64 {
        batches.push(batch(0, number, vec![entry((number % 3) as u32, number as i64, number, number)]));
        put(subject, &g, batches[batches.len() - 1].clone()).await;
    }
    put(subject, &h, batch(0, 0, vec![entry(0, 1, 1, 1)])).await;
    let ids = |subject: &dyn Subject| {
        let series = subject.store().all_series().into_iter().filter(|entry| entry.gateway == g.gateway);
        series.map(|entry| (entry.id, entry.key)).collect::<Vec<_>>()
    };
    let before = ids(subject);
    for _ in 0..2 {
        subject.restart();
        let store = subject.store();
        assert_eq!(content(store), model(&g, &batches), "live state ends with the process");
        assert_eq!(store.delivered(&g), [5, 0]);
        assert_eq!(ids(subject), before);
        // What it has already is known, also to be repeated.
        store.put(&g, batches[3].clone(), false).await.unwrap();
        assert_eq!(content(store), model(&g, &batches));
    }
    batches.push(batch(0, 6, vec![entry(0, 6, 6, 6)]));
    put(subject, &g, batches[5].clone()).await;
    assert_eq!(content(subject.store()), model(&g, &batches));
}

pub(super) async fn a_store_that_works_says_so(subject: &dyn Subject) {
    let store = subject.store();
    assert_eq!((store.failure(), store.health()), (None, StoreHealth::default()));
    put(subject, &epoch("g", 1), batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    assert_eq!((store.failure(), store.health()), (None, StoreHealth::default()));
}

pub(super) async fn a_closed_store_takes_nothing_more(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    let first = batch(0, 1, vec![entry(0, 1, 1, 1)]);
    put(subject, &g, first.clone()).await;
    store.close().await.unwrap();
    let late = store.put(&g, batch(0, 2, vec![entry(0, 2, 2, 2)]), false).await;
    assert!(late.is_err(), "{late:?}");
    // A close is no failure, and readers may still be at work.
    assert_eq!(store.failure(), None);
    assert_eq!(content(store), model(&g, &[first]));
}
