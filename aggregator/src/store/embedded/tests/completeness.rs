//! Retired gateways, late corrections and refused readings survive what a store survives.

use catchment_proto::RefusedReadings;

use super::*;
use crate::store::{
    LateAndRefused,
    catalog::catalog_store::CatalogStore,
    repair,
    tree::{WriteBatch, records, sled_tree::SledTree},
    verify,
};

/// Whether the gateway is retired, and its counts.
fn state(store: &EmbeddedStore) -> (bool, LateAndRefused) {
    let entry = store.gateways().remove(0);
    (entry.retired, entry.hours.within(i64::MIN, i64::MAX))
}

/// Batch `number`: two windows on time, two corrected, three readings refused.
fn counted(number: u64) -> Batch {
    let at_window = number as i64 * 2;
    let late = [entry(1, 0, number, number), entry(1, 1, number, number)];
    let mut entries = vec![entry(0, at_window, number, number), entry(0, at_window + 1, number, number)];
    entries.extend(late.into_iter().take(if number > 1 { 2 } else { 0 }));
    Batch {
        watermark: Timestamp::from_millis((at_window + 2) * 10_000),
        refused: vec![RefusedReadings { hour: 0, readings: 3 }],
        ..batch(0, number, entries)
    }
}

#[tokio::test]
async fn counts_are_as_durable_as_their_batches_and_counted_once() {
    let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let g = epoch("g", 1);
    let (store, _) = open(data.path());
    let expected = |batches: u64| LateAndRefused { late: 2 * (batches - 1), refused: 3 * batches };
    for number in 1..=6_u64 {
        store.put(&g, counted(number), false).await.unwrap();
        if number % 2 == 0 {
            store.flush().await.unwrap();
        }
        assert_eq!(state(&store).1, expected(number));
        // Killed, and killed again before it could flush.
        let copy = copies.path().join(number.to_string());
        copy_of(&store, data.path(), &copy);
        for _ in 0..2 {
            let (killed, report) = open(&copy);
            assert_eq!((state(&killed).1, report.damage), (expected(number), 0), "after {number}");
            killed.put(&g, counted(number), true).await.unwrap();
            assert_eq!(state(&killed).1, expected(number), "sent again");
        }
    }
}

/// Also where a batch corrects more hours than are kept.
#[tokio::test]
async fn hours_are_the_same_after_a_kill() {
    let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (g, hour) = (epoch("g", 1), 360);
    let (store, _) = open(data.path());
    let first = Batch { watermark: Timestamp::from_millis(30_000_000_000), ..counted(1) };
    store.put(&g, first, false).await.unwrap();
    for number in 2..=4_u64 {
        let late = (0..1_500).rev().map(|at| entry(0, (at * 4 + number as i64 % 3) * hour, number, number));
        store.put(&g, batch(0, number, late.collect()), false).await.unwrap();
        let hours = store.gateways().remove(0).hours;
        assert_eq!(hours.within(i64::MIN, i64::MAX).late, (number - 1) * 1_500);
        let copy = copies.path().join(number.to_string());
        copy_of(&store, data.path(), &copy);
        assert_eq!(open(&copy).0.gateways().remove(0).hours, hours, "after {number}");
        if number == 3 {
            store.flush().await.unwrap();
        }
    }
}

/// A report is not durable: what it made late is written down with the batch.
#[tokio::test]
async fn a_window_that_a_report_made_late_is_late_after_a_kill() {
    let (data, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let g = epoch("g", 1);
    let (store, _) = open(data.path());
    store.put(&g, counted(1), false).await.unwrap();
    store.progress(&g, &report_of(0, Timestamp::from_millis(1_000_000), 1)).unwrap();
    store.put(&g, batch(0, 2, vec![entry(0, 50, 9, 9)]), false).await.unwrap();
    assert_eq!(state(&store).1.late, 1);
    copy_of(&store, data.path(), &copy.path().join("data"));
    assert_eq!(state(&open(&copy.path().join("data")).0).1.late, 1);
}

#[tokio::test]
async fn retiring_survives_a_kill_and_a_repair_and_ends_with_a_stream() {
    let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let g = epoch("g", 1);
    let (store, _) = open(data.path());
    store.put(&g, counted(1), false).await.unwrap();
    assert_eq!(store.retire_gateway(&g.gateway, true).unwrap(), Some(false));
    assert_eq!(store.stats().retired_gateways, 1);
    let copy = copies.path().join("killed");
    copy_of(&store, data.path(), &copy);
    let (killed, _) = open(&copy);
    assert_eq!(state(&killed), (true, LateAndRefused { late: 0, refused: 3 }), "the batch is replayed");
    assert_eq!(killed.stats().retired_gateways, 1);
    killed.flush().await.unwrap();
    drop(killed);
    // The catalog must be built anew from whole values.
    {
        let catalog_store = CatalogStore::new(SledTree::open(&copy.join("sled"), 1 << 20).unwrap());
        let mut meta = catalog_store.load().unwrap().meta;
        let mut writes = WriteBatch::new(meta.sequence + 1);
        writes.copy(records::numbered(records::GROUP, 0), b"damaged".to_vec());
        catalog_store.commit(writes, &mut meta).unwrap();
    }
    assert!(!verify(&copy).unwrap().is_clean());
    repair(&copy).unwrap();
    let (repaired, _) = open(&copy);
    assert_eq!(state(&repaired), (true, LateAndRefused { late: 0, refused: 3 }));
    repaired.begin(&g).await.unwrap();
    assert!(!state(&repaired).0);
    repaired.flush().await.unwrap();
    drop(repaired);
    let (later, _) = open(&copy);
    assert_eq!((state(&later).0, later.stats().retired_gateways), (false, 0));
}
