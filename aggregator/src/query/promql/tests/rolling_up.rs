//! Where windows are no longer stored, minutes, hours and days stand for them.

use super::*;
use crate::{
    selector::Selector,
    store::{EmbeddedStore, MaintenanceStore as _, RetentionRule, StoreConfig},
};

const DAY_MS: i64 = 86_400_000;

/// A reading each ten minutes of ten days; windows are kept for one day, minutes for three.
async fn store() -> (tempfile::TempDir, Arc<EmbeddedStore>) {
    let data = tempfile::tempdir().unwrap();
    let (store, _) = EmbeddedStore::open(data.path(), StoreConfig::default()).unwrap();
    let readings: Vec<_> = (0..10 * 144).map(|n| (n * 600_000 + 1_000, (n % 13) as f64)).collect();
    for (number, readings) in readings.chunks(144).enumerate() {
        put(&*store, "g1", number as u64 + 1, key("d", "m", &[]), readings).await;
    }
    store.flush().await.unwrap();
    let keep = [Some(1), Some(3), None, None].map(|days| days.map(|days| Duration::from_secs(days * 86_400)));
    let rules = [RetentionRule { selector: Selector::default(), keep }];
    let (removing, now) = (Arc::clone(&store), Timestamp::from_millis(10 * DAY_MS).unwrap());
    tokio::task::spawn_blocking(move || removing.retain(&rules, now)).await.unwrap().unwrap();
    (data, store)
}

async fn widths(store: &Arc<EmbeddedStore>, grid: Grid, range: FetchRange) -> (i64, f64) {
    let (alignment, series, begun) =
        fetched(store, fetch(&[("__name__", "=", "m")], grid, range, SUMS)).await.unwrap();
    assert_eq!(begun, 1);
    (alignment.width_ms, series.iter().flat_map(figures).map(|(_, of)| of.count).sum())
}

#[tokio::test]
async fn the_width_is_that_of_what_is_stored_at_that_age() {
    let (_data, store) = store().await;
    let at = |days: i64| Grid::instant(days * DAY_MS + 12 * 3_600_000);
    let hours = FetchRange::Ms(2 * 3_600_000);
    assert_eq!(widths(&store, at(9), hours).await, (10_000, 12.0));
    assert_eq!(widths(&store, at(8), hours).await, (60_000, 12.0));
    assert_eq!(widths(&store, at(2), hours).await, (3_600_000, 12.0));
    let all = Grid { start_ms: DAY_MS, step_ms: DAY_MS, count: 10 };
    assert_eq!(widths(&store, all, FetchRange::Ms(DAY_MS)).await, (3_600_000, 1_440.0));
    assert_eq!(widths(&store, at(9), FetchRange::Lookback).await.0, 10_000);
}

#[tokio::test]
async fn the_last_window_of_what_was_merged_is_the_finest_that_is_left() {
    let (_data, store) = store().await;
    let grid = Grid { start_ms: 2 * DAY_MS, step_ms: 3_600_000, count: 3 };
    let asked = fetch(&[("__name__", "=", "m:window")], grid, FetchRange::Lookback, SUMS);
    let (alignment, series, _) = fetched(&store, asked).await.unwrap();
    assert_eq!((alignment.width_ms, alignment.range_ms), (3_600_000, 3_600_000));
    let starts: Vec<_> = windows(&series[0]).iter().map(|(start, of)| (*start, of.count())).collect();
    assert_eq!(starts, [-1, 0, 1].map(|hour| (2 * DAY_MS + hour * 3_600_000, 6)));
}
