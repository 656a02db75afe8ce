use std::{path::Path, sync::Arc, time::Duration};

use catchment_journal::{Committer, sim::SimDisk};
use catchment_partial::{Partial, Timestamp};
use catchment_proto::Entry;
use futures_util::FutureExt as _;

use crate::{
    selector::Selector,
    store::{
        EmbeddedStore, MemoryTree, Merged, RetentionRule, RowRequest, Steps, Store,
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
}

impl World {
    fn new() -> Self {
        let (disk, tree) = (SimDisk::new(7), MemoryTree::new());
        let (store, committer) = open(&disk, &tree);
        Self { disk, tree, store, committer, number: 0 }
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
        let series = self.store.series(&|_, key| key.metric.as_str() == metric);
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
        (self.store, self.committer) = open(&self.disk, &self.tree);
    }
}

fn open(disk: &SimDisk, tree: &MemoryTree) -> (Arc<EmbeddedStore<SimDisk>>, Committer<SimDisk>) {
    let opened =
        EmbeddedStore::manual(Arc::new(disk.clone()), Path::new("/data"), config(), tree.clone()).unwrap();
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
    assert_eq!(world.store.series(&|_, _| true).len(), 0, "nothing is left of them");
    world.store.flush_now().unwrap();
    world.crash();
    assert_eq!(world.store.series(&|_, _| true).len(), 0);
    assert!(world.disk.files().iter().all(|(path, _)| path.extension().is_none_or(|end| end != "table")));
}
