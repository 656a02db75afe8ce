use std::{fs, path::Path};

use super::*;
use crate::store::{
    EmbeddedStore, IngestStore as _, MaintenanceStore as _, StoreError,
    testing::{batch, entry, epoch, open},
};

async fn refused(store: &EmbeddedStore, number: u64) -> String {
    let batch = batch(0, number, vec![entry(0, 1, 1, 1)]);
    match store.put(&epoch("g", 1), batch, false).await {
        Err(StoreError::Failed(why)) => why.to_string(),
        other => panic!("batch {number} was answered with {other:?}"),
    }
}

/// Only the journal is gone, so its commit notices it, or the watch.
#[tokio::test]
async fn nothing_is_acknowledged_into_a_removed_journal() {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = open(data.path());
    store.put(&epoch("g", 1), batch(0, 1, vec![entry(0, 1, 1, 1)]), false).await.unwrap();
    check(&store.inner).unwrap();
    fs::remove_dir_all(data.path().join("journal")).unwrap();
    let why = refused(&store, 2).await;
    assert!(why.contains("was removed"), "{why}");
    // The appender may get the error before it is published.
    while store.failure().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.failure().map(|failure| failure.reason.to_string()), Some(why));
    assert!(check(&store.inner).is_err() && store.close().await.is_err());
}

/// The blocks' file was replaced: no change of blocks counts as durable, and the journal is not released.
#[tokio::test]
async fn blocks_are_not_written_into_a_removed_file() {
    for watched in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let (mut store, _) = open(data.path());
        store.put(&epoch("g", 1), batch(0, 1, vec![entry(0, 1, 1, 1)]), false).await.unwrap();
        if !watched {
            Arc::get_mut(&mut store).unwrap().stop_watching();
        }
        let db = data.path().join("sled").join("db");
        fs::rename(&db, data.path().join("aside")).unwrap();
        fs::copy(data.path().join("aside"), &db).unwrap();
        if watched {
            let why = store.health().failure.unwrap().data_gone.unwrap();
            assert!(why.contains("replaced by another"), "{why}");
        } else {
            assert!(store.flush().await.is_err());
        }
        let why = refused(&store, 2).await;
        assert!(why.contains("replaced by another"), "{why}");
        assert!(!data.path().join("packed").exists(), "the journal was not released");
    }
}

/// Only the watch can notice this: there are no commits.
#[tokio::test]
async fn an_idle_store_notices_that_its_folder_is_another() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let changes: [fn(&Path); 3] = [
        |data| fs::rename(data, data.with_extension("moved")).unwrap(),
        |data| {
            fs::rename(data, data.with_extension("moved")).unwrap();
            crate::store::testing::copy(&data.with_extension("moved"), data);
        },
        |data| fs::remove_file(data.join("lock")).unwrap(),
    ];
    for change in changes {
        let (store, _) = open(&data);
        let mut failure = Box::pin(store.inner.log.failure());
        change(&data);
        let why = tokio::time::timeout(Duration::from_secs(30), &mut failure).await.unwrap();
        assert!(why.contains("while in use"), "{why}");
        drop(failure);
        drop(store);
        if data.with_extension("moved").exists() {
            let _ = fs::remove_dir_all(&data);
            fs::rename(data.with_extension("moved"), &data).unwrap();
        }
    }
}
