//! A shard on a real folder: what it takes is there after it was dropped at any moment.

use std::{path::Path, sync::Arc, time::Duration};

use catchment_journal::{Position, RealDisk};
use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::{Batch, Labels, MetricName, Name, wire};
use prost::Message;

use super::*;

mod bounds;
mod buffer;
mod clocks;
mod damage;
mod expire;
mod metric_parts;
pub(super) mod panics;
mod random;
mod refused;
mod seal;
mod series;
mod starts;
use crate::{
    Config, batch_encoder,
    clock::{Clock, ManualClock},
    config::tests::given,
    fold::IntakeEntry,
    metrics::Metrics,
};
use catchment_journal::ReadEvent;

const START_MS: i64 = 1_700_000_000_000;

fn config() -> Config {
    Config { grace: Duration::from_secs(1), ..given().check().unwrap() }
}

struct World {
    clock: Arc<ManualClock>,
    config: Config,
}

impl World {
    fn new() -> Self {
        Self { clock: Arc::new(ManualClock::at(Timestamp::from_millis(START_MS).unwrap())), config: config() }
    }

    fn open(&self, folder: &Path) -> (Shard, RecoveryReport) {
        Shard::open(&self.setup(folder)).unwrap()
    }

    fn setup<'a>(&self, folder: &'a Path) -> Setup<'a> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let limits = ShardLimits::of(&self.config, 1);
        let (window, metrics, budget) = (self.config.window, Metrics::new(), Arc::default());
        let (facts, metric_parts) = (ShardFacts::default(), Arc::clone(&self.config.metric_parts));
        Setup { folder, index: 0, facts, window, metric_parts, limits, clock, metrics, budget }
    }

    fn take(&self, shard: &mut Shard, device: &str, seq: u64, after_ms: i64, value: f64) {
        let device = shard.device(&Name::new(device).unwrap()).unwrap();
        let metric = MetricName::new("m").unwrap();
        let series = shard.series(device, &metric, &Labels::none()).unwrap().unwrap();
        let time = vec![(START_MS + after_ms) * 1_000_000];
        let (epoch, previous) = ("e".to_owned(), seq - 1);
        let intake = IntakeEntry {
            device,
            epoch,
            seq,
            previous,
            series: vec![series],
            time,
            value: vec![value],
            ..Default::default()
        };
        shard.take(intake).unwrap();
    }
}

fn sync(shard: &Shard) {
    // The entries of a start are committed with the first entry of the run, which a test may not make.
    shard.journal().request_commit();
    while shard.journal().durable() < shard.end() {
        std::thread::yield_now();
    }
}

/// Closes what is due and waits until it stands durably in the outbox.
fn settle(shard: &mut Shard) {
    loop {
        match shard.tick() {
            Ok(true) => {}
            Ok(false) => break,
            // The log makes room: retry, as a worker does.
            Err(Backpressure::Sync) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    sync(shard);
    shard.append_durable_batches();
    while shard.outbox().durable() < shard.outbox().end() {
        std::thread::yield_now();
    }
}

fn outbox(shard: &Shard) -> Vec<Batch> {
    let mut reader = shard.outbox().read(Position::ZERO);
    let (mut record, mut batches) = (Vec::new(), Vec::new());
    while let ReadEvent::Record(_) = reader.next(&mut record).unwrap() {
        let (number, bytes) = batch_encoder::split_record(&record).unwrap();
        let batch = Batch::try_from(wire::Batch::decode(bytes).unwrap()).unwrap();
        assert_eq!(batch.number, number);
        batches.push(batch);
    }
    batches
}

fn sums(batches: &[Batch]) -> Vec<(i64, f64)> {
    let entries = batches.iter().flat_map(|batch| &batch.entries);
    entries
        .map(|entry| {
            let partial = Partial::decode(&entry.body, entry.window.start()).unwrap();
            (entry.window.start().as_millis() - START_MS, partial.sum())
        })
        .collect()
}

#[test]
fn what_was_taken_is_there_after_a_restart_and_closed_once() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    world.take(&mut shard, "a", 2, 200, 2.0);
    sync(&shard);
    drop(shard);
    let (mut shard, recovered) = world.open(folder.path());
    assert!(recovered.entries >= 4 && recovered.damage.is_empty() && recovered.unfit == 0);
    let device = shard.device(&Name::new("a").unwrap()).unwrap();
    assert_eq!(shard.state().highest(device, "e"), 2);
    world.take(&mut shard, "a", 3, 300, 4.0);
    world.clock.advance(Duration::from_secs(12));
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)), [(0, 7.0)]);
    drop(shard);
    // The replay closes the window again; the batch is in the outbox already.
    let (mut shard, recovered) = world.open(folder.path());
    assert_eq!(recovered.batches, 0);
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)), [(0, 7.0)]);
}

