//! Clocks that jump, go back or stand still: nothing is lost, nothing stays open forever, nothing is claimed too early.

use super::*;

const SECOND: i64 = 1_000;

impl World {
    fn set(&self, after_ms: i64) {
        self.clock.set(Timestamp::from_millis(START_MS + after_ms).unwrap());
    }

    /// Lets time pass, with ticks, and returns the sum in the outbox after that.
    fn pass(&self, shard: &mut Shard, seconds: u64) -> f64 {
        for _ in 0..seconds.div_ceil(5) {
            self.clock.advance(Duration::from_secs(5));
            settle(shard);
        }
        total(shard)
    }

    fn claims(&self, shard: &Shard) -> i64 {
        shard.state().watermark().unwrap().as_millis() - START_MS
    }
}

fn total(shard: &Shard) -> f64 {
    sums(&outbox(shard)).iter().map(|(_, sum)| sum).sum()
}

#[test]
fn a_jump_ahead_that_is_put_right_is_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    settle(&mut shard);
    world.set(3_600 * SECOND);
    settle(&mut shard);
    // A reading without a time gets the gateway's clock.
    world.take(&mut shard, "a", 2, 3_600 * SECOND, 2.0);
    assert_eq!(world.pass(&mut shard, 20), 1.0, "the earlier window closes when it should");
    assert!(world.claims(&shard) <= 20 * SECOND, "{}", world.claims(&shard));
    world.set(20 * SECOND);
    world.take(&mut shard, "a", 3, 20 * SECOND, 4.0);
    assert_eq!(shard.state().open_count().1, 0, "what comes then is not late");
    assert_eq!(world.pass(&mut shard, 15), 5.0);
    // The window an hour ahead does not wait for an hour.
    assert_eq!(world.pass(&mut shard, 630), 7.0);
    assert!(world.claims(&shard) < 700 * SECOND);
}

#[test]
fn a_jump_ahead_that_lasts_counts_and_its_return_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    let year = 366 * 86_400 * SECOND;
    world.set(year);
    world.take(&mut shard, "a", 1, year, 1.0);
    assert_eq!(world.pass(&mut shard, 50), 0.0);
    assert_eq!(world.pass(&mut shard, 40), 1.0, "closed once the step has lasted");
    let claimed = world.claims(&shard);
    assert!(claimed > year);
    // Put right: everything is late now, and is delivered by parts all the same.
    world.set(90 * SECOND);
    for seq in 2..6 {
        world.take(&mut shard, "a", seq, 90 * SECOND, 1.0);
        world.pass(&mut shard, 5);
    }
    assert_eq!(world.pass(&mut shard, 10), 5.0);
    assert_eq!(world.claims(&shard), claimed, "the watermark never goes back");
    // An aggregator gets what the corrected clock has passed, and so believes it again.
    let reported = |shard: &Shard| shard.progress().unwrap().watermark.unwrap().as_millis() - START_MS;
    let before = reported(&shard);
    assert!((90 * SECOND..120 * SECOND).contains(&before), "{before}");
    let last = outbox(&shard).pop().unwrap();
    assert_eq!(last.watermark, None, "no batch claims the time ahead");
    world.pass(&mut shard, 20);
    assert_eq!(reported(&shard), before + 20 * SECOND);
    drop(shard);
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    assert_eq!(reported(&shard), before + 20 * SECOND, "after a start too");
}

#[test]
fn windows_close_although_the_clock_goes_back_for_days_or_stands_still() {
    for step in [-3 * 86_400 * SECOND, 0] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new();
        let (mut shard, _) = world.open(folder.path());
        settle(&mut shard);
        world.take(&mut shard, "a", 1, 100, 1.0);
        // As far ahead as a device may be.
        world.take(&mut shard, "a", 2, 600 * SECOND, 2.0);
        for _ in 0..140 {
            world.clock.advance(Duration::from_secs(5));
            world.set(step);
            settle(&mut shard);
        }
        assert_eq!(total(&shard), 3.0, "step {step}");
        assert_eq!(shard.state().open_count().0, 0);
        assert!(world.claims(&shard) <= 0, "nothing is claimed that the clock has not passed");
        // Another reading of a window that was closed like this opens another part.
        world.take(&mut shard, "a", 3, 100, 4.0);
        world.set(0);
        assert_eq!(world.pass(&mut shard, 100), 7.0);
    }
}

