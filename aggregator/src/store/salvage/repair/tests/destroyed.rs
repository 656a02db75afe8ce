//! Damage that leaves nothing of a file: all of a journal's segments, the index of a table, a catalog without names.

use super::{tables::tables, *};
use crate::store::{Merged, tables::resolution::Resolution, testing::content};

#[tokio::test]
async fn a_journal_of_which_nothing_can_be_read_begins_anew_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 12, 400).await;
    let flushed: Vec<_> =
        files(folder.path()).into_iter().filter(|file| file.extension().is_some()).collect();
    for segment in flushed.iter().filter(|file| file.parent().is_some_and(|parent| parent.ends_with(JOURNAL)))
    {
        let mut bytes = fs::read(segment).unwrap();
        bytes.iter_mut().take(4_096).for_each(|byte| *byte = 0);
        fs::write(segment, bytes).unwrap();
    }
    assert!(EmbeddedStore::open(folder.path(), small()).is_err(), "a start does not give the journal up");
    let report = repair(folder.path()).unwrap();
    assert!(!report.done.is_empty());
    let (store, _) = EmbeddedStore::open(folder.path(), small()).expect("the folder knows its journal");
    assert!(!content(&*store).is_empty(), "flushed windows are there");
    drop(store);
    assert!(repair(folder.path()).unwrap().done.is_empty(), "a second repair has nothing to do");
}

#[tokio::test]
async fn the_gap_of_a_table_without_index_reaches_to_the_end_of_its_last_window() {
    let folder = tempfile::tempdir().unwrap();
    let truth = filled(folder.path(), 12, 400).await.content();
    let of = tables(folder.path(), Resolution::Windows).pop().unwrap();
    let path = of.path(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    let (store, _) = EmbeddedStore::open(folder.path(), small()).unwrap();
    let mut lost = 0;
    for series in store.all_series() {
        let request = RowRequest {
            series: series.id,
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            steps: Steps::Every(10_000),
            resolution: Merged::OnlyWithoutWindows,
        };
        let (mut reader, mut seen) = (store.rows(&request).unwrap(), BTreeSet::new());
        let mut visit = |window: Window, _: &[u8]| {
            seen.insert(window.start());
        };
        while reader.advance(&mut visit).unwrap() {}
        let stored =
            truth.keys().filter(|(gateway, key, _)| (gateway, key) == (&series.gateway, &series.key));
        for (.., window) in stored.filter(|(.., window)| !seen.contains(&window.start())) {
            let covers = |(from, to): &(Timestamp, Timestamp)| *from <= window.start() && window.end() <= *to;
            assert!(reader.damaged().iter().any(covers), "{window:?} is in none of {:?}", reader.damaged());
            lost += 1;
        }
    }
    assert!(lost > 0);
}

#[tokio::test]
async fn a_catalog_without_names_is_given_up_once_and_in_true_words() {
    // With one file of merged rows in a partition, and with several.
    for rounds in [2, 12] {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), rounds, 400).await;
        let db = folder.path().join(SLED).join("db");
        let bytes = fs::read(&db).unwrap();
        fs::write(&db, bytes.get(..100).unwrap()).unwrap();
        let _ = fs::remove_file(tail::path(folder.path()));
        let report = repair(folder.path()).unwrap();
        let kept = |line: &&String| line.contains("are taken") || line.contains("made again");
        assert_eq!(report.done.iter().find(kept), None, "nobody knows whose they are");
        assert!(
            report.lost.findings.iter().any(|line| line.contains("all flushed windows are lost")),
            "{report:?}"
        );
        let verified = verify(folder.path()).unwrap();
        let but_lost = verified.findings.iter().find(|line| !line.starts_with("lost: gateway"));
        assert_eq!(but_lost, None, "what the journal tells of batches before it stays a loss");
        assert!(repair(folder.path()).unwrap().done.is_empty(), "a second repair has nothing to do");
        assert!(EmbeddedStore::open(folder.path(), small()).is_ok());
    }
}