#[test]
fn a_batch_that_did_not_reach_the_outbox_is_put_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    world.clock.advance(Duration::from_secs(12));
    // Closed and durable, but never moved: a whole tick would, where the disk is quick.
    let due = shard.closer.look(shard.journaled.state(), shard.end());
    let entry = shard.closer.next_close(shard.state(), &due).unwrap();
    shard.close(entry).unwrap();
    sync(&shard);
    drop(shard);
    let (mut shard, recovered) = world.open(folder.path());
    assert_eq!(recovered.batches, 1);
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)), [(0, 1.0)]);
}

#[test]
fn a_checkpoint_stands_for_the_journal_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    world.clock.advance(Duration::from_secs(12));
    settle(&mut shard);
    world.take(&mut shard, "a", 2, 10_100, 2.0);
    // Late for the window that is closed.
    world.take(&mut shard, "a", 3, 150, 8.0);
    sync(&shard);
    let capture = shard.capture().unwrap();
    shard.checkpoints().write_parts(&capture.parts).unwrap();
    shard.checkpointed(capture.position);
    world.take(&mut shard, "a", 4, 10_200, 4.0);
    sync(&shard);
    drop(shard);
    let (mut shard, recovered) = world.open(folder.path());
    assert_eq!(recovered.entries, 1, "only what came after the checkpoint is replayed");
    world.clock.advance(Duration::from_secs(10));
    settle(&mut shard);
    // The late window has not gathered long enough by the monotonic clock of this process.
    world.clock.advance(Duration::from_secs(2));
    settle(&mut shard);
    world.clock.advance(Duration::from_secs(2));
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)), [(0, 1.0), (10_000, 6.0), (0, 8.0)]);
}

#[test]
fn damage_in_the_middle_keeps_the_rest_and_tells_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    for seq in 1..=5 {
        world.take(&mut shard, "a", seq, 100 * seq as i64, f64::from(1 << seq));
        sync(&shard);
    }
    drop(shard);
    let journal = folder.path().join("journal");
    let segment = std::fs::read_dir(&journal).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    // Within the value of the third message, which is the only 8.0.
    let value = 8.0_f64.to_le_bytes();
    let at = bytes.windows(8).position(|window| window == value).unwrap();
    bytes[at + 6] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let report = catchment_journal::verify(&RealDisk, &journal).unwrap();
    assert!(!report.is_clean());
    let (mut shard, recovered) = world.open(folder.path());
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.gaps, [(Name::new("a").unwrap(), "e".to_owned(), 3, 3)]);
    world.clock.advance(Duration::from_secs(12));
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)), [(0, 2.0 + 4.0 + 16.0 + 32.0)]);
}

#[test]
fn too_many_open_windows_are_sent_early_the_late_ones_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    world.config.open_windows_max = 16;
    let (mut shard, _) = world.open(folder.path());
    settle(&mut shard);
    world.take(&mut shard, "a", 1, 100, 0.5);
    for late in 1..40 {
        world.take(&mut shard, "a", 1 + late, -20_000 * late as i64, 1.0);
    }
    settle(&mut shard);
    assert!(shard.state().open_count().0 <= 16);
    let sent = sums(&outbox(&shard));
    assert!(sent.len() >= 24 && sent.iter().all(|(_, sum)| *sum == 1.0), "{sent:?}");
}

#[test]
fn live_batches_hold_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    let before = shard.end();
    let (end, batches, _) = shard.live();
    // A commit meanwhile moves the end to the next block.
    assert!(before <= end && end <= shard.end());
    let batch = Batch::try_from(batches[0].clone()).unwrap();
    assert!(batch.live && batch.number == 0);
    assert_eq!(sums(&[batch]), [(0, 1.0)]);
    assert!(shard.live().1.is_empty());
    world.take(&mut shard, "a", 2, 200, 2.0);
    assert_eq!(sums(&[Batch::try_from(shard.live().1[0].clone()).unwrap()]), [(0, 3.0)]);
    let window = Window::containing(Timestamp::from_millis(START_MS).unwrap(), world.config.window);
    assert_eq!(window.start().as_millis(), START_MS);
}

