//! Bounds of one device and of all: what they may hold, and that the others do not feel it.

use super::*;

#[test]
fn a_device_with_too_many_open_windows_waits_alone_until_some_have_closed() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    (world.config.device_open_windows_max, world.config.series_max) = (100, 1);
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    world.take(&mut shard, "honest", 1, 100, 0.5);
    for late in 1..=100 {
        let device = shard.device(&Name::new("a").unwrap()).unwrap();
        assert_eq!(shard.check_device_windows(device), Ok(()), "window {late}");
        world.take(&mut shard, "a", late, -20_000 * late as i64, 1.0);
    }
    let [a, honest] = ["a", "honest"].map(|name| shard.device(&Name::new(name).unwrap()).unwrap());
    assert!(
        matches!(shard.check_device_windows(a), Err(Backpressure::Room(why)) if why.contains("device_open_windows_max"))
    );
    assert_eq!(shard.check_device_windows(honest), Ok(()));
    settle(&mut shard);
    assert!(shard.check_device_windows(a).is_err(), "late windows gather first");
    // The bound is part of no checkpoint: a restart counts again.
    drop(shard);
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    world.clock.advance(Duration::from_secs(5));
    settle(&mut shard);
    world.clock.advance(Duration::from_secs(5));
    settle(&mut shard);
    assert_eq!(shard.check_device_windows(a), Ok(()));
    let late: f64 = sums(&outbox(&shard)).iter().filter(|(_, sum)| *sum == 1.0).map(|(_, sum)| sum).sum();
    assert_eq!(late, 100.0, "each was delivered once");
}

#[test]
fn a_live_round_of_many_slices_holds_each_window_once_and_what_changed_behind_it_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    for late in 1..=1_300 {
        world.take(&mut shard, "a", late, 100 - 10_000 * (late as i64 - 1), 1.0);
    }
    let round = |shard: &mut Shard, changes: bool| {
        let (mut sums, mut slices) = (Vec::new(), 0);
        loop {
            let (_, batches, over) = shard.live();
            let batches = batches.into_iter().map(|batch| Batch::try_from(batch).unwrap());
            sums.extend(super::sums(&batches.collect::<Vec<_>>()));
            slices += 1;
            if over {
                return (sums, slices);
            }
            if changes && slices == 1 {
                // In the first slice already.
                world.take(shard, "a", 1_301, 200, 5.0);
            }
        }
    };
    let (first, slices) = round(&mut shard, true);
    assert!(slices > 2);
    assert_eq!((first.len(), first.iter().filter(|(_, sum)| *sum == 1.0).count()), (1_300, 1_300));
    let (second, _) = round(&mut shard, false);
    assert_eq!(second, [(0, 6.0)]);
    assert_eq!(round(&mut shard, false).0, []);
    shard.restart_live();
    assert_eq!(round(&mut shard, false).0.len(), 1_300);
}

#[test]
fn many_devices_that_send_their_history_wait_for_the_closes() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    (world.config.open_windows_max, world.config.series_max) = (100, 1);
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    let devices: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
    let mut sent = [0; 10];
    let (mut most, mut rounds) = (0, 0);
    while sent.iter().any(|sent| *sent < 60) {
        rounds += 1;
        for (name, sent) in devices.iter().zip(&mut sent) {
            let device = shard.device(&Name::new(name).unwrap()).unwrap();
            while *sent < 60 && shard.check_device_windows(device).is_ok() {
                *sent += 1;
                world.take(&mut shard, name, *sent, -20_000 * *sent as i64, 1.0);
                most = most.max(shard.state().open_count().0);
            }
            if *sent < 60 {
                assert!(shard.state().open_count().0 > 100);
                let why = shard.check_device_windows(device);
                assert!(matches!(why, Err(Backpressure::Room(why)) if why.contains("open_windows_max")));
            }
        }
        // A device that is on time is served meanwhile.
        let honest = shard.device(&Name::new("honest").unwrap()).unwrap();
        assert_eq!(shard.check_device_windows(honest), Ok(()));
        world.take(&mut shard, "honest", rounds, 100, 0.25);
        settle(&mut shard);
        assert!(shard.state().open_count().0 <= 100);
    }
    assert!(most <= 101 + 9 * 5, "each may have what it needs on time: {most}");
    let early = shard.metrics.windows.closed_early.get();
    assert!(early >= 500 && rounds > 5, "{early} {rounds}");
    world.clock.advance(Duration::from_secs(20));
    settle(&mut shard);
    world.clock.advance(Duration::from_secs(5));
    settle(&mut shard);
    let late: f64 = sums(&outbox(&shard)).iter().filter(|(_, sum)| *sum == 1.0).map(|(_, sum)| sum).sum();
    assert_eq!(late, 600.0, "each was delivered once");
}

