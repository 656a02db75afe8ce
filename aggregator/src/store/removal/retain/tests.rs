use std::{path::Path, sync::Arc, time::Duration};

use catchment_journal::{Committer, sim::SimDisk};
use catchment_partial::{Partial, Timestamp};
use catchment_proto::Entry;
use futures_util::FutureExt as _;

use crate::{
    selector::Selector,
    store::{
        EmbeddedStore, IngestStore as _, MaintenanceStore as _, MemoryTree, Merged, QueryStore as _,
        ReadAll as _, RetentionRule, RowRequest, Steps, StoreConfig,
        testing::{batch, config, entry, epoch},
    },
};

const DAY_SECONDS: i64 = 86_400;

struct World {
    disk: SimDisk,
    tree: MemoryTree,
    store: Arc<EmbeddedStore<SimDisk>>,
    committer: Committer<SimDisk>,
    number: u64,
    config: StoreConfig,
}

impl World {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: StoreConfig) -> Self {
        let (disk, tree) = (SimDisk::new(7), MemoryTree::new());
        let (store, committer) = open(&disk, &tree, &config);
        Self { disk, tree, store, committer, number: 0, config }
    }

    fn put(&mut self, entries: Vec<Entry>) {
        self.number += 1;
        let (epoch, batch) = (epoch("g", 1), batch(0, self.number, entries));
        let mut put = self.store.put(&epoch, batch, false);
        assert!(put.as_mut().now_or_never().is_none());
        self.committer.step().unwrap();
        put.now_or_never().unwrap().unwrap();
    }

    /// Number of readings of a series, as an answer in steps of this length counts them.
    fn count(&self, metric: &str, steps: Steps) -> u64 {
        let series = self.store.selected(&Selector::parse(metric).unwrap());
        let Some(series) = series.first() else { return 0 };
        let (from, to) = (Timestamp::MIN, Timestamp::MAX);
        let request = RowRequest { series: series.id, from, to, steps, resolution: Merged::Allowed };
        let mut reader = self.store.rows(&request).unwrap();
        let mut count = 0;
        while reader
            .advance(&mut |window, body| count += Partial::decode(body, window.start()).unwrap().count())
            .unwrap()
        {}
        count
    }

    fn crash(&mut self) {
        self.disk.crash();
        self.tree.crash();
        (self.store, self.committer) = open(&self.disk, &self.tree, &self.config);
    }
}

fn open(
    disk: &SimDisk,
    tree: &MemoryTree,
    config: &StoreConfig,
) -> (Arc<EmbeddedStore<SimDisk>>, Committer<SimDisk>) {
    let (disk, data) = (Arc::new(disk.clone()), Path::new("/data"));
    let opened = EmbeddedStore::manual(disk, data, config.clone(), tree.clone()).unwrap();
    (opened.0, opened.1)
}

/// A rule that keeps windows, minutes and hours for some days, and days forever.
fn rule(selector: &str, days: [u64; 3]) -> RetentionRule {
    let keep = |days: u64| Some(Duration::from_secs(days * DAY_SECONDS as u64));
    let [windows, minutes, hours] = days.map(keep);
    RetentionRule {
        selector: Selector::parse_or_all(selector).unwrap(),
        keep: [windows, minutes, hours, None],
    }
}

/// Six windows of each of two series a day, none of them at the start of an hour.
fn days(days: std::ops::Range<i64>) -> Vec<Entry> {
    let windows = days.flat_map(|day| (0..6).map(move |n| day * DAY_SECONDS / 10 + 41 + n * 700));
    windows.flat_map(|index| (0..2).map(move |series| entry(series, index, 1, 1))).collect()
}

fn at_day(day: i64) -> Timestamp {
    Timestamp::from_millis(day * DAY_SECONDS * 1_000).unwrap()
}

