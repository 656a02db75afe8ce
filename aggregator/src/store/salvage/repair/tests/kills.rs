//! A repair that is ended after each of its durable steps in turn: what is lost is always stated, nothing whole is given
//! up, and a further repair ends where an undisturbed one does.

use std::{cell::Cell, io};

use catchment_partial::Timestamp;

use super::{
    tables::{change, flip, loaded, tables},
    *,
};
use crate::store::{
    salvage::tables::loss::LostWindows,
    tables::{resolution::Resolution, version::FOLDER},
    tree::records::META,
    wal::open::SLED,
};

/// Ends a repair after some steps; false: it had fewer.
fn killed_after(data: &Path, steps: u32) -> bool {
    let left = Cell::new(steps);
    let step = || {
        left.set(left.get().saturating_sub(1));
        if left.get() == 0 { Err(io::Error::other("killed")) } else { Ok(()) }
    };
    match repair_in_steps(data, &step) {
        Ok(_) => false,
        Err(error) => {
            assert!(error.to_string().contains("killed"), "{error}");
            true
        }
    }
}

/// Spans of time that are missing.
type Gaps = Vec<(Option<Timestamp>, Option<Timestamp>)>;

/// What a store answers, and what it says is missing.
#[derive(PartialEq)]
struct Answers {
    content: Content,
    counts: Counts,
    gaps: Vec<(GatewayId, Gaps)>,
}

impl Answers {
    fn of(store: &EmbeddedStore) -> (Self, bool) {
        let (content, unread) = content_as_far(store);
        let gaps = store.gateways().into_iter().map(|gateway| {
            let gaps = gateway.gaps.iter().map(|gap| (gap.from, gap.to)).collect();
            (gateway.epoch.gateway, gaps)
        });
        (Self { content, counts: counts(store), gaps: gaps.collect() }, unread)
    }

    /// After a repair: everything can be read.
    fn after_repair(data: &Path) -> (Self, LostWindows) {
        let (store, _) = EmbeddedStore::open(data, small()).unwrap();
        let (answers, unread) = Self::of(&store);
        drop(store);
        assert!(!unread);
        assert_eq!(damaged_tables(data), Vec::<String>::new());
        (answers, loaded(data).lost_windows)
    }

    /// Nothing is missing but in a gap, and no more is counted than there was.
    fn check(&self, truth: &Content, case: &str) {
        let told = counts_of(truth);
        let more =
            self.counts.iter().find(|(point, count)| told.get(point).is_none_or(|known| known < count));
        assert_eq!(more, None, "{case}: counted twice");
        for ((gateway, key, window), bodies) in truth {
            if self.content.get(&(gateway.clone(), key.clone(), *window)) == Some(bodies) {
                continue;
            }
            let gaps = self.gaps.iter().filter(|(known, _)| known == gateway).flat_map(|(_, gaps)| gaps);
            let covers = |(from, to): &(Option<Timestamp>, Option<Timestamp>)| {
                from.is_none_or(|from| from <= window.start()) && to.is_none_or(|to| window.end() <= to)
            };
            let mut gaps = gaps.filter(|gap| covers(gap));
            assert!(gaps.next().is_some(), "{case}: {gateway} {key} {} is lost silently", window.index());
        }
    }
}

/// The contents of all files of tables, wherever they are.
fn table_contents(data: &Path) -> BTreeSet<Vec<u8>> {
    let of_table =
        |path: &PathBuf| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(FOLDER));
    files(data).into_iter().filter(of_table).map(|file| fs::read(file).unwrap()).collect()
}

/// Repairs copies of a folder, undisturbed and after each kill, with a start between and without; returns the number of
/// kills and the answers after the undisturbed repair.
fn kill_everywhere(damaged: &Path, truth: &Content) -> (u32, Answers) {
    let originals = table_contents(damaged);
    let whole = tempfile::tempdir().unwrap();
    copy(damaged, whole.path());
    repair(whole.path()).unwrap();
    let (expected, lost) = Answers::after_repair(whole.path());
    expected.check(truth, "undisturbed");
    let mut refused = 0;
    for steps in 1.. {
        let killed = tempfile::tempdir().unwrap();
        copy(damaged, killed.path());
        if !killed_after(killed.path(), steps) {
            assert!(refused < steps, "no start was possible");
            return (steps - 1, expected);
        }
        for starts in [false, true] {
            let case = format!("killed after {steps} steps, a start follows: {starts}");
            let data = tempfile::tempdir().unwrap();
            copy(killed.path(), data.path());
            if starts {
                let had_catalog = data.path().join(SLED).exists();
                match EmbeddedStore::open(data.path(), small()) {
                    Ok((store, _)) => match Answers::of(&store) {
                        (_, true) => {}
                        (answers, false) => answers.check(truth, &case),
                    },
                    Err(error) => {
                        refused += 1;
                        assert!(error.to_string().contains("store repair"), "{case}: {error}");
                        assert_eq!(
                            data.path().join(SLED).exists(),
                            had_catalog,
                            "{case}: an empty one was made"
                        );
                    }
                }
            }
            let report = repair(data.path()).unwrap_or_else(|error| panic!("{case}: {error}"));
            let (answers, lost_now) = Answers::after_repair(data.path());
            answers.check(truth, &case);
            assert!(answers == expected, "{case}: it ends otherwise: {report:?}");
            assert_eq!(lost_now, lost, "{case}");
            let kept = table_contents(data.path());
            let gone = originals.iter().filter(|content| !kept.contains(*content)).count();
            assert_eq!(gone, 0, "{case}: original files are gone: {report:?}");
            assert!(repair(data.path()).unwrap().done.is_empty(), "{case}: something was left to do");
        }
    }
    unreachable!()
}

