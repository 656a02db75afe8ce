//! Damage of tables of each kind, and of their records: what is kept, what is made again, and what is reported.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

pub(super) fn loaded(data: &Path) -> Loaded {
    CatalogStore::new(SledTree::open(&data.join(SLED), 1 << 20).unwrap()).load().unwrap()
}

pub(super) fn tables(data: &Path, resolution: Resolution) -> Vec<TableEntry> {
    let mut tables = loaded(data).tables;
    tables.retain(|entry| entry.resolution == resolution);
    tables.sort_by_key(|entry| entry.summary.bytes);
    tables
}

/// Flips a bit in the middle of the blocks of a table.
pub(super) fn flip(data: &Path, entry: &TableEntry, place: u64) {
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
pub(super) fn change(data: &Path, key: &[u8], change: impl FnOnce(&sled::Db, &[u8])) {
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
    // The gaps begin with the first lost window, and end at most a day after the last.
    let (store, _) = EmbeddedStore::open(data.path(), small()).unwrap();
    let (first, last) = (entry.summary.first, entry.summary.last);
    for gateway in store.gateways().into_iter().filter(|gateway| !gateway.gaps.is_empty()) {
        let [gap] = gateway.gaps[..] else { panic!("{:?}", gateway.gaps) };
        assert_eq!(gap.from, Some(first));
        assert!(
            gap.to > Some(last) && gap.to <= Some(last.saturating_add_nanos(86_400_000_000_000)),
            "{gap:?}"
        );
    }
    store.close().await.unwrap();
    drop(store);
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
    let entry = *tables(data.path(), Resolution::Windows).last().unwrap();
    fs::remove_file(entry.path(data.path())).unwrap();
    let (store, opened) = EmbeddedStore::open(data.path(), small()).unwrap();
    assert_eq!((opened.damage, opened.damaged_tables), (1, 1));
    assert_eq!((store.stats().journal_damage, store.stats().damaged_tables), (0, 1));
    let gaps = |gateway: &GatewayEntry| gateway.gaps.iter().map(|gap| gap.from).collect::<Vec<_>>();
    assert!(store.gateways().iter().all(|gateway| gaps(gateway) == [Some(entry.summary.first)]));
    for times in 1..=3 {
        assert!(content_as_far(&*store).1, "a reader tells it");
        assert!(store.stats().damaged_reads >= times);
    }
}

/// Verifies and repairs a folder in a process of few descriptors, which others take; the parent reads the exit status.
fn verify_with_few_descriptors(data: &Path, most: u64) -> i32 {
    // How many tables stay open is decided by the limit that the process begins with.
    let _ = verify(data);
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap();
    let (Ok(verified), repaired) = (verify(data), repair(data)) else { return 20 };
    let changed = repaired.is_ok_and(|report| !report.lost.is_clean() || !report.done.is_empty());
    match (verified.is_clean() && !changed, verified.is_complete()) {
        (false, _) => 23,
        (true, true) => 21,
        (true, false) => 22,
    }
}

#[tokio::test]
async fn tables_that_the_system_refuses_to_open_are_not_damaged() {
    if let Ok(data) = std::env::var("CATCHMENT_TEST_FEW_DESCRIPTORS") {
        let most = std::env::var("CATCHMENT_TEST_DESCRIPTORS").unwrap().parse().unwrap();
        std::process::exit(verify_with_few_descriptors(Path::new(&data), most));
    }
    let data = tempfile::tempdir().unwrap();
    let (truth, told) = stored(data.path()).await;
    let mut statuses = BTreeSet::new();
    for most in (16..64).step_by(4) {
        // A repair that is refused halfway says so: the next one begins with a folder of its own.
        let copied = tempfile::tempdir().unwrap();
        copy(data.path(), copied.path());
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("--exact")
            .arg("store::salvage::repair::tests::tables::tables_that_the_system_refuses_to_open_are_not_damaged")
            .env("CATCHMENT_TEST_FEW_DESCRIPTORS", copied.path())
            .env("CATCHMENT_TEST_DESCRIPTORS", most.to_string())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&status.stdout).into_owned();
        statuses.insert(status.status.code().unwrap_or_else(|| panic!("{output}")));
    }
    assert!(!statuses.contains(&23), "a sound table was accused, or changed: {statuses:?}");
    assert!(statuses.contains(&22) && statuses.contains(&21), "{statuses:?}");
    let (content, counts, gaps, report) = repaired(data.path());
    assert!(content == truth && counts == told && !gaps && report.done.is_empty(), "{report:?}");
}