#[test]
fn answers_stay_the_same_while_finer_rows_go() {
    let mut world = World::new();
    for day in 0..200 {
        world.put(days(day..day + 1));
        if day % 20 == 19 {
            world.store.flush_now().unwrap();
        }
    }
    let bytes = |world: &World| world.disk.files().iter().map(|(_, length)| length).sum::<u64>();
    let before = bytes(&world);
    let rules = [rule("", [10, 30, 100])];
    let retained = world.store.retain(&rules, at_day(200)).unwrap();
    assert!(retained.rows > 0 && bytes(&world) + retained.bytes <= before, "{retained:?}");
    for steps in [Steps::Whole, Steps::Every(86_400_000)] {
        assert_eq!(world.count("a", steps.clone()), 200 * 18, "{steps:?}");
    }
    let by_hour = world.count("a", Steps::Every(3_600_000));
    assert_eq!(by_hour, 200 * 18, "of days without hours, the days are left");
    world.crash();
    assert_eq!(world.count("a", Steps::Whole), 200 * 18);
    // Late: its window is gone, and joins the hours, or the days.
    world.put(vec![entry(0, 150 * DAY_SECONDS / 10 + 5, 1, 1), entry(0, DAY_SECONDS / 10 + 5, 1, 1)]);
    assert_eq!(world.count("a", Steps::Every(86_400_000)), 200 * 18 + 6, "while it is in memory");
    world.store.flush_now().unwrap();
    assert_eq!(world.count("a", Steps::Every(86_400_000)), 200 * 18 + 6);
    assert_eq!(world.store.retain(&rules, at_day(200)).unwrap().rows, 0, "nothing is left to do");
}

#[test]
fn a_rule_that_goes_removes_nothing_of_others() {
    let mut world = World::new();
    world.put(days(0..60));
    world.store.flush_now().unwrap();
    world.store.retain(&[rule("a", [5, 10, 20]), rule("", [50, 55, 58])], at_day(60)).unwrap();
    let windows = |world: &World, metric| world.count(metric, Steps::Every(10_000));
    let (a, b) = (windows(&world, "a"), windows(&world, "b"));
    assert_eq!((a, b), (60 * 18, 60 * 18), "coarser rows stand for what is gone");
    let rows = |world: &World| {
        let version = world.store.inner.tables.version();
        version.all().map(|table| table.entry.summary.rows).sum::<u64>()
    };
    let before = rows(&world);
    world.store.retain(&[rule("", [50, 55, 58])], at_day(60)).unwrap();
    assert_eq!(rows(&world), before, "the rule of all others keeps what it kept");
    assert_eq!((windows(&world, "a"), windows(&world, "b")), (a, b));
    let everything = RetentionRule { selector: Selector::default(), keep: [Some(Duration::ZERO); 4] };
    world.store.retain(&[everything], at_day(5_000)).unwrap();
    assert_eq!(world.store.all_series().len(), 0, "nothing is left of them");
    world.store.flush_now().unwrap();
    world.crash();
    assert_eq!(world.store.all_series().len(), 0);
    assert!(world.disk.files().iter().all(|(path, _)| path.extension().is_none_or(|end| end != "table")));
}

fn tables(world: &World) -> Vec<(crate::store::tables::resolution::Resolution, bool)> {
    let version = world.store.inner.tables.version();
    version.all().map(|table| (table.entry.resolution, table.entry.purge)).collect()
}

fn rows(world: &World) -> u64 {
    let version = world.store.inner.tables.version();
    version.all().map(|table| table.entry.summary.rows).sum()
}

fn sequence(world: &World) -> u64 {
    crate::store::embedded::locks::lock(&world.store.inner.flush_lock).sequence
}

