//! Starts after a log lost its end, and with little room: no position and no number is used twice, what is left of a
//! log is used, and a start succeeds.

use catchment_journal::{DamageReason, Disk};
use catchment_partial::Width;

use super::{
    damage::{DEVICES, Opened, Random, Site, data_files, device_name, folder},
    *,
};

impl Site {
    fn restart_after_damage(&mut self) -> RecoveryReport {
        let (shard, committers, recovered) = Self::open(&self.world, &self.disk).unwrap();
        (self.shard, self.committers) = (shard, committers);
        recovered
    }

    /// The newest file of a log loses everything after its header, or all of it.
    fn lose_last_file(&self, log: &str, all: bool) {
        let dir = folder().join(log);
        let newest =
            data_files(&self.disk).into_iter().map(|(path, _)| path).filter(|path| path.starts_with(&dir));
        let newest = newest.max().unwrap();
        match all {
            true => self.disk.remove(&newest).unwrap(),
            false => catchment_journal::DiskFile::set_len(&self.disk.open(&newest).unwrap(), 4096).unwrap(),
        }
    }

    fn kept(&self) -> usize {
        (0..DEVICES).map(|device| self.centre.messages(&device_name(device), "kept").len()).sum()
    }
}

/// What the journal lost at its end without a trace in it, the outbox or the definitions log tell of.
#[test]
fn a_journal_that_lost_its_end_goes_on_behind_it() {
    for (seed, all) in (0..40).zip([true, false].into_iter().cycle()) {
        let mut site = Site::new(seed);
        let mut random = Random(seed);
        site.live(&mut random, 6);
        site.checkpoint();
        site.live(&mut random, 30);
        site.world.clock.advance(Duration::from_secs(60));
        site.settle();
        let (end, next) = (site.shard.end(), site.shard.state().next_batch());
        site.lose_last_file("journal", all);
        let found = site.restart_after_damage();
        let missing = |damage: &catchment_journal::Damage| damage.reason == DamageReason::Missing;
        assert!(found.damage.iter().any(missing), "seed {seed}: {:?}", found.lines());
        assert!(site.shard.end() > end, "seed {seed}: positions are used again");
        assert!(site.shard.state().next_batch() >= next, "seed {seed}: numbers are used again");
        // Also when the power is lost before anything else is written.
        site.disk.crash();
        site.restart_after_damage();
        assert!(site.shard.end() > end, "seed {seed}: positions are used again after a crash");
        site.finish();
        site.kept();
    }
}

#[test]
fn an_outbox_that_lost_its_end_delivers_what_it_has_before() {
    let mut site = Site::new(2);
    let mut random = Random(2);
    let first = site.shard.state().next_batch();
    // A backlog of several files, and a checkpoint beyond it.
    for step in 0..400 {
        site.send(step % DEVICES, &mut random);
        site.taken = [step as u64 / 16; DEVICES];
        site.world.clock.advance(Duration::from_secs(11));
        site.settle();
    }
    site.checkpoint();
    let last = site.shard.state().next_batch() - 1;
    let start = site.shard.outbox().start_position();
    site.lose_last_file("outbox", true);
    let found = site.restart_after_damage();
    let lost: Vec<_> = found.batches_lost.iter().map(|lost| (lost.first, lost.last)).collect();
    assert_eq!(lost.len(), 1, "{:?}", found.lines());
    assert!(lost[0].0 > first + 100 && lost[0].1 == last, "{lost:?} of {first} to {last}");
    assert_eq!(site.shard.outbox().start_position(), start, "what is left is not thrown away");
    let kept = outbox_numbers(&site);
    assert_eq!(kept, (first..lost[0].0).collect::<Vec<_>>());
    // Batches that come now are after the gap.
    site.world.clock.advance(Duration::from_secs(11));
    site.send(0, &mut random);
    site.world.clock.advance(Duration::from_secs(60));
    site.settle();
    assert!(outbox_numbers(&site).last().unwrap() > &last);
}

