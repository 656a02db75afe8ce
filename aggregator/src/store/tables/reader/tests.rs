//! What a reader holds, and what may happen between two calls.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use catchment_partial::{Partial, Timestamp, Window};

use crate::{
    selector::Selector,
    store::{
        EmbeddedStore, IngestStore as _, MaintenanceStore as _, Merged, QueryStore as _, ReadAll as _,
        RetentionRule, RowRequest, SeriesId, Steps,
        testing::{Content, Model, at, batch, entry, epoch, open},
    },
};

/// Rows that tests put into memory, and the most bytes that a reader of them may hold: much less than they take.
const IN_MEMORY: i64 = 12_000;
const HELD_MAX: usize = 400 << 10;

fn request(id: SeriesId, steps: Steps, resolution: Merged) -> RowRequest {
    RowRequest { series: id, from: Timestamp::MIN, to: Timestamp::MAX, steps, resolution }
}

/// The points of rows, whose bodies come in no order within a window.
fn points<'a>(rows: impl Iterator<Item = (Window, &'a [u8])>, steps: &Steps) -> BTreeMap<i64, Partial> {
    let mut points: BTreeMap<i64, Partial> = BTreeMap::new();
    for (window, body) in rows {
        let point = steps.start_of(window.start().as_millis()).unwrap_or(0);
        points.entry(point).or_default().merge_encoded_across_series(body, window.start()).unwrap();
    }
    points
}

fn expected(content: &Content) -> impl Iterator<Item = (Window, &[u8])> {
    content.iter().flat_map(|((.., window), bodies)| bodies.iter().map(|body| (*window, body.as_slice())))
}

/// Puts windows of three days in no order; some of them replace those of an earlier round.
async fn put_round(store: &EmbeddedStore, model: &mut Model, round: u64) {
    for third in 0..3 {
        let each = IN_MEMORY / 3;
        let entries = (third * each..(third + 1) * each).map(|n| {
            let index = (n * 7_919 + round as i64 * 31) % 25_000;
            entry(0, index, index as u64 + 1, index as u64 + 1 + round)
        });
        let batch = batch(0, round * 3 + third as u64 + 1, entries.collect());
        model.put(&epoch("g", 1), &batch);
        store.put(&epoch("g", 1), batch, false).await.unwrap();
    }
}

#[tokio::test]
async fn rows_in_memory_are_read_once_and_few_are_held_although_they_are_flushed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let mut model = Model::default();
    put_round(&store, &mut model, 0).await;
    store.flush().await.unwrap();
    let id = store.all_series()[0].id;
    let requests = [
        (Steps::Every(10_000), Merged::OnlyWithoutWindows),
        (Steps::Every(60_000), Merged::Allowed),
        (Steps::Every(7_200_000), Merged::Allowed),
        (Steps::Whole, Merged::Allowed),
    ];
    for (round, (steps, resolution)) in (1..).zip(requests) {
        put_round(&store, &mut model, round).await;
        let content = model.content();
        let mut reader = store.rows(&request(id, steps.clone(), resolution)).unwrap();
        let (mut rows, mut held, mut calls, mut last) = (Vec::new(), 0, 0, Timestamp::MIN);
        let mut visit = |window: Window, body: &[u8]| {
            assert!(window.start() >= last, "rows in order of their start");
            last = window.start();
            rows.push((window, body.to_vec()));
        };
        while reader.advance(&mut visit).unwrap() {
            calls += 1;
            held = held.max(reader.memory());
            if calls == 300 * round {
                store.flush().await.unwrap();
            }
        }
        assert_eq!(reader.damaged(), []);
        let found = points(rows.iter().map(|(window, body)| (*window, body.as_slice())), &steps);
        assert_eq!(found, points(expected(&content), &steps), "{steps:?}");
        if resolution == Merged::OnlyWithoutWindows {
            assert_eq!(rows.len(), model.len(), "each once");
        }
        assert!(held < HELD_MAX, "{held} bytes");
        assert!(calls > 300 * round, "{calls} calls: they are short, and a flush came between");
    }
}

/// A round of retention long after the first day: only rows of days are left of it.
async fn leave_days(store: &Arc<EmbeddedStore>) {
    let keep = Some(Duration::from_secs(86_400));
    let rule =
        RetentionRule { selector: Selector::parse_or_all("").unwrap(), keep: [keep, keep, keep, None] };
    let removing = Arc::clone(store);
    let removed = tokio::task::spawn_blocking(move || removing.retain(&[rule], at(100 * 86_400)));
    removed.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_interval_of_which_retention_takes_the_rest_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    // A day with too many rows in memory for a section of it.
    let entries = (0..8_640).map(|index| entry(0, index, 1, 1)).collect();
    store.put(&epoch("g", 1), batch(0, 1, entries), false).await.unwrap();
    let id = store.all_series()[0].id;
    let windows = request(id, Steps::Every(10_000), Merged::OnlyWithoutWindows);
    let mut reader = store.rows(&windows).unwrap();
    let mut last = Timestamp::MIN;
    while last < at(3_600) {
        assert!(reader.advance(&mut |window, _| last = window.start()).unwrap());
    }
    // Only days are left of it.
    store.flush().await.unwrap();
    leave_days(&store).await;
    while reader.advance(&mut |window, _| last = window.start()).unwrap() {}
    let [(from, to)] = *reader.damaged() else { panic!("{:?}", reader.damaged()) };
    assert!(last < from, "{last:?} {from:?}");
    assert_eq!(to, at(86_400));
}

#[tokio::test]
async fn what_a_flush_puts_into_a_day_of_which_a_part_was_read_is_told_or_missing_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    store.put(&epoch("g", 1), batch(0, 1, vec![entry(0, 0, 1, 1)]), false).await.unwrap();
    store.flush().await.unwrap();
    leave_days(&store).await;
    // Late windows of a day of which only the row of the day is left, more than a section takes.
    let late = (1..8_640).map(|index| entry(0, index, 2, 2)).collect();
    store.put(&epoch("g", 1), batch(0, 2, late), false).await.unwrap();
    let id = store.all_series()[0].id;
    let whole = request(id, Steps::Whole, Merged::Allowed);
    let count = |reader: &mut dyn crate::store::RowReader, flushed: Option<usize>| {
        let (mut count, mut calls) = (0, 0);
        let mut visit =
            |window: Window, body: &[u8]| count += Partial::decode(body, window.start()).unwrap().count();
        while flushed.is_none_or(|most| calls < most) && reader.advance(&mut visit).unwrap() {
            calls += 1;
        }
        count
    };
    let mut reader = store.rows(&whole).unwrap();
    let all = count(&mut *reader, None);
    assert_eq!(reader.damaged(), []);
    let mut reader = store.rows(&whole).unwrap();
    let before = count(&mut *reader, Some(100));
    assert!(before < all, "{before} of {all}");
    store.flush().await.unwrap();
    let seen = before + count(&mut *reader, None);
    let damaged = reader.damaged().to_vec();
    assert!(seen == all || !damaged.is_empty(), "{seen} of {all}, {damaged:?}");
    let mut again = store.rows(&whole).unwrap();
    assert_eq!((count(&mut *again, None), again.damaged()), (all, &[][..]));
}
