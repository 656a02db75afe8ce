mod damage;
mod kills;
mod load;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{BackupError, BackupFile, BackupSource as _, Snapshot};
use crate::{
    backup::{Done, Failure, Incoming, Source, Target, TargetError, read_files},
    store::{
        EmbeddedStore, GatewayEpoch, IngestStore as _, Restored,
        tables::compactor,
        testing::{Model, assert_merged_alike, batch, content, entry, epoch, open},
        verify,
    },
};

/// A store, the model of what it holds, and folders beside it.
struct Rig {
    folder: tempfile::TempDir,
    store: Arc<EmbeddedStore>,
    epoch: GatewayEpoch,
    model: Model,
    number: u64,
}

/// What ends a copy.
#[derive(Debug)]
enum CopyError {
    Backup(BackupError),
    Target(TargetError),
    Killed,
}

impl From<BackupError> for CopyError {
    fn from(error: BackupError) -> Self {
        Self::Backup(error)
    }
}

impl From<TargetError> for CopyError {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = open(&folder.path().join("data"));
        Self { folder, store, epoch: epoch("g", 1), model: Model::default(), number: 0 }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    /// Puts a batch of some windows of three series, the first of them on this index.
    async fn put(&mut self, from: i64) {
        self.number += 1;
        let entries = (0..60).map(|i| entry(i % 3, from + i64::from(i), self.number, self.number));
        let batch = batch(0, self.number, entries.collect());
        self.store.put(&self.epoch, batch.clone(), false).await.unwrap();
        self.model.put(&self.epoch, &batch);
    }

    /// Batches over some days, flushed one by one, so that there are several tables.
    async fn fill(&mut self) {
        for day in 0..4 {
            self.put(day * 8_640).await;
            self.store.flush().await.unwrap();
        }
        self.put(7).await;
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        self.store.snapshot(1_700_000_000_000, &mut || {}).unwrap()
    }

    fn back_up(&self) -> Done {
        let mut snapshot = self.snapshot();
        copy(&mut *snapshot, Target::open(&self.dir()).unwrap(), &mut || true).unwrap()
    }
}

/// Copies a snapshot, until `more` says that it is over.
fn copy(
    snapshot: &mut dyn Snapshot,
    target: Target,
    more: &mut dyn FnMut() -> bool,
) -> Result<Done, CopyError> {
    let mut incoming: Incoming = target.begin(snapshot.contents().clone())?;
    let wanted: Vec<BackupFile> =
        snapshot.contents().files.iter().filter(|file| incoming.wants(file)).cloned().collect();
    let each = |file: &BackupFile, offset, content: Vec<u8>| {
        if !more() {
            return Err(CopyError::Killed);
        }
        Ok(incoming.write(&file.name, offset, &content)?)
    };
    read_files(snapshot, |file| wanted.contains(file), each)?;
    if !more() {
        return Err(CopyError::Killed);
    }
    Ok(incoming.finish()?)
}

fn restore(dir: &Path, data: &Path) -> Result<Restored, Failure> {
    Source::open(dir)?.restore(data, 1_700_000_000_000, &mut || Ok(()))
}

/// Restores into a new folder, checks it, and opens it.
fn restored(rig: &Rig) -> (tempfile::TempDir, Arc<EmbeddedStore>) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    restore(&rig.dir(), &data).unwrap();
    let report = verify(&data).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let (store, report) = open(&data);
    assert_eq!((report.damage, report.lost_batches, report.replayed), (0, 0, 0));
    (folder, store)
}

#[tokio::test]
async fn a_restored_store_is_that_of_the_snapshot_and_takes_what_came_later() {
    let mut rig = Rig::new();
    rig.fill().await;
    let (then, delivered) = (rig.model.content(), rig.store.delivered(&rig.epoch));
    let mut snapshot = rig.snapshot();
    // What happens meanwhile is not in it, and takes nothing from it.
    rig.put(8_000).await;
    rig.store.flush().await.unwrap();
    while compactor::compact_once(&rig.store.inner, false, &|| false).unwrap() {}
    copy(&mut *snapshot, Target::open(&rig.dir()).unwrap(), &mut || true).unwrap();
    let (_folder, store) = restored(&rig);
    assert_eq!(content(&*store), then);
    assert_eq!(store.delivered(&rig.epoch), delivered);
    assert_merged_alike(&*store);
    // The gateway sends again what the backup lacks.
    let entries = (0..60).map(|i| entry(i % 3, 8_000 + i64::from(i), rig.number, rig.number));
    store.put(&rig.epoch, batch(0, rig.number, entries.collect()), true).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(content(&*store), rig.model.content());
    assert_merged_alike(&*store);
    assert_eq!(store.stats().gaps, 0);
}