#[test]
fn a_lost_introduction_costs_nothing_of_what_builds_on_it() {
    for victim in ["device-a", "metric_of_a"] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new();
        let (mut shard, _) = world.open(folder.path());
        let device = shard.device(&Name::new("device-a").unwrap()).unwrap();
        let metric = MetricName::new("metric_of_a").unwrap();
        let series = shard.series(device, &metric, &Labels::none()).unwrap().unwrap();
        for seq in 1..=3 {
            let time = vec![START_MS * 1_000_000];
            let entry = IntakeEntry {
                device,
                epoch: "e".into(),
                seq,
                series: vec![series],
                time,
                ..Default::default()
            };
            shard.take(IntakeEntry { value: vec![1.0], ..entry }).unwrap();
            sync(&shard);
            settle(&mut shard);
        }
        shard.journal().close().unwrap();
        shard.outbox().close().unwrap();
        drop(shard);
        let journal = folder.path().join("journal");
        let segment = std::fs::read_dir(&journal).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&segment).unwrap();
        let at = bytes.windows(victim.len()).position(|window| window == victim.as_bytes()).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&segment, &bytes).unwrap();
        let found = examine(&Arc::new(RealDisk), folder.path(), (0, 0)).unwrap();
        assert!(!found.is_clean() && found.gaps.is_empty() && found.unfit == 0, "{:?}", found.lines());
        let (mut shard, recovered) = world.open(folder.path());
        assert!(recovered.damage.len() == 1 && recovered.unfit == 0, "{:?}", recovered.lines());
        world.clock.advance(Duration::from_secs(12));
        settle(&mut shard);
        let batches = outbox(&shard);
        assert_eq!(sums(&batches), [(0, 3.0)]);
        assert_eq!(batches[0].series[0].device.as_str(), "device-a");
    }
}

#[test]
fn verify_names_what_is_lost_and_refuses_a_folder_in_use() {
    let data = tempfile::tempdir().unwrap();
    let lock = catchment_journal::DataDir::open(data.path(), "gateway", 0, &[("shards", "1")]).unwrap();
    let world = World::new();
    let folder = data.path().join("shard-0");
    let (mut shard, _) = world.open(&folder);
    for seq in 1..=5 {
        world.take(&mut shard, "a", seq, 100, f64::from(1 << seq));
        sync(&shard);
    }
    shard.journal().close().unwrap();
    shard.outbox().close().unwrap();
    drop(shard);
    let used = crate::inspect::verify_text(data.path()).unwrap_err().to_string();
    assert!(used.contains("in use by another process"), "{used}");
    drop(lock);
    assert_eq!(crate::inspect::verify_text(data.path()).map(|(_, clean)| clean).ok(), Some(true));
    let segment = folder.join("journal").join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|window| window == 8.0_f64.to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    for _ in 0..2 {
        let (text, clean) = crate::inspect::verify_text(data.path()).unwrap();
        assert!(!clean && text.contains("lost: device a, epoch e: messages 3 to 3"), "{text}");
    }
    crate::inspect::repair_text(data.path()).unwrap();
    let (mut shard, recovered) = world.open(&folder);
    assert_eq!(recovered.gaps.len(), 1, "what is lost is known after a repair too");
    world.clock.advance(Duration::from_secs(12));
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)), [(0, 54.0)]);
}

#[test]
fn a_journal_that_lost_its_files_goes_on_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    sync(&shard);
    let capture = shard.capture().unwrap();
    shard.checkpoints().write_parts(&capture.parts).unwrap();
    world.take(&mut shard, "a", 2, 100, 2.0);
    let end = shard.end();
    shard.journal().close().unwrap();
    shard.outbox().close().unwrap();
    drop(shard);
    std::fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let (mut shard, recovered) = world.open(folder.path());
    assert!(!recovered.is_clean() && shard.end() > end, "no position is used a second time");
    world.take(&mut shard, "a", 3, 100, 4.0);
    world.clock.advance(Duration::from_secs(12));
    settle(&mut shard);
    assert_eq!(sums(&outbox(&shard)), [(0, 5.0)]);
}