#[test]
fn windows_shorter_than_the_grace_are_on_time_side_by_side() {
    let mut limits = ShardLimits::of(&config(), 1);
    limits.grace = Duration::from_secs(2);
    let width = |ms| catchment_partial::Width::from_millis(ms).ok();
    assert_eq!([None, width(10_000), width(100)].map(|width| limits.windows_on_time(3, width)), [12, 12, 72]);
}

#[test]
fn a_device_with_very_many_windows_waits_while_it_is_captured_and_nobody_else() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    for device in ["first", "heavy", "light"] {
        world.take(&mut shard, device, 1, 100, 1.0);
    }
    let [first, heavy, light] =
        ["first", "heavy", "light"].map(|name| shard.device(&Name::new(name).unwrap()).unwrap());
    let history = |device, seq| {
        let mut time = vec![10_000_000_000; 5_000];
        time[0] = (START_MS - 100_000_000) * 1_000_000;
        let (series, value, epoch) = (vec![0; 5_000], vec![1.0; 5_000], "e".to_owned());
        IntakeEntry { device, epoch, seq, series, time, value, ..IntakeEntry::default() }
    };
    for device in [first, heavy] {
        shard.take(history(device, 2)).unwrap();
    }
    assert!(shard.begin_capture());
    assert!(shard.step_capture().is_none());
    // A commit meanwhile would move the end to the next block.
    sync(&shard);
    let end = shard.end();
    assert_eq!(shard.check_device_windows(heavy), Err(Backpressure::Sync));
    assert_eq!(shard.take(history(heavy, 3)), Err(Backpressure::Sync));
    let metric = MetricName::new("other").unwrap();
    assert_eq!(shard.series(heavy, &metric, &Labels::none()), Err(Backpressure::Sync));
    assert_eq!(shard.end(), end, "nothing is recorded of what waits");
    assert_eq!(shard.check_device_windows(light), Ok(()));
    world.take(&mut shard, "light", 2, 200, 2.0);
    let mut steps = 0;
    while shard.check_device_windows(heavy).is_err() {
        assert!(shard.step_capture().is_none());
        steps += 1;
    }
    assert!((9..=12).contains(&steps), "not behind the one before it: {steps}");
    shard.take(history(heavy, 3)).unwrap();
    // A close of the other one waits too; the ticks before it close the rest.
    world.clock.advance(Duration::from_secs(12));
    let mut waited = 0;
    let capture = loop {
        waited += usize::from(shard.tick() == Err(Backpressure::Sync));
        if let Some(capture) = shard.step_capture() {
            break capture;
        }
    };
    assert!(waited > 0);
    settle(&mut shard);
    shard.checkpoints().write_parts(&capture.parts).unwrap();
    shard.checkpointed(capture.position);
    let (state, batches) = (shard.state().encode(), outbox(&shard).len());
    drop(shard);
    let (mut shard, recovered) = world.open(folder.path());
    assert!(recovered.is_clean() && recovered.entries > 0 && shard.state().encode() == state);
    settle(&mut shard);
    assert_eq!(outbox(&shard).len(), batches);
}

#[test]
fn what_waits_for_a_capture_fails_with_the_journal() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (mut shard, _) = world.open(folder.path());
    for late in 1..=600 {
        world.take(&mut shard, "a", late, 100 - 10_000 * (late as i64 - 1), 1.0);
    }
    let device = shard.device(&Name::new("a").unwrap()).unwrap();
    assert!(shard.begin_capture());
    assert_eq!(shard.check_device_windows(device), Err(Backpressure::Sync));
    shard.poison("nobody continues the capture");
    assert!(matches!(shard.check_device_windows(device), Err(Backpressure::Failed(_))));
}