#[test]
fn clocks_at_the_ends_of_time_neither_panic_nor_lose() {
    for nanos in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new();
        world.clock.set(Timestamp::from_nanos(nanos));
        let (mut shard, _) = world.open(folder.path());
        settle(&mut shard);
        world.take(&mut shard, "a", 1, 100, 1.0);
        let device = shard.device(&Name::new("a").unwrap()).unwrap();
        for (seq, time) in [(2, i64::MIN), (3, i64::MAX), (4, nanos)] {
            let entry = IntakeEntry { device, epoch: "e".into(), seq, series: vec![0], ..Default::default() };
            shard.take(IntakeEntry { time: vec![time], value: vec![1.0], ..entry }).unwrap();
        }
        for _ in 0..140 {
            world.clock.advance(Duration::from_secs(5));
            world.clock.set(Timestamp::from_nanos(nanos));
            settle(&mut shard);
        }
        assert_eq!(total(&shard), 4.0, "clock at {nanos}");
    }
}

#[test]
fn many_windows_that_are_due_at_once_are_closed_in_portions() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    world.config.open_windows_max = 1_000_000;
    let (mut shard, _) = world.open(folder.path());
    let device = shard.device(&Name::new("a").unwrap()).unwrap();
    let series: Vec<u32> = (0..1_000)
        .map(|n| {
            let metric = MetricName::new(&format!("m{n}")).unwrap();
            shard.series(device, &metric, &Labels::none()).unwrap().unwrap()
        })
        .collect();
    for seq in 1..=100_u64 {
        let mut time = vec![0; 1_000];
        time[0] = (START_MS + 10_000 * seq as i64) * 1_000_000;
        let (epoch, series, value) = ("e".to_owned(), series.clone(), vec![1.0; 1_000]);
        let entry = IntakeEntry { device, epoch, seq, series, time, value, ..Default::default() };
        while shard.take(entry.clone()).is_err() {
            std::thread::yield_now();
        }
    }
    assert_eq!(shard.state().open_count().0, 100_000);
    // An hour's pause.
    world.clock.advance(Duration::from_secs(3_600));
    let mut ticks = 0;
    loop {
        let before = shard.state().open_count().0;
        let more = shard.tick().unwrap();
        assert!(before - shard.state().open_count().0 <= 8 * batch_encoder::BATCH_PARTIALS as usize);
        sync(&shard);
        ticks += 1;
        if !more {
            break;
        }
    }
    assert!(ticks > 3, "{ticks}");
    while shard.progress().is_none() {
        settle(&mut shard);
    }
    settle(&mut shard);
    assert_eq!(shard.state().open_count().0, 0);
    assert_eq!(total(&shard), 100_000.0);
}

#[test]
fn whatever_the_clock_does_everything_is_delivered_once() {
    for seed in 0..12_u64 {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new();
        let (mut shard, _) = world.open(folder.path());
        let mut random = seed;
        let mut below = |bound: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as i64 % bound
        };
        let mut watermark = None;
        for seq in 1..=60 {
            match below(8) {
                0 => world.set(below(86_400) * SECOND),
                1 => world.set(-below(86_400) * SECOND),
                2 => world.clock.advance(Duration::from_secs(below(100) as u64)),
                3 => {
                    // Their threads are gone before the next ones come.
                    shard.journal().close().unwrap();
                    shard.outbox().close().unwrap();
                    drop(shard);
                    shard = world.open(folder.path()).0;
                }
                _ => world.clock.advance(Duration::from_millis(below(3_000) as u64)),
            }
            let now = world.clock.wall().as_millis() - START_MS;
            world.take(&mut shard, "a", seq, now + below(1_200_000) - 600_000, 1.0);
            settle(&mut shard);
            assert!(shard.state().watermark() >= watermark, "the watermark went back, seed {seed}");
            watermark = shard.state().watermark();
        }
        assert_eq!(world.pass(&mut shard, 700), 60.0, "seed {seed}");
        assert_eq!(shard.state().open_count().0, 0, "seed {seed}");
    }
}