fn outbox_numbers(site: &Site) -> Vec<u64> {
    let mut reader = site.shard.outbox().read(Position::ZERO);
    let (mut record, mut numbers) = (Vec::new(), Vec::new());
    loop {
        match reader.next(&mut record).unwrap() {
            ReadEvent::Record(_) => numbers.push(batch_encoder::split_record(&record).unwrap().0),
            ReadEvent::Damage(_) => {}
            ReadEvent::End => return numbers,
        }
    }
}

/// A crash may come between a commit that fills a segment and the next segment: the first entry then needs that.
#[test]
fn a_start_writes_its_first_entry_also_where_the_last_file_is_full() {
    for spare in 0..64 {
        let mut site = Site::new(spare);
        let mut random = Random(spare);
        site.send(0, &mut random);
        site.commit();
        // Nothing more than what is reserved.
        let used: u64 = site.disk.files().iter().map(|(_, length)| *length).sum();
        site.disk.set_quota(Some(used));
        let device = site.shard.device(&Name::new("d0").unwrap()).unwrap();
        let filler = |length: usize| IntakeEntry {
            device,
            epoch: "boot".into(),
            series: vec![0; length],
            time: vec![0; length],
            value: vec![0.5; length],
            ..IntakeEntry::default()
        };
        let mut seq = 100;
        for length in [100, 8, 1] {
            for _ in 0..spare + 200 {
                seq += 1;
                if site.shard.take(IntakeEntry { seq, ..filler(length) }).is_err() {
                    break;
                }
            }
        }
        // To the brim, and all in one commit: after it there is no space for the next segment.
        for name in 0..200 {
            if site.shard.device(&Name::new(&format!("x{name}")).unwrap()).is_err() {
                break;
            }
        }
        let _ = site.committers[0].step();
        site.disk.crash();
        site.disk.set_quota(None);
        site.world.config.window = Width::from_millis(20_000).unwrap();
        let opened: Result<Opened, _> = Site::open(&site.world, &site.disk);
        let (shard, _, recovered) = opened.unwrap_or_else(|error| panic!("{spare}: {error}"));
        assert!(recovered.is_clean(), "{:?}", recovered.lines());
        assert_eq!(shard.state().width(), Some(site.world.config.window));
    }
}

/// The replay of a start is bounded by the state and not only by what is configured.
#[test]
fn a_small_state_is_written_down_soon_and_a_large_one_after_some_times_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    let device = shard.device(&Name::new("a").unwrap()).unwrap();
    let series = shard.series(device, &MetricName::new("m").unwrap(), &Labels::none()).unwrap().unwrap();
    let grow = |shard: &mut Shard, bytes: u64| {
        let end = shard.end().get() + bytes;
        while shard.end().get() < end {
            let (series, time, value) = (vec![series; 2_000], vec![0; 2_000], vec![0.5; 2_000]);
            let intake = IntakeEntry { device, series, time, value, ..Default::default() };
            // A new segment may be on its way.
            while let Err(wait) = shard.take(intake.clone()) {
                assert_eq!(wait, Backpressure::Sync);
            }
            sync(shard);
        }
    };
    grow(&mut shard, 7 << 20);
    assert!(!shard.checkpoint_due());
    grow(&mut shard, 1 << 20);
    assert!(shard.checkpoint_due(), "64 MiB are configured, and the state is small");
    shard.journaled.checkpointer().set_state_bytes(4 << 20);
    assert!(!shard.checkpoint_due());
    grow(&mut shard, 8 << 20);
    assert!(shard.checkpoint_due());
    // Whatever the state, no later than configured.
    shard.journaled.checkpointer().set_state_bytes(1 << 40);
    shard.limits.checkpoint_bytes = 12 << 20;
    assert!(shard.checkpoint_due());
}