/// The names of the files of tables in a folder, without its path.
fn table_files(data: &Path) -> BTreeSet<std::ffi::OsString> {
    let tables = files(data).into_iter().filter(|file| file.extension().is_some_and(|end| end == "table"));
    tables.map(|file| file.file_name().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn tables_newer_than_an_old_catalog_are_named_and_none_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let (truth, _) = stored(data.path()).await;
    let old = tempfile::tempdir().unwrap();
    copy(&data.path().join(SLED), old.path());
    let last = loaded(data.path()).tables.iter().map(|entry| entry.id).max().unwrap();
    {
        let (store, _) = EmbeddedStore::open(data.path(), small()).unwrap();
        // A series that the old catalog does not know, two days later.
        let epoch = epoch("g", 1);
        let mut sent = batch(0, 100, (0..400).map(|i| entry(0, 20_000 + i, 100, 100)).collect());
        sent.series = vec![crate::store::testing::key("new").into()];
        store.put(&epoch, sent, true).await.unwrap();
        store.flush().await.unwrap();
        store.close().await.unwrap();
    }
    fs::remove_dir_all(data.path().join(SLED)).unwrap();
    copy(old.path(), &data.path().join(SLED));
    let newer: Vec<_> = table_files(data.path())
        .into_iter()
        .filter(|name| crate::store::tables::version::id_of(name.to_str().unwrap()) > Some(last))
        .collect();
    assert!(newer.len() >= 4, "{newer:?}");
    let before = table_files(data.path());
    let verified = verify(data.path()).unwrap();
    let (content, _, gaps, report) = repaired(data.path());
    for name in newer.iter().map(|name| name.to_str().unwrap()) {
        let named =
            |lines: &[String]| lines.iter().any(|line| line.contains(name) && line.contains("newer than"));
        assert!(named(&verified.findings), "{name}: {:?}", verified.findings);
        assert!(named(&report.done), "{name}: {:?}", report.done);
    }
    let of_names = |line: &String| line.contains("names of series");
    assert!(report.lost.findings.iter().any(of_names) && gaps, "{report:?}");
    assert!(truth.iter().all(|(name, bodies)| content.get(name) == Some(bodies)), "{report:?}");
    assert!(before.is_subset(&table_files(data.path())), "files are set aside, none is removed");
}

#[tokio::test]
async fn minutes_merged_after_an_old_catalog_are_taken_where_their_windows_are_gone() {
    let data = tempfile::tempdir().unwrap();
    let (_, told) = stored(data.path()).await;
    let later = Timestamp::from_millis(400 * 86_400_000).unwrap();
    let keep = |days: u64| Some(std::time::Duration::from_secs(days * 86_400));
    let rule = crate::store::RetentionRule {
        selector: crate::selector::Selector::default(),
        keep: [keep(10), None, None, None],
    };
    let old = tempfile::tempdir().unwrap();
    {
        let (store, _) = EmbeddedStore::open(data.path(), small()).unwrap();
        store.flush().await.unwrap();
        store.retain(&[rule], later).unwrap();
        store.close().await.unwrap();
    }
    copy(&data.path().join(SLED), old.path());
    let (counts_before, told) = {
        let (store, _) = EmbeddedStore::open(data.path(), small()).unwrap();
        for resolution in [Resolution::Minute, Resolution::Hour, Resolution::Day] {
            let version = store.inner.tables.version();
            for (_, tables) in version.partitions(resolution, i32::MIN) {
                rewrite(&store.inner, tables, true, 0, &|_| true, &|| false).unwrap();
            }
        }
        (counts(&*store), told)
    };
    assert!(counts_before.iter().all(|(place, count)| told.get(place) == Some(count)));
    fs::remove_dir_all(data.path().join(SLED)).unwrap();
    copy(old.path(), &data.path().join(SLED));
    assert!(!verify(data.path()).unwrap().is_clean());
    let (_, counts_after, _, report) = repaired(data.path());
    assert_eq!(counts_after, counts_before, "{report:?}");
    assert!(report.done.iter().any(|line| line.contains("its rows are taken")), "{report:?}");
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
