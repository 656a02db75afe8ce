use std::io::{Read, Seek, SeekFrom, Write};

use catchment_partial::Timestamp;
use catchment_proto::Batch;
use proptest::prelude::*;

use super::*;
use crate::store::{
    IngestStore as _, MaintenanceStore as _, ReadAll as _, StoreError,
    testing::{Model, batch, config, content, copy_of, entries, entry, epoch, open},
    verify,
};

/// An event in the life of a store.
#[derive(Clone, Debug)]
enum Event {
    Put(usize, u32, Vec<catchment_proto::Entry>),
    /// Repeats the last batch of this epoch and shard.
    Repeat(usize, u32),
    Flush,
    /// A graceful shutdown and a new start.
    Restart,
    /// A start on a copy of the files as they are.
    Crash,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0..3_usize, 0..2_u32, entries()).prop_map(|(o, s, e)| Event::Put(o, s, e)),
        1 => (0..3_usize, 0..2_u32).prop_map(|(o, s)| Event::Repeat(o, s)),
        2 => Just(Event::Flush),
        1 => Just(Event::Restart),
        2 => Just(Event::Crash),
    ];
    proptest::collection::vec(event, 1..30)
}

async fn run(events: Vec<Event>) {
    let mut folders = vec![tempfile::tempdir().unwrap()];
    let epochs = [epoch("g1", 1), epoch("g1", 2), epoch("g2", 1)];
    let mut last: [[Option<Batch>; 2]; 3] = Default::default();
    let mut model = Model::default();
    let (mut store, _) = open(folders[0].path());
    for event in events {
        match event {
            Event::Put(which, shard, entries) => {
                let last = &mut last[which][shard as usize];
                let sent = batch(shard, last.as_ref().map_or(1, |last| last.number + 1), entries);
                store.put(&epochs[which], sent.clone(), false).await.unwrap();
                model.put(&epochs[which], &sent);
                *last = Some(sent);
            }
            Event::Repeat(which, shard) => {
                if let Some(sent) = &last[which][shard as usize] {
                    store.put(&epochs[which], sent.clone(), false).await.unwrap();
                }
            }
            Event::Flush => store.flush().await.unwrap(),
            Event::Restart => {
                store.close().await.unwrap();
                drop(store);
                store = open(folders.last().unwrap().path()).0;
            }
            Event::Crash => {
                let crashed = tempfile::tempdir().unwrap();
                copy_of(&store, folders.last().unwrap().path(), crashed.path());
                drop(store);
                let (opened, report) = open(crashed.path());
                assert_eq!((report.damage, report.lost_batches), (0, 0));
                store = opened;
                folders.push(crashed);
            }
        }
        assert_eq!(content(&*store), model.content());
        for (epoch, last) in epochs.iter().zip(&last) {
            let numbers = last.each_ref().map(|sent| sent.as_ref().map_or(0, |sent| sent.number));
            assert_eq!(store.delivered(epoch), numbers);
        }
    }
    drop(store);
    let report = verify(folders.last().unwrap().path()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!(report.partials as usize <= 2 * model.len() + 1000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]
    #[test]
    fn acknowledged_batches_survive_any_history(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(events));
    }
}

/// A store with three batches flushed and three in the journal.
async fn filled(data: &Path, model: &mut Model) {
    let epoch = epoch("g", 1);
    let (store, _) = open(data);
    for number in 1..=6_u64 {
        let mut sent = batch(0, number, vec![entry(0, number as i64, 1, 1), entry(1, 500, number, number)]);
        for (mark, entry) in sent.entries.iter_mut().enumerate() {
            entry.body = crate::store::testing::body(entry.window, 7_000_000 + 10 * number + mark as u64, 2);
        }
        store.put(&epoch, sent.clone(), false).await.unwrap();
        model.put(&epoch, &sent);
        if number == 3 {
            store.flush().await.unwrap();
        }
    }
}

/// A store whose journal has released its flushed part, and the windows that only the journal holds.
async fn released(data: &Path) -> (Model, Vec<i64>) {
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, _) = EmbeddedStore::open(data, small()).unwrap();
    for number in 1..=60_u64 {
        let entries = (0..20).map(|i| entry(i % 3, number as i64 * 20 + i64::from(i), number, number));
        let sent = batch(0, number, entries.collect());
        store.put(&epoch, sent.clone(), false).await.unwrap();
        model.put(&epoch, &sent);
        if number % 20 == 18 {
            store.flush().await.unwrap();
        }
    }
    store.inner.log.close().unwrap();
    assert!(store.inner.log.start_position() > Position::ZERO, "nothing was released");
    (model, (59 * 20..61 * 20).collect())
}