#[test]
fn many_partitions_go_with_few_commits_and_are_counted_truly() {
    let mut world = World::new();
    for day in (0..600).step_by(50) {
        world.put(days(day..day + 50));
        world.store.flush_now().unwrap();
    }
    let (before, commits) = (rows(&world), sequence(&world));
    let retained = world.store.retain(&[rule("", [10, 20, 300])], at_day(600)).unwrap();
    assert!(sequence(&world) - commits < 20, "{} commits", sequence(&world) - commits);
    assert_eq!(retained.rows, before - rows(&world));
    assert!(retained.rows > 600 * 10);
    world.crash();
    assert_eq!(rows(&world), before - retained.rows);
    assert_eq!(world.count("a", Steps::Whole), 600 * 18);
}

#[test]
fn a_table_that_counts_no_longer_is_not_replaced() {
    use crate::store::tables::{
        compactor::{Replacement, replace, rewrite, write_anew},
        resolution::Resolution,
    };
    let mut world = World::new();
    for part in 0..3 {
        world.put((0..6).map(|n| entry(0, part * 10 + n, 1, 1)).collect());
        world.store.flush_now().unwrap();
    }
    let inner = &world.store.inner;
    let version = inner.tables.version();
    let old = version.of(Resolution::Windows, 0).to_vec();
    let added = write_anew(inner, &old, true, 0, &|_| true, &|| false).unwrap();
    rewrite(inner, &old, true, 0, &|_| true, &|| false).unwrap();
    let late = Replacement { tables: old, added };
    assert!(replace(inner, |_| vec![late]).unwrap().is_empty(), "the other was quicker");
    drop(version);
    let files =
        world.disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "table")).count();
    assert_eq!(files, tables(&world).len(), "nothing is left of it");
    assert_eq!(world.count("a", Steps::Whole), 18 * 3);
}

#[test]
fn rows_of_forgotten_series_leave_the_tables_after_a_crash_too() {
    let mut world = World::new();
    world.put(days(0..20));
    world.store.flush_now().unwrap();
    // Only in memory and journal.
    world.put(days(20..22));
    assert_eq!(world.store.forget_series(&Selector::parse("a").unwrap()).unwrap(), 1);
    let before = rows(&world);
    assert!(tables(&world).iter().all(|(_, purge)| *purge), "all tables held rows of it");
    world.crash();
    assert!(tables(&world).iter().all(|(_, purge)| *purge), "it is not forgotten what is to be done");
    assert_eq!((rows(&world), world.count("a", Steps::Whole)), (before, 0), "its rows are nobody's");
    // Delivered again, it is another series.
    world.put(vec![entry(0, 7, 1, 1)]);
    world.store.flush_now().unwrap();
    assert_eq!((world.count("a", Steps::Whole), world.count("b", Steps::Whole)), (3, 22 * 18));
    while tables(&world).iter().any(|(_, purge)| *purge) {
        world.store.compact_now().unwrap();
    }
    // What is left: rows of the other, and one of each resolution of the new one.
    let (left, count) = (rows(&world), world.count("a", Steps::Whole));
    assert_eq!((left * 2, count), (before + 8, 3));
    world.crash();
    assert_eq!(
        (rows(&world), world.count("a", Steps::Whole), world.count("b", Steps::Whole)),
        (left, 3, 22 * 18)
    );
}

#[test]
fn a_merge_that_began_before_a_series_was_forgotten_leaves_its_rows_to_the_next() {
    use crate::store::tables::{
        compactor::{Replacement, replace, write_anew},
        resolution::Resolution,
    };
    let mut world = World::new();
    world.put(days(0..1));
    world.store.flush_now().unwrap();
    let inner = &world.store.inner;
    let old = inner.tables.version().of(Resolution::Windows, 0).to_vec();
    let added = write_anew(inner, &old, true, 0, &|_| true, &|| false).unwrap();
    world.store.forget_series(&Selector::parse("a").unwrap()).unwrap();
    let merged = Replacement { tables: old, added };
    assert_eq!(replace(inner, |_| vec![merged]).unwrap().len(), 1);
    let version = inner.tables.version();
    let [table] = version.of(Resolution::Windows, 0) else { panic!("one table") };
    assert!(table.entry.purge);
    while world.store.inner.tables.next_purge().is_some() {
        world.store.compact_now().unwrap();
    }
    let version = world.store.inner.tables.version();
    assert_eq!(version.of(Resolution::Windows, 0)[0].entry.summary.rows, 6);
}