/// The state is still in memory, so what removed the checkpoint takes nothing with it.
#[test]
fn a_checkpoint_that_vanished_is_due_again() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 1, 100, 1.0);
    sync(&shard);
    let write = |shard: &mut Shard| {
        let capture = shard.capture().unwrap();
        shard.checkpoints().write_parts(&capture.parts).unwrap();
        shard.checkpointed(capture.position);
    };
    write(&mut shard);
    shard.journaled.checkpointer().clear_soon();
    shard.checkpoints().check_in_place().unwrap();
    assert!(!shard.checkpoint_due() && !shard.changed_since_checkpoint());
    for file in std::fs::read_dir(folder.path().join("checkpoint")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    assert!(shard.checkpoints().check_in_place().is_err_and(|error| error.is_gone()));
    assert!(shard.checkpoint_due() && shard.changed_since_checkpoint(), "also at a stop");
    write(&mut shard);
    assert!(!shard.checkpoint_due() && !shard.changed_since_checkpoint());
    shard.journal().close().unwrap();
    shard.outbox().close().unwrap();
    drop(shard);
    let (_, recovered) = world.open(folder.path());
    assert!(recovered.is_clean(), "{:?}", recovered.lines());
}

/// Nothing is known of what it held: its numbers and positions stay unused, so the aggregator finds a gap and
/// replaces nothing.
#[test]
fn a_shard_that_was_given_up_begins_beyond_all_that_it_can_have_used() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let given_up = Setup {
        facts: ShardFacts { epoch: 7, given_up: 2, ..ShardFacts::default() },
        ..world.setup(folder.path())
    };
    let (mut shard, recovered) = Shard::open(&given_up).unwrap();
    assert!(recovered.without_checkpoint && recovered.damage.len() == 1, "{:?}", recovered.lines());
    assert!(shard.end().get() > 1 << 56 && shard.base() >= 2 << 40);
    world.take(&mut shard, "a", 1, 100, 1.0);
    sync(&shard);
    let end = shard.end();
    world.clock.advance(Duration::from_secs(12));
    settle(&mut shard);
    let batches = outbox(&shard);
    assert_eq!(sums(&batches), [(0, 1.0)]);
    assert!(batches[0].number >= shard.base());
    shard.journal().close().unwrap();
    shard.outbox().close().unwrap();
    drop(shard);
    // A start that was cut off before the folder said so is made again.
    for setup in [&given_up, &world.setup(folder.path())] {
        let (shard, recovered) = Shard::open(setup).unwrap();
        assert!(recovered.damage.is_empty() && shard.end() > end, "{:?}", recovered.lines());
        shard.journal().close().unwrap();
        shard.outbox().close().unwrap();
    }
}

#[test]
fn checkpoints_of_another_shard_are_refused() {
    let world = World::new();
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let facts = |epoch| ShardFacts { epoch, ..ShardFacts::default() };
    let write = |folder: &Path, epoch, index| {
        let (mut shard, _) =
            Shard::open(&Setup { facts: facts(epoch), index, ..world.setup(folder) }).unwrap();
        world.take(&mut shard, "a", 1, 100, 1.0);
        sync(&shard);
        let capture = shard.capture().unwrap();
        shard.checkpoints().write_parts(&capture.parts).unwrap();
        shard.checkpointed(capture.position);
        shard.journal().close().unwrap();
        shard.outbox().close().unwrap();
    };
    let reopen = |epoch, index| {
        Shard::open(&Setup { facts: facts(epoch), index, ..world.setup(own.path()) })
            .map(|(_, found)| found.is_clean())
    };
    write(own.path(), 7, 0);
    assert!(reopen(7, 0).unwrap());
    for (epoch, index) in [(8, 0), (7, 1)] {
        assert!(matches!(reopen(epoch, index), Err(RecoveryError::Foreign { .. })));
    }
    write(other.path(), 8, 0);
    std::fs::remove_dir_all(own.path().join("checkpoint")).unwrap();
    std::fs::rename(other.path().join("checkpoint"), own.path().join("checkpoint")).unwrap();
    let refused = reopen(7, 0).unwrap_err().to_string();
    assert!(refused.contains("checkpoint: the checkpoints belong to another"), "{refused}");
}
