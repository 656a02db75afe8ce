//! Rounds that the system does not let finish.

use std::{
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use catchment_journal::{Committer, sim::SimDisk};
use catchment_proto::Batch;

use crate::store::{
    EmbeddedStore, IngestStore as _, MemoryTree,
    testing::{Model, batch, config, content, entry, epoch},
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
