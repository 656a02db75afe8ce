//! The optional parts of metrics: from the configuration through the journal, over restarts and damage.

use catchment_partial::Parts;

use super::*;
use crate::{
    fold::{Entry, MetricParts},
    shard::definitions::StoredDefinitions,
};

fn world(parts: &[(&str, Parts)]) -> World {
    let mut metric_parts = MetricParts::default();
    for (pattern, parts) in parts {
        metric_parts.insert(pattern, *parts);
    }
    let mut world = World::new();
    world.config.metric_parts = Arc::new(metric_parts);
    world
}

/// Many readings of one window.
fn take_many(world: &World, shard: &mut Shard, first: u64, after_ms: i64) {
    (0..40).for_each(|n| world.take(shard, "press", first + n, after_ms, n as f64));
}

/// How often the journal says how windows are made.
fn configured(shard: &Shard) -> usize {
    sync(shard);
    let mut reader = shard.journal().read(Position::ZERO);
    let (mut record, mut count) = (Vec::new(), 0);
    while let ReadEvent::Record(_) = reader.next(&mut record).unwrap() {
        count += usize::from(matches!(Entry::decode(&record), Ok(Entry::Configure(_))));
    }
    count
}

/// Parts that the bodies of the last batch carry.
fn carried(shard: &Shard) -> Vec<Parts> {
    let batch = outbox(shard).pop().unwrap();
    let parts = batch.entries.iter().map(|entry| {
        assert!(entry.body.len() > 40, "more readings than are kept one by one");
        Partial::decode(&entry.body, entry.window.start()).unwrap().parts()
    });
    parts.collect()
}

#[test]
fn a_change_is_written_once_and_a_replay_decides_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let width = world(&[]).config.window.as_millis();
    let order = world(&[("m", Parts::ORDER)]);
    let starts = [(&world(&[]), 1), (&world(&[]), 1), (&order, 2), (&order, 2)];
    for (world, written) in starts {
        assert_eq!(configured(&world.open(folder.path()).0), written);
    }

    let (mut shard, _) = order.open(folder.path());
    take_many(&order, &mut shard, 1, 0);
    sync(&shard);
    drop(shard);
    // A restart with other settings, and kills before and after the first checkpoint.
    let both = Parts::MOMENTS.with(Parts::DISTINCT);
    let other = world(&[("m*", both)]);
    for _ in 0..2 {
        let (mut shard, report) = other.open(folder.path());
        assert!(report.is_clean());
        assert_eq!(shard.state().configuration().unwrap().metrics.len(), 1);
        let capture = shard.capture().unwrap();
        sync(&shard);
        assert!(shard.may_write(&capture));
        shard.checkpoints().write_parts(&capture.parts).unwrap();
    }
    let (mut shard, _) = other.open(folder.path());
    take_many(&other, &mut shard, 41, i64::from(width));
    other.clock.advance(Duration::from_millis(3 * u64::from(width)));
    settle(&mut shard);
    assert_eq!(carried(&shard), [Parts::ORDER, both], "what was open keeps its parts");
}

#[test]
fn the_definitions_log_knows_the_parts_too() {
    let folder = tempfile::tempdir().unwrap();
    let order = world(&[("m", Parts::ORDER), ("n*", Parts::DISTINCT)]);
    let (mut shard, _) = order.open(folder.path());
    take_many(&order, &mut shard, 1, 0);
    sync(&shard);
    let configuration = shard.state().configuration();
    settle(&mut shard);
    drop(shard);
    // The journal loses its beginning, with the entry that says it.
    std::fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let definitions = StoredDefinitions::read_only(&Arc::new(RealDisk), &folder.path().join(DEFINITIONS));
    assert_eq!(definitions.configuration(), configuration.as_ref());
    let (shard, report) = order.open(folder.path());
    assert!(!report.is_clean());
    assert_eq!(shard.state().configuration(), configuration);
}
