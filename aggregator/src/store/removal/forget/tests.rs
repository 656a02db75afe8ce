use crate::store::{
    Store,
    testing::{Model, at, batch, content, entry, epoch, open, window},
};

#[tokio::test]
async fn old_windows_are_removed_from_blocks_and_memory_with_empty_series() {
    let data = tempfile::tempdir().unwrap();
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = open(data.path());
    // Series 0 lives on, series 1 ends early, series 2 is only in memory.
    let mut flushed: Vec<_> = (0..1500).map(|index| entry(0, index, 1, 1)).collect();
    flushed.extend((0..10).map(|index| entry(1, index, 1, 1)));
    let recent = vec![entry(2, 3, 1, 1), entry(2, 900, 1, 1), entry(0, 2, 1, 2), entry(0, 3, 9, 9)];
    for (number, entries) in [(1, flushed), (2, recent)] {
        let sent = batch(0, number, entries);
        store.put(&epoch, sent.clone(), false).await.unwrap();
        model.put(&epoch, &sent);
        if number == 1 {
            store.flush().await.unwrap();
        }
    }
    assert_eq!(store.forget_before(at(5)).unwrap(), 0, "the first window ends later");
    assert_eq!(content(&*store), model.content());

    let before = window(800).end();
    assert_eq!(store.forget_before(before).unwrap(), model.forget_before(before));
    assert_eq!(content(&*store), model.content());
    let series = store.series(&|_, _| true);
    let first: Vec<_> = series.iter().map(|series| (series.key.metric.as_str(), series.windows.0)).collect();
    assert_eq!(first, [("a", window(801).start()), ("c", window(900).start())]);
    assert_eq!(store.forget_before(before).unwrap(), 0);

    let sent = batch(0, 3, vec![entry(1, 2000, 1, 1)]);
    store.put(&epoch, sent.clone(), false).await.unwrap();
    model.put(&epoch, &sent);
    store.close().await.unwrap();
    drop(store);
    let (store, _) = open(data.path());
    assert_eq!(content(&*store), model.content());
    let ids: Vec<u32> = store.series(&|_, _| true).iter().map(|series| series.id.0).collect();
    assert_eq!(ids, [0, 2, 3], "a number is not reused");
}
