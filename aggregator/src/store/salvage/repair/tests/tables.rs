//! Damage of tables of each kind, and of their records: what is kept, what is made again, and what is reported.

use super::*;
use crate::store::{
    salvage::tables::compare::part_name,
    tables::{
        compactor::rewrite,
        resolution::Resolution,
        version::{FOLDER, TableEntry},
    },
    testing::content,
    tree::records::TABLE,
};

/// A store with tables of all resolutions and a released journal, and what it holds.
async fn stored(data: &Path) -> (Content, Counts) {
    let truth = filled(data, 12, 400).await.content();
    let counts = counts_of(&truth);
    (truth, counts)
}

fn loaded(data: &Path) -> Loaded {
    BlockStore::new(SledTree::open(&data.join(SLED), 1 << 20).unwrap()).load().unwrap()
}

fn tables(data: &Path, resolution: Resolution) -> Vec<TableEntry> {
    let mut tables = loaded(data).tables;
    tables.retain(|entry| entry.resolution == resolution);
    tables.sort_by_key(|entry| entry.summary.bytes);
    tables
}

/// Flips a bit in the middle of the blocks of a table.
fn flip(data: &Path, entry: &TableEntry, place: u64) {
    let path = entry.path(data);
    let mut bytes = fs::read(&path).unwrap();
    bytes[place as usize] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Repairs, and opens what is there then: content, counts, whether a gateway reports a gap, and the report.
fn repaired(data: &Path) -> (Content, Counts, bool, RepairReport) {
    let report = repair(data).unwrap();
    let (content, counts, gaps) = {
        let (store, _) = EmbeddedStore::open(data, small()).unwrap();
        let gaps = store.gateways().iter().any(|gateway| !gateway.gaps.is_empty());
        (content(&*store), counts(&*store), gaps)
    };
    assert_eq!(damaged_tables(data), Vec::<String>::new());
    assert!(repair(data).unwrap().done.is_empty(), "a second repair has nothing to do");
    (content, counts, gaps, report)
}

/// Changes the value of a key in sled.
fn change(data: &Path, key: &[u8], change: impl FnOnce(&sled::Db, &[u8])) {
    let db = sled::Config::new().path(data.join(SLED)).segment_size(8 << 20).open().unwrap();
    change(&db, key);
    db.flush().unwrap();
}

#[tokio::test]
async fn damaged_minutes_hours_and_days_are_made_again_from_windows() {
    let data = tempfile::tempdir().unwrap();
    let (truth, told) = stored(data.path()).await;
    for resolution in [Resolution::Minute, Resolution::Hour, Resolution::Day] {
        for place in [20, 3] {
            let entry = *tables(data.path(), resolution).last().unwrap();
            flip(data.path(), &entry, place);
            let report = verify(data.path()).unwrap();
            assert!(!report.is_clean(), "{resolution:?}");
            let (content, counts, gaps, report) = repaired(data.path());
            assert!(content == truth && counts == told, "{resolution:?}: {report:?}");
            assert!(report.lost.is_clean() && !gaps, "nothing is lost: {report:?}");
            assert!(report.done.iter().any(|line| line.contains("written again")), "{report:?}");
            let aside = files(data.path())
                .iter()
                .any(|file| file.ends_with(entry.path(data.path()).file_name().unwrap()));
            assert!(aside, "the original is kept");
        }
    }
}

#[tokio::test]
async fn lost_windows_are_reported_and_what_was_merged_from_them_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let (truth, told) = stored(data.path()).await;
    let entry = *tables(data.path(), Resolution::Windows).last().unwrap();
    flip(data.path(), &entry, 20);
    let report = verify(data.path()).unwrap();
    assert_eq!((report.damaged_tables, report.damaged_blocks), (1, 1), "{:?}", report.findings);
    let finding = &report.findings[0];
    assert!(finding.contains("block 0") && finding.contains("of berlin/g"), "{finding}");
    let (content, counts, gaps, report) = repaired(data.path());
    assert!(
        content.len() < truth.len() && content.iter().all(|(name, bodies)| truth.get(name) == Some(bodies))
    );
    assert_eq!(counts, told, "minutes, hours and days answer as before");
    assert!(!report.lost.is_clean() && gaps, "{report:?}");
    // Neither a later repair nor damage to the merged rows takes what only they hold.
    let lost = loaded(data.path()).lost_windows;
    assert!(!lost.is_empty());
    let minutes = *tables(data.path(), Resolution::Minute).first().unwrap();
    fs::remove_file(minutes.path(data.path())).unwrap();
    let (.., report) = repaired(data.path());
    assert!(!report.lost.is_clean());
    assert_eq!(loaded(data.path()).lost_windows, lost);
}

#[tokio::test]
async fn exchanged_files_are_put_back() {
    let data = tempfile::tempdir().unwrap();
    let (truth, told) = stored(data.path()).await;
    let first = |resolution| tables(data.path(), resolution).last().unwrap().path(data.path());
    for (one, other) in [(Resolution::Minute, Resolution::Hour), (Resolution::Windows, Resolution::Day)] {
        let (one, other, aside) = (first(one), first(other), data.path().join("aside"));
        for (from, to) in [(&one, &aside), (&other, &one), (&aside, &other)] {
            fs::rename(from, to).unwrap();
        }
        let opened = {
            let (store, opened) = EmbeddedStore::open(data.path(), small()).unwrap();
            assert!(store.gateways().iter().any(|gateway| !gateway.gaps.is_empty()));
            opened
        };
        assert_eq!(opened.damage, 2, "lengths differ");
        let (content, counts, _, report) = repaired(data.path());
        assert!(content == truth && counts == told && report.lost.is_clean(), "{report:?}");
    }
}

