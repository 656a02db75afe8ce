//! Rounds that the system does not let finish.

use std::{
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use catchment_journal::{Committer, sim::SimDisk};
use catchment_proto::{
    Batch,
    wire::{self, deliver_request::Kind},
};

use crate::{
    clock_bound::ClockBound,
    ingest::admit::{Admitted, StreamAdmission},
    store::{
        EmbeddedStore, IngestStore as _, MemoryTree, StoreConfig,
        testing::{Model, batch, config, content, entry, epoch},
    },
};

fn put(store: &EmbeddedStore<SimDisk>, committer: &mut Committer<SimDisk>, batch: Batch) {
    let (epoch, mut context) = (epoch("gw-1", 1), Context::from_waker(Waker::noop()));
    let mut put = pin!(store.put(&epoch, batch, false));
    assert!(put.as_mut().poll(&mut context).is_pending());
    assert!(committer.step().is_ok());
    assert!(matches!(put.poll(&mut context), Poll::Ready(Ok(()))));
}

#[test]
fn a_round_that_may_not_open_a_table_is_tried_again() {
    let (disk, tree, mut model) = (SimDisk::new(1), MemoryTree::default(), Model::default());
    let start =
        || EmbeddedStore::manual(Arc::new(disk.clone()), Path::new("/data"), config(), tree.clone()).unwrap();
    let first = batch(0, 1, vec![entry(0, 1, 1, 1), entry(1, 1, 1, 1)]);
    let second = batch(0, 2, vec![entry(0, 1, 1, 2)]);
    {
        let (store, mut committer, _) = start();
        put(&store, &mut committer, first.clone());
        store.flush_now().unwrap();
    }
    let (store, mut committer, _) = start();
    put(&store, &mut committer, second.clone());
    for batch in [&first, &second] {
        model.put(&epoch("gw-1", 1), batch);
    }
    disk.refuse_opens(true);
    for _ in 0..3 {
        store.flush_now().unwrap();
        assert_eq!(store.stats().flushed_partials, 0, "whether it replaces a window is not known yet");
    }
    disk.refuse_opens(false);
    store.flush_now().unwrap();
    assert_eq!(store.stats().flushed_partials, 1);
    assert_eq!(content(&*store), model.content());
}

/// Files of tables.
fn tables(disk: &SimDisk) -> Vec<String> {
    let files = disk.files().into_iter().filter(|(path, _)| path.starts_with("/data/tables"));
    files.map(|(path, _)| path.display().to_string()).collect()
}

/// A round over 150 days, which are written in three steps, does not end at first, because of a fault of the disk.
fn a_round_that_ends_early(begin: impl Fn(&SimDisk), end: impl Fn(&SimDisk)) {
    let (disk, mut model) = (SimDisk::new(3), Model::default());
    let config = StoreConfig { flush_free_min: 8 << 10, ..config() };
    let (store, mut committer, _) =
        EmbeddedStore::manual(Arc::new(disk.clone()), Path::new("/data"), config, MemoryTree::default())
            .unwrap();
    let first = batch(0, 1, vec![entry(0, 1, 1, 1)]);
    let second = batch(0, 2, (0..150).map(|day| entry(1, day * 8_640, 1, 1)).collect());
    put(&store, &mut committer, first.clone());
    store.flush_now().unwrap();
    let before = tables(&disk);
    assert_eq!(before.len(), 4);
    put(&store, &mut committer, second.clone());
    [&first, &second].into_iter().for_each(|batch| model.put(&epoch("gw-1", 1), batch));
    begin(&disk);
    for _ in 0..3 {
        store.flush_now().unwrap();
        assert_eq!(tables(&disk), before, "nothing is left of a round that did not end");
        assert_eq!(store.stats().flushed_partials, 1);
    }
    assert_eq!(content(&*store), model.content());
    end(&disk);
    store.flush_now().unwrap();
    assert_eq!(store.stats().flushed_partials, 151);
    assert!(tables(&disk).len() > 150);
    assert_eq!(content(&*store), model.content());
}

#[test]
fn a_round_that_may_not_create_a_table_leaves_no_file_and_is_tried_again() {
    // 64 days take 64 + 16 + 1 + 1 files, so this is in the second step.
    a_round_that_ends_early(
        |disk| disk.refuse_creates_after(Some(100)),
        |disk| disk.refuse_creates_after(None),
    );
}

#[test]
fn a_round_without_space_leaves_no_file() {
    let used =
        |disk: &SimDisk| disk.files().iter().map(|(_, bytes)| bytes.next_multiple_of(4_096)).sum::<u64>();
    a_round_that_ends_early(|disk| disk.set_quota(Some(used(disk) + 400_000)), |disk| disk.set_quota(None));
}

#[test]
fn days_that_no_gateway_accepts_make_no_tables_and_a_replay_lacks_them_too() {
    let (disk, tree, mut model) = (SimDisk::new(5), MemoryTree::default(), Model::default());
    let start =
        || EmbeddedStore::manual(Arc::new(disk.clone()), Path::new("/data"), config(), tree.clone()).unwrap();
    let now_ms = 1_700_000_000_000;
    let entries = (0..4_000).map(|day| entry(u32::from(day > 2_000), now_ms / 10_000 + day * 8_640, 1, 1));
    let message = wire::Batch::from(&batch(0, 1, entries.collect()));
    let message = wire::DeliverRequest { kind: Some(Kind::Batch(message)) };
    let clock = ClockBound::new(now_ms, std::time::Duration::from_secs(600));
    let admitted = StreamAdmission::new(2, Vec::new()).admit(message, clock).unwrap();
    let Admitted::Batch { batch, left_out: 3_633, .. } = admitted else { panic!("{admitted:?}") };
    model.put(&epoch("gw-1", 1), &batch);
    {
        let (store, mut committer, _) = start();
        put(&store, &mut committer, batch);
        assert_eq!(content(&*store), model.content());
    }
    let (store, _committer, _) = start();
    assert_eq!(content(&*store), model.content());
    assert_eq!((store.stats().memtable_partials, store.stats().series), (367, 1));
    store.flush_now().unwrap();
    assert_eq!(content(&*store), model.content());
    // Those of windows, and fewer of minutes, hours and days, each of these once more for every step.
    assert!(tables(&disk).len() < 367 + 92 + 6 + 1 + 3 * 6, "{}", tables(&disk).len());
}
