//! Refused readings leave with the next batch, once.

use super::*;

/// Readings refused, by hour, of each batch in the outbox.
fn refused(shard: &Shard) -> Vec<Vec<(i64, u64)>> {
    let of = |batch: &Batch| batch.refused.iter().map(|of| (of.hour, of.readings)).collect();
    outbox(shard).iter().map(of).collect()
}

const HOUR: i64 = START_MS / 3_600_000;

#[test]
fn refused_readings_leave_with_the_next_batch_once() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    shard.note_refused(3);
    shard.note_refused(4);
    world.clock.advance(Duration::from_secs(12));
    // Closed and durable, but not in the outbox: the replay makes the same batch.
    let due = shard.closer.look(shard.journaled.state(), shard.end());
    let entry = shard.closer.next_close(shard.state(), &due).unwrap();
    shard.close(entry).unwrap();
    sync(&shard);
    drop(shard);
    for _ in 0..2 {
        let (mut shard, _) = world.open(folder.path());
        settle(&mut shard);
        assert_eq!(refused(&shard), [[(HOUR, 7)]]);
    }
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 2, 12_100, 1.0);
    world.clock.advance(Duration::from_secs(20));
    settle(&mut shard);
    assert_eq!(refused(&shard), [vec![(HOUR, 7)], Vec::new()]);
}

#[test]
fn without_windows_refused_readings_leave_in_a_batch_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    shard.note_refused(2);
    world.clock.advance(Duration::from_secs(59));
    settle(&mut shard);
    assert_eq!(outbox(&shard).len(), 0, "a window may still take them along");
    world.clock.advance(Duration::from_secs(1));
    settle(&mut shard);
    settle(&mut shard);
    assert_eq!(refused(&shard), [[(HOUR, 2)]]);
    let batch = outbox(&shard).remove(0);
    assert_eq!((batch.number, batch.entries.len(), batch.watermark), (1, 0, shard.state().watermark()));
    let progress = shard.progress().unwrap();
    assert_eq!(progress.number, 1);
    let span = progress.history.of_last(1).unwrap();
    assert_eq!(span.from, span.to, "lost, it leaves no window out");
    drop(shard);
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    assert_eq!(refused(&shard), [[(HOUR, 2)]]);
}
