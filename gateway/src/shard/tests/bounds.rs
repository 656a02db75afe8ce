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
        assert_eq!(shard.device_room(device), Ok(()), "window {late}");
        world.take(&mut shard, "a", late, -20_000 * late as i64, 1.0);
    }
    let [a, honest] = ["a", "honest"].map(|name| shard.device(&Name::new(name).unwrap()).unwrap());
    assert!(matches!(shard.device_room(a), Err(Wait::Room(why)) if why.contains("device_open_windows_max")));
    assert_eq!(shard.device_room(honest), Ok(()));
    settle(&mut shard);
    assert!(shard.device_room(a).is_err(), "late windows gather first");
    // The bound is part of no checkpoint: a restart counts again.
    drop(shard);
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    world.clock.advance(Duration::from_secs(5));
    settle(&mut shard);
    world.clock.advance(Duration::from_secs(5));
    settle(&mut shard);
    assert_eq!(shard.device_room(a), Ok(()));
    let late: f64 = sums(&outbox(&shard)).iter().filter(|(_, sum)| *sum == 1.0).map(|(_, sum)| sum).sum();
    assert_eq!(late, 100.0, "each was delivered once");
}
