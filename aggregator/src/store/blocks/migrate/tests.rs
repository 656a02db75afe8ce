use std::{collections::BTreeMap, path::Path, sync::Arc};

use catchment_journal::sim::SimDisk;
use futures_util::FutureExt as _;

use crate::store::{
    EmbeddedStore, IngestStore as _, MemoryTree, OpenError, StoreConfig,
    blocks::block,
    catalog::{catalog_store::CatalogStore, groups::group_of},
    embedded::locks::lock,
    memtable::row::{Row, bucket_of},
    tables::{
        resolution::Resolution,
        scan::{ScanStep, TableScan},
    },
    testing::{Model, assert_merged_alike, batch, config, content, entry, epoch},
    tree::{WriteBatch, records},
};

const DATA: &str = "/data";

/// Writes the windows of all tables to blocks, as an earlier version would have, and forgets the tables.
fn back_to_blocks(store: &EmbeddedStore<SimDisk>) {
    let inner = &store.inner;
    let mut blocks: BTreeMap<(u32, i64), Vec<Row>> = BTreeMap::new();
    let version = inner.tables.version();
    let mut writes = WriteBatch::new(1_000_000);
    for stored in version.all() {
        writes.remove(stored.entry.key());
        if stored.entry.resolution != Resolution::Windows {
            continue;
        }
        let mut scan = TableScan::new(Arc::clone(&stored.table)).unwrap();
        while let ScanStep::Row = scan.advance() {
            let row = scan.row().unwrap();
            let place = (group_of(row.series), bucket_of(row.name.start));
            blocks.entry(place).or_default().push(row.owned());
        }
    }
    for ((group, bucket), rows) in &mut blocks {
        crate::store::memtable::row::resolve(rows);
        let rows: Vec<_> = rows.iter().map(Row::borrowed).collect();
        for (number, rows) in block::split(&rows).enumerate() {
            writes.insert(records::block_key(*group, *bucket, number as u32), &block::encode(rows));
        }
    }
    let meta = &mut *lock(&inner.flush_lock);
    meta.tables = 0;
    inner.catalog_store.commit(writes, meta).unwrap();
}

fn opened(disk: &SimDisk, tree: &MemoryTree) -> Arc<EmbeddedStore<SimDisk>> {
    let disk = Arc::new(disk.clone());
    EmbeddedStore::manual(disk, Path::new(DATA), config(), tree.clone()).unwrap().0
}

/// A disk and a tree with blocks of an earlier version, and what they hold.
fn earlier() -> (SimDisk, MemoryTree, Model) {
    let (disk, tree) = (SimDisk::new(1), MemoryTree::new());
    let (epoch, mut model) = (epoch("g", 1), Model::default());
    let (store, mut committer, _) =
        EmbeddedStore::manual(Arc::new(disk.clone()), Path::new(DATA), config(), tree.clone()).unwrap();
    for number in 1..=20 {
        let entries = (0..200).map(|n| entry(n % 3, n64(n) * 7 + n64(number) * 900, 1, 1)).collect();
        let batch = batch(0, number.into(), entries);
        let mut put = store.put(&epoch, batch.clone(), false);
        assert!(put.as_mut().now_or_never().is_none());
        committer.step().unwrap();
        put.now_or_never().unwrap().unwrap();
        model.put(&epoch, &batch);
        store.flush_now().unwrap();
    }
    back_to_blocks(&store);
    assert!(CatalogStore::new(tree.clone()).has_blocks().unwrap());
    drop((store, committer));
    (disk, tree, model)
}

#[test]
fn a_full_disk_during_the_migration_loses_nothing() {
    let (mut disk, mut tree, model) = earlier();
    let config = StoreConfig { flush_free_min: 4 << 10, ..config() };
    let mut refused = 0;
    for pages in 0..500 {
        disk.crash();
        tree.crash();
        disk.set_quota(Some(pages * 4_096));
        let opened =
            EmbeddedStore::manual(Arc::new(disk.clone()), Path::new(DATA), config.clone(), tree.clone());
        match opened {
            Err(OpenError::Space { .. }) => refused += 1,
            // The journal finds no room either.
            Err(OpenError::Journal(_)) => {}
            Err(error) => panic!("{pages} pages: {error}"),
            Ok((store, ..)) => {
                assert_eq!(content(&*store), model.content());
                break;
            }
        }
    }
    assert!(refused > 3, "{refused}");
    disk.set_quota(None);
    disk.crash();
    tree.crash();
    let store = opened(&disk, &tree);
    assert_eq!(content(&*store), model.content());
    assert_merged_alike(&*store);
    assert!(!CatalogStore::new(tree.clone()).has_blocks().unwrap());
}

#[test]
fn blocks_of_an_earlier_version_become_tables_once() {
    let (mut disk, mut tree, model) = earlier();
    disk.crash();
    tree.crash();
    let store = opened(&disk, &tree);
    assert_eq!(content(&*store), model.content());
    assert_merged_alike(&*store);
    assert!(!CatalogStore::new(tree.clone()).has_blocks().unwrap());
    assert!(disk.files().iter().any(|(path, _)| path.starts_with("/data/tables")));
    drop(store);
    disk.crash();
    tree.crash();
    assert_eq!(content(&*opened(&disk, &tree)), model.content());
}

fn n64(n: u32) -> i64 {
    n.into()
}
