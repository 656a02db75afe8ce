//! Bounds of one device: what it may hold, and that the others do not feel it.

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