#[test]
fn forgetting_and_retention_together_keep_what_is_left() {
    let mut world = World::new();
    for day in (0..120).step_by(10) {
        world.put(days(day..day + 10));
        world.store.flush_now().unwrap();
    }
    let rules = [rule("a", [5, 10, 20]), rule("", [50, 60, 90])];
    world.store.retain(&rules, at_day(60)).unwrap();
    assert_eq!(world.store.forget_series(&Selector::parse("a").unwrap()).unwrap(), 1);
    // Tables that are marked are removed, or written without the series, by either.
    world.store.retain(&rules, at_day(120)).unwrap();
    assert_eq!((world.count("a", Steps::Whole), world.count("b", Steps::Every(86_400_000))), (0, 120 * 18));
    world.crash();
    while tables(&world).iter().any(|(_, purge)| *purge) {
        world.store.compact_now().unwrap();
    }
    assert_eq!((world.count("a", Steps::Whole), world.count("b", Steps::Every(86_400_000))), (0, 120 * 18));
    world.put(days(119..120));
    world.store.flush_now().unwrap();
    world.store.retain(&rules, at_day(125)).unwrap();
    assert_eq!((world.count("a", Steps::Whole), world.count("b", Steps::Every(86_400_000))), (18, 120 * 18));
}

#[test]
fn a_full_disk_during_a_merge_changes_nothing_and_it_is_done_later() {
    let mut world = World::with(StoreConfig { flush_free_min: 0, ..config() });
    for part in 0..8 {
        world.put((0..400).map(|n| entry((n % 2) as u32, part * 400 + n, 1, 1)).collect());
        world.store.flush_now().unwrap();
    }
    let (count, before) = (world.count("a", Steps::Whole), tables(&world).len());
    let used = |world: &World| {
        world.disk.files().iter().map(|(_, length)| length.next_multiple_of(4_096)).sum::<u64>()
    };
    let files = world.disk.files().len();
    // It begins, and finds no room for the new table.
    world.disk.set_quota(Some(used(&world)));
    for _ in 0..3 {
        world.store.compact_now().unwrap();
        assert_eq!((world.count("a", Steps::Whole), world.store.inner.failure()), (count, None));
        assert_eq!((tables(&world).len(), world.disk.files().len()), (before, files));
    }
    world.disk.set_quota(None);
    world.crash();
    assert_eq!(world.count("a", Steps::Whole), count);
    (0..10).for_each(|_| world.store.compact_now().unwrap());
    assert!(tables(&world).len() < before, "{before}");
    assert_eq!(world.count("a", Steps::Whole), count);
}

#[test]
fn few_small_tables_of_each_partition_become_one_when_there_is_time() {
    let mut world = World::new();
    for part in 0..4 {
        // A part of each of many days with every flush, as a backlog in random order leaves them.
        world.put((0..40).map(|day| entry(0, day * DAY_SECONDS / 10 + part * 700, 1, 1)).collect());
        world.store.flush_now().unwrap();
    }
    let (count, before) = (world.count("a", Steps::Whole), tables(&world).len());
    world.store.compact_now().unwrap();
    assert_eq!(tables(&world).len(), before, "not while rows arrive");
    let inner = &world.store.inner;
    while crate::store::tables::compactor::compact_once(inner, true, &|| false).unwrap() {}
    let left = tables(&world).len();
    // One for each partition but the last of each resolution: 40 days, 10 of four days, 1 of 64, 1 of all.
    assert_eq!((before, left), (4 * (40 + 10 + 2), (39 + 4) + (9 + 4) + 4 + 4));
    assert_eq!(world.count("a", Steps::Whole), count);
    world.crash();
    assert_eq!((world.count("a", Steps::Whole), tables(&world).len()), (count, left));
}