#[tokio::test]
async fn only_new_files_are_copied_and_old_ones_go_last() {
    let mut rig = Rig::new();
    rig.fill().await;
    let first = rig.back_up();
    assert_eq!(first.copied.0, first.contents.files.len() as u64);
    assert_eq!(first.copied.1, first.contents.bytes());
    let again = rig.back_up();
    assert_eq!(again.copied.0, 1, "the catalog alone: it counts the flush");
    assert_eq!(again.contents.store, first.contents.store);
    rig.put(50_000).await;
    let third = rig.back_up();
    let old: Vec<_> =
        again.contents.files.iter().filter(|file| third.contents.files.contains(file)).collect();
    assert_eq!(third.copied.0 as usize, third.contents.files.len() - old.len());
    assert!(!old.is_empty() && third.copied.0 > 1);
    let (_folder, store) = restored(&rig);
    assert_eq!(content(&*store), rig.model.content());
    let mut stored = Vec::new();
    for folder in ["files", "files/tables"] {
        let entries = std::fs::read_dir(rig.dir().join(folder)).unwrap();
        stored.extend(entries.filter(|entry| entry.as_ref().unwrap().path().is_file()));
    }
    assert_eq!(stored.len(), third.contents.files.len(), "what the list does not name is gone");
}

#[tokio::test]
async fn a_restored_store_goes_on_in_the_same_folder() {
    let mut rig = Rig::new();
    rig.fill().await;
    rig.back_up();
    let (_folder, store) = restored(&rig);
    // Both make tables of the same numbers now, with other contents.
    rig.put(20_000).await;
    rig.back_up();
    let batch = batch(0, rig.number, vec![entry(1, 30_000, 900, 900)]);
    store.put(&rig.epoch, batch, true).await.unwrap();
    let mut snapshot = store.snapshot(0, &mut || {}).unwrap();
    let done = copy(&mut *snapshot, Target::open(&rig.dir()).unwrap(), &mut || true).unwrap();
    assert!(done.copied.0 > 1);
    let (_second, again) = restored(&rig);
    assert_eq!(content(&*again), content(&*store));
}

#[tokio::test]
async fn flushes_wait_for_a_backup_until_it_says_so() {
    let mut rig = Rig::new();
    rig.fill().await;
    let mut free = Vec::new();
    // The compactor may hold it for a moment.
    let is_free = || {
        (0..1_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            rig.store.inner.flush_lock.try_lock().is_ok()
        })
    };
    let snapshot = rig.store.snapshot(0, &mut || free.push(is_free())).unwrap();
    assert!(snapshot.contents().files.len() > 1);
    assert_eq!(free, [true]);
}

#[tokio::test]
async fn an_empty_store_is_backed_up_too() {
    let rig = Rig::new();
    assert_eq!(rig.back_up().contents.files.len(), 1);
    let (_folder, store) = restored(&rig);
    assert!(content(&*store).is_empty());
}

#[tokio::test]
async fn folders_of_something_else_are_refused() {
    let mut rig = Rig::new();
    rig.put(0).await;
    let other = Rig::new();
    rig.back_up();
    let mut foreign = other.snapshot();
    let refused = copy(&mut *foreign, Target::open(&rig.dir()).unwrap(), &mut || true);
    assert!(matches!(refused, Err(CopyError::Target(TargetError::OtherStore { .. }))), "{refused:?}");
    let data = rig.folder.path().join("data");
    assert!(matches!(Target::open(&data), Err(TargetError::Foreign { .. })));
    let held = Target::open(&rig.dir()).unwrap();
    assert!(matches!(Target::open(&rig.dir()), Err(TargetError::Locked(_))));
    assert!(matches!(Source::open(&rig.dir()), Err(Failure::Target(TargetError::Locked(_)))));
    drop(held);
    let full = restore(&rig.dir(), &data).unwrap_err();
    assert!(full.to_string().contains("restore into an empty or new folder"), "{full}");
    let none = Source::open(rig.folder.path()).err().unwrap();
    assert!(none.to_string().contains("holds no backup"), "{none}");
    // Neither has changed anything.
    let (_folder, store) = restored(&rig);
    assert_eq!(content(&*store), rig.model.content());
}