/// A store with some tables of each resolution, and what it holds.
async fn small_store(data: &Path) -> Content {
    filled(data, 5, 400).await.content()
}

#[tokio::test]
async fn a_killed_repair_of_tables_loses_nothing_silently() {
    let data = tempfile::tempdir().unwrap();
    let truth = small_store(data.path()).await;
    // Windows of two tables cannot be read, and minutes that are made again from what is left.
    let windows = tables(data.path(), Resolution::Windows);
    flip(data.path(), windows.last().unwrap(), 20);
    flip(data.path(), windows.first().unwrap(), 20);
    flip(data.path(), tables(data.path(), Resolution::Minute).last().unwrap(), 20);
    let (kills, answers) = kill_everywhere(data.path(), &truth);
    assert!(answers.content.len() < truth.len() && answers.gaps.iter().any(|(_, gaps)| !gaps.is_empty()));
    assert!(kills >= 8, "{kills}");
}

#[tokio::test]
async fn a_killed_rebuild_of_the_catalog_loses_nothing_silently() {
    let data = tempfile::tempdir().unwrap();
    let truth = small_store(data.path()).await;
    let windows = tables(data.path(), Resolution::Windows);
    flip(data.path(), windows.last().unwrap(), 20);
    // A table that only its file tells of.
    change(data.path(), &windows.first().unwrap().key(), |db, key| {
        let mut value = db.get(key).unwrap().unwrap();
        value[5] ^= 1;
        db.insert(key, value).unwrap();
    });
    let (kills, answers) = kill_everywhere(data.path(), &truth);
    assert!(answers.content.len() < truth.len());
    assert!(kills >= 10, "{kills}");
}

#[tokio::test]
async fn a_killed_repair_of_a_catalog_that_cannot_be_opened_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let truth = small_store(data.path()).await;
    // Without the number of gateways a start is refused.
    change(data.path(), META, |db, key| {
        let mut value = db.get(key).unwrap().unwrap();
        value[5] ^= 1;
        db.insert(key, value).unwrap();
    });
    let (kills, _) = kill_everywhere(data.path(), &truth);
    assert!(kills >= 8, "{kills}");
}

#[tokio::test]
async fn a_killed_repair_of_exchanged_files_gives_up_none() {
    let data = tempfile::tempdir().unwrap();
    let truth = small_store(data.path()).await;
    let place = |resolution| tables(data.path(), resolution).last().unwrap().path(data.path());
    let (windows, minutes, days) =
        (place(Resolution::Windows), place(Resolution::Minute), place(Resolution::Day));
    let aside = data.path().join("aside");
    for (from, to) in [(&windows, &aside), (&minutes, &windows), (&days, &minutes), (&aside, &days)] {
        fs::rename(from, to).unwrap();
    }
    let (kills, answers) = kill_everywhere(data.path(), &truth);
    assert!(answers.content == truth && answers.counts == counts_of(&truth));
    assert!(kills >= 10, "{kills}");
}

/// Damages every copy of a record in sled's file, old ones as well.
fn erase(data: &Path, key: &[u8]) {
    let mut value = Vec::new();
    change(data, key, |db, key| value.extend_from_slice(&db.get(key).unwrap().unwrap()));
    let path = data.join(SLED).join("db");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = bytes
        .windows(value.len())
        .enumerate()
        .filter(|(_, found)| *found == value)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at + 5] ^= 1);
    fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn files_of_a_killed_repair_are_no_tables_without_a_record() {
    let data = tempfile::tempdir().unwrap();
    let truth = small_store(data.path()).await;
    flip(data.path(), tables(data.path(), Resolution::Minute).last().unwrap(), 20);
    // The third step has written minutes again, and they do not count.
    assert!(killed_after(data.path(), 3));
    assert_eq!(verify(data.path()).unwrap().unnamed_files, 1);
    // Now the record of a table is lost: there is exactly one file without.
    let other = *tables(data.path(), Resolution::Hour).first().unwrap();
    erase(data.path(), &other.key());
    let report = repair(data.path()).unwrap();
    let (answers, lost) = Answers::after_repair(data.path());
    assert!(answers.content == truth && answers.counts == counts_of(&truth), "{report:?}");
    assert!(lost.is_empty() && answers.gaps.iter().all(|(_, gaps)| gaps.is_empty()), "{report:?}");
}