/// A journal that releases as much as it can.
fn small() -> StoreConfig {
    let journal = catchment_journal::LogConfig {
        segment_bytes: 16 << 10,
        bytes_max: 128 << 10,
        record_bytes_max: 8 << 10,
        reserve_bytes: 4 << 10,
        ..config().journal
    };
    StoreConfig { journal, ..config() }
}

/// Overwrites the first occurrence of these bytes in the files of a folder; false if there is none.
fn damage(folder: &Path, bytes: &[u8]) -> bool {
    for file in std::fs::read_dir(folder).unwrap() {
        let mut file = std::fs::File::options().read(true).write(true).open(file.unwrap().path()).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        if let Some(place) = content.windows(bytes.len()).position(|window| window == bytes) {
            file.seek(SeekFrom::Start(place as u64)).unwrap();
            file.write_all(&vec![0xa5; bytes.len()]).unwrap();
            return true;
        }
    }
    false
}

#[tokio::test]
async fn damage_in_the_journal_is_reported_by_batch_and_the_rest_is_kept() {
    let data = tempfile::tempdir().unwrap();
    filled(data.path(), &mut Model::default()).await;
    let fifth = crate::store::testing::body(crate::store::testing::window(5), 7_000_050, 2);
    assert!(damage(&data.path().join(JOURNAL), &fifth));
    let report = verify(data.path()).unwrap();
    let told = "gateway berlin/g, epoch 1, shard 0: batches 5 to 5";
    assert!(report.findings.iter().any(|finding| finding.contains(told)), "{:?}", report.findings);
    let (store, report) = open(data.path());
    assert_eq!((report.replayed, report.lost_batches, report.lost), (2, 1, vec![told.to_owned()]));
    assert!(report.damage > 0);
    let kept: Vec<i64> = content(&*store).keys().map(|(_, _, window)| window.index()).collect();
    assert_eq!(kept, [1, 2, 3, 4, 6, 500]);
    assert_eq!(store.delivered(&epoch("g", 1)), [6, 0]);
    assert_eq!(store.stats().journal_damage, report.damage);
}

#[tokio::test]
async fn lost_blocks_are_replayed_from_a_journal_that_holds_them() {
    let data = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    filled(data.path(), &mut model).await;
    std::fs::remove_dir_all(data.path().join(SLED)).unwrap();
    assert!(!verify(data.path()).unwrap().is_clean());
    let (store, report) = open(data.path());
    assert_eq!((report.damage, report.lost_batches, report.replayed), (1, 0, 6));
    assert_eq!(content(&*store), model.content());
}

#[tokio::test]
async fn a_lost_folder_of_blocks_is_never_taken_for_an_empty_store() {
    let data = tempfile::tempdir().unwrap();
    let (model, _) = released(data.path()).await;
    let sled = data.path().join(SLED);
    std::fs::rename(&sled, data.path().join("gone")).unwrap();
    let Err(error) = EmbeddedStore::open(data.path(), small()) else {
        panic!("it starts without its blocks")
    };
    let text = error.to_string();
    assert!(
        text.contains("journal") && text.contains("store repair"),
        "names what is left and what to do: {text}"
    );
    assert!(!verify(data.path()).unwrap().is_clean());

    std::fs::remove_dir_all(&sled).unwrap();
    std::fs::rename(data.path().join("gone"), &sled).unwrap();
    let (store, _) = EmbeddedStore::open(data.path(), small()).unwrap();
    assert_eq!(content(&*store), model.content(), "nothing was spoilt by the attempt");
}

#[tokio::test]
async fn blocks_that_cannot_be_opened_can_be_set_aside() {
    let data = tempfile::tempdir().unwrap();
    let (_, last) = released(data.path()).await;
    let db = data.path().join(SLED).join("db");
    let length = std::fs::metadata(&db).unwrap().len() as usize;
    std::fs::write(&db, vec![0x5a; length]).unwrap();
    let Err(OpenError::Blocks { .. }) = EmbeddedStore::open(data.path(), small()) else {
        panic!("opened garbage")
    };
    let aside = StoreConfig { set_blocks_aside: true, ..small() };
    let (store, report) = EmbeddedStore::open(data.path(), aside).unwrap();
    assert!(report.blocks_set_aside.is_some_and(|folder| folder.join("db").exists()));
    assert!(
        std::fs::read_dir(data.path().join("tables.aside-1")).unwrap().count() > 0,
        "nor are the tables removed"
    );
    assert!(report.lost_batches > 30, "{:?}", report.lost);
    let windows: Vec<i64> = content(&*store).keys().map(|(_, _, window)| window.index()).collect();
    assert!(
        last.iter().all(|window| windows.contains(window)),
        "the journal's content is there: {windows:?}"
    );
    drop(store);
    assert!(EmbeddedStore::open(data.path(), small()).is_ok(), "it continues from there");
}

