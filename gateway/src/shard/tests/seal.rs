//! At a start every open window is closed, so that none holds readings of before and after it.

use super::*;

/// Waits until what is closed stands durably in the outbox.
fn put_out(shard: &mut Shard) {
    sync(shard);
    shard.append_durable_batches();
    while shard.outbox().durable() < shard.outbox().end() {
        std::thread::yield_now();
    }
}

#[test]
fn no_window_holds_readings_of_before_and_after_a_start() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::new());
    let (mut shard, _) = world.open(folder.path());
    assert_eq!((shard.base(), shard.seal_waiting()), (1, 1), "a new folder has nothing to close");
    for seq in 1..=3 {
        world.take(&mut shard, "d", seq, 0, 1.0);
        world.take(&mut shard, "e", seq, 20_000, 1.0);
    }
    sync(&shard);
    drop(shard);

    let (mut shard, _) = world.open(folder.path());
    let watermark = shard.state().watermark();
    assert_eq!((shard.base(), shard.seal_waiting()), (1, 2));
    assert_eq!((shard.state().open_count().0, shard.state().watermark()), (0, watermark));
    world.take(&mut shard, "d", 4, 0, 100.0);
    sync(&shard);
    drop(shard);

    let (mut shard, recovered) = world.open(folder.path());
    assert!(recovered.is_clean(), "{recovered:?}");
    assert_eq!((shard.base(), shard.seal_waiting()), (2, 3), "the seal is replayed under its number");
    put_out(&mut shard);
    let batches = outbox(&shard);
    let numbers: Vec<u64> = batches.iter().map(|batch| batch.number).collect();
    assert_eq!(numbers, [1, 2]);
    let sums: Vec<f64> = sums(&batches).into_iter().map(|(_, sum)| sum).collect();
    assert_eq!(sums, [3.0, 3.0, 100.0]);
}

#[test]
fn a_large_seal_falls_into_batches() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::new());
    let (mut shard, _) = world.open(folder.path());
    for device in 0..40 {
        world.take(&mut shard, &format!("d{device}"), 1, 0, 1.0);
    }
    sync(&shard);
    drop(shard);
    let mut setup = world.setup(folder.path());
    setup.limits.batch_memory = 1_000;
    let (mut shard, _) = Shard::open(&setup).unwrap();
    let sealed = shard.seal_waiting();
    assert!(sealed > shard.base() + 2, "{sealed}");
    put_out(&mut shard);
    assert_eq!(sums(&outbox(&shard)).len(), 40);
}