#[tokio::test]
async fn a_missing_table_is_noticed_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    stored(data.path()).await;
    let path = tables(data.path(), Resolution::Windows).last().unwrap().path(data.path());
    fs::remove_file(&path).unwrap();
    let (store, opened) = EmbeddedStore::open(data.path(), small()).unwrap();
    assert_eq!(opened.damage, 1);
    assert!(store.gateways().iter().all(|gateway| !gateway.gaps.is_empty()));
    assert!(content_as_far(&*store).1, "a reader tells it");
}

#[tokio::test]
async fn a_table_whose_record_is_damaged_is_found_by_its_file() {
    let origin = tempfile::tempdir().unwrap();
    let (truth, told) = stored(origin.path()).await;
    for resolution in Resolution::ALL {
        let data = tempfile::tempdir().unwrap();
        copy(origin.path(), data.path());
        let entry = *tables(data.path(), resolution).last().unwrap();
        change(data.path(), &entry.key(), |db, key| {
            let mut value = db.get(key).unwrap().unwrap();
            value[5] ^= 1;
            db.insert(key, value).unwrap();
        });
        assert!(!verify(data.path()).unwrap().is_clean());
        let (content, counts, _, report) = repaired(data.path());
        assert!(content == truth && counts == told, "{resolution:?}: {report:?}");
    }
}

#[tokio::test]
async fn a_file_without_a_record_counts_for_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (truth, told) = stored(data.path()).await;
    for resolution in Resolution::ALL {
        let entry = *tables(data.path(), resolution).last().unwrap();
        let left = TableEntry { id: 1_000_000, ..entry }.path(data.path());
        fs::copy(entry.path(data.path()), &left).unwrap();
        let report = verify(data.path()).unwrap();
        assert!(report.is_clean() && report.unnamed_files == 1, "{:?}", report.findings);
        // Nor if the catalog is damaged besides.
        let other = *tables(data.path(), resolution).first().unwrap();
        change(data.path(), &other.key(), |db, key| drop(db.remove(key).unwrap()));
        let (content, counts, ..) = repaired(data.path());
        assert!(content == truth && counts == told, "{}", part_name((resolution, entry.partition)));
        assert!(!left.exists());
    }
}

#[tokio::test]
async fn records_that_came_back_count_for_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (truth, told) = stored(data.path()).await;
    let before = tempfile::tempdir().unwrap();
    copy(data.path(), before.path());
    {
        let (store, _) = EmbeddedStore::open(data.path(), small()).unwrap();
        // Merged into one, whatever their lengths.
        for resolution in Resolution::ALL {
            let version = store.inner.tables.version();
            for (_, tables) in version.partitions(resolution, i32::MIN).filter(|(_, tables)| tables.len() > 1)
            {
                rewrite(&store.inner, tables, true, 0, &|_| true, &|| false).unwrap();
            }
        }
    }
    let (old, new) = (loaded(before.path()).tables, loaded(data.path()).tables);
    assert!(new.len() < old.len(), "tables were merged");
    let mut values = Vec::new();
    change(before.path(), &[TABLE], |db, prefix| values.extend(db.scan_prefix(prefix).map(Result::unwrap)));
    change(data.path(), &[], |db, _| {
        for (key, value) in values {
            db.insert(key, value).unwrap();
        }
    });
    copy(&before.path().join(FOLDER), &data.path().join(FOLDER));
    assert!(!verify(data.path()).unwrap().is_clean());
    let (content, counts, _, report) = repaired(data.path());
    assert!(content == truth && counts == told, "{report:?}");
    assert!(report.lost.is_clean(), "{report:?}");
}

#[tokio::test]
async fn an_old_copy_of_the_catalog_finds_the_files_again() {
    let data = tempfile::tempdir().unwrap();
    let (truth, told) = stored(data.path()).await;
    let (sled, old) = (data.path().join(SLED), tempfile::tempdir().unwrap());
    copy(&sled, old.path());
    let truth = {
        let (store, _) = EmbeddedStore::open(data.path(), small()).unwrap();
        let mut model = Model::default();
        for number in 100..103_u64 {
            let entries =
                (0..400).map(|i| entry((i % 3) as u32, 100_000 + (number * 400 + i) as i64, number, number));
            let sent = batch(0, number, entries.collect());
            store.put(&epoch("g", 1), sent.clone(), true).await.unwrap();
            model.put(&epoch("g", 1), &sent);
            store.flush().await.unwrap();
        }
        store.close().await.unwrap();
        let mut truth = truth;
        truth.extend(model.content());
        truth
    };
    fs::remove_dir_all(&sled).unwrap();
    copy(old.path(), &sled);
    let (content, counts, _, report) = repaired(data.path());
    assert!(content == truth, "{report:?}");
    assert_eq!(counts, counts_of(&truth), "{report:?}");
    assert!(told.len() < counts.len());
}