#[tokio::test]
async fn a_lost_journal_is_reported_and_later_batches_survive() {
    let data = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let epoch = epoch("g", 1);
    let (store, _) = open(data.path());
    let first = batch(0, 1, vec![entry(0, 1, 1, 1)]);
    store.put(&epoch, first.clone(), false).await.unwrap();
    model.put(&epoch, &first);
    store.close().await.unwrap();
    drop(store);
    std::fs::remove_dir_all(data.path().join(JOURNAL)).unwrap();
    let (store, report) = open(data.path());
    assert_eq!(report.damage, 1);
    let second = batch(0, 2, vec![entry(0, 2, 2, 2)]);
    store.put(&epoch, second.clone(), false).await.unwrap();
    model.put(&epoch, &second);
    drop(store);
    let (store, report) = open(data.path());
    assert_eq!((report.damage, report.replayed), (0, 1), "its position is not below what the blocks cover");
    assert_eq!(content(&*store), model.content());
}

#[tokio::test]
async fn a_damaged_block_is_an_error_of_its_span_only() {
    let data = tempfile::tempdir().unwrap();
    {
        // Rows of a day each: blocks of different tables.
        let (store, _) = open(data.path());
        for (number, day) in [(1, 0), (2, 10), (3, 20)] {
            let sent = batch(0, number, vec![entry(0, day * 8_640, 1, 1), entry(1, day * 8_640, 1, 1)]);
            store.put(&epoch("g", 1), sent, false).await.unwrap();
        }
        store.flush().await.unwrap();
    }
    let folder = data.path().join(crate::store::tables::version::FOLDER);
    let path = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let path = path.into_iter().find(|path| path.to_string_lossy().contains("windows+10-")).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = verify(data.path()).unwrap();
    assert_eq!((report.damaged_blocks, report.findings.len()), (1, 1), "{:?}", report.findings);
    let told =
        "series 0 to 1 (the first: a{device=\"d\"} of berlin/g), windows that start from 1970-01-11T00:00:00";
    assert!(report.findings[0].contains(told), "{:?}", report.findings);
    let (store, _) = open(data.path());
    let all: Vec<_> = store.all_series().iter().map(|series| series.id).collect();
    let scan = |id, from, to| {
        let mut seen = 0;
        let mut count = |_, _, _: &_| {
            seen += 1;
            std::ops::ControlFlow::Continue(())
        };
        let day = |day: i64| Timestamp::from_millis(day * 86_400_000).unwrap();
        store.scan(&[id], day(from), day(to), &mut count).map(|()| seen)
    };
    assert!(matches!(scan(all[0], 0, 30), Err(StoreError::Read(text)) if text.contains("cannot be read")));
    assert_eq!((scan(all[0], 0, 10).unwrap(), scan(all[1], 11, 30).unwrap()), (1, 1));
    store.put(&epoch("g", 1), batch(0, 4, vec![entry(0, 30 * 8_640, 1, 1)]), false).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(scan(all[0], 11, 40).unwrap(), 2, "flushing continues beside the damage");
}

#[test]
fn nothing_to_verify_is_an_error_and_leaves_no_trace() {
    let data = tempfile::tempdir().unwrap();
    assert!(verify(data.path()).is_err());
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

/// Its batches would count as those of this store's gateways, or hide them.
#[tokio::test]
async fn another_stores_journal_is_refused() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        let (store, _) = open(folder.path());
        store.put(&epoch("g1", 1), batch(0, 1, vec![]), false).await.unwrap();
        store.close().await.unwrap();
    }
    let journals = folders.each_ref().map(|folder| folder.path().join(JOURNAL));
    let aside = folders[0].path().join("aside");
    let exchange = || {
        for (from, to) in [(&journals[0], &aside), (&journals[1], &journals[0]), (&aside, &journals[1])] {
            std::fs::rename(from, to).unwrap();
        }
    };
    exchange();
    let refused = EmbeddedStore::open(folders[0].path(), config()).map(drop).unwrap_err();
    assert!(refused.to_string().contains("`journal` belongs to another data folder"), "{refused}");
    assert!(verify(folders[0].path()).is_err());
    exchange();
    let (store, report) = open(folders[0].path());
    assert_eq!(report.damage, 0);
    store.close().await.unwrap();
}
