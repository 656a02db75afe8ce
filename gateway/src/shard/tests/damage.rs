//! Damage of every kind to every file of a shard: what is kept and what is reported make up what was accepted,
//! nothing counts twice, and a start succeeds.
//!
//! Message `n` of a device carries the value `2^n`, so the sum of its partials says which messages are in them, and
//! their count whether each is there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use catchment_journal::{Checkpoints, Committer, Disk, DiskFile, sim::SimDisk};

pub(super) use super::random::Random;
use super::*;
use crate::{lineage::Numbering, uplink::in_flight::InFlight};

const FOLDER: &str = "/data/shard-0";
pub(super) const DEVICES: usize = 4;
/// Messages of a device before the damage at most; some more come after it.
const BEFORE: u64 = 44;

type PartialName = (String, String, i64, u64);
pub(super) type Opened = (Shard<SimDisk>, [Committer<SimDisk>; 2], RecoveryReport);

/// What an aggregator knows: partials by name with the highest revision, and the highest batch number.
#[derive(Default)]
pub(super) struct Centre {
    /// By device, metric, window and part: revision, sum and count.
    partials: BTreeMap<PartialName, (u64, f64, u64)>,
    highest: u64,
    refused: u64,
}

impl Centre {
    fn take(&mut self, batch: &Batch) {
        if batch.number <= self.highest {
            self.refused += 1;
            return;
        }
        self.highest = batch.number;
        for entry in &batch.entries {
            let series = &batch.series[entry.series as usize];
            let name = (
                series.device.as_str().to_owned(),
                series.metric.as_str().to_owned(),
                entry.window.index(),
                entry.part,
            );
            let partial = Partial::decode(&entry.body, entry.window.start()).unwrap();
            let new = (entry.revision, partial.sum(), partial.count());
            let known = self.partials.entry(name).or_insert(new);
            if known.0 <= new.0 {
                *known = new;
            }
        }
    }

    /// The messages of a device that are here, each once.
    pub(super) fn messages(&self, device: &str, context: &str) -> BTreeSet<u64> {
        let of = self.partials.iter().filter(|((name, ..), _)| name == device);
        let (sum, count) = of.fold((0.0, 0), |(sum, count), (_, (_, s, c))| (sum + s, count + c));
        let bits = sum as u64;
        assert_eq!(u64::from(bits.count_ones()), count, "{context}: {device} counts something twice");
        (0..64).filter(|bit| bits >> bit & 1 == 1).collect()
    }
}

/// A shard on a simulated disk.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) disk: SimDisk,
    pub(super) shard: Shard<SimDisk>,
    pub(super) committers: [Committer<SimDisk>; 2],
    pub(super) centre: Centre,
    /// How rarely something else happens than messages.
    pace: u64,
    /// Devices are away for long at times.
    is_visited: bool,
    /// Messages taken, by device.
    pub(super) taken: [u64; DEVICES],
}

pub(super) fn folder() -> &'static Path {
    Path::new(FOLDER)
}

pub(super) fn device_name(device: usize) -> String {
    format!("d{device}")
}

fn numbered(device: usize) -> bool {
    device.is_multiple_of(2)
}

impl Site {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = World::new();
        world.config.open_windows_max = 1 << 20;
        world.config.device_expiry = Duration::from_secs(1_000);
        let disk = SimDisk::new(seed);
        let (shard, committers, _) = Self::open(&world, &disk).unwrap();
        Self {
            world,
            disk,
            shard,
            committers,
            centre: Centre::default(),
            pace: if seed.is_multiple_of(2) { 16 } else { 400 },
            is_visited: false,
            taken: [0; DEVICES],
        }
    }

    pub(super) fn open(world: &World, disk: &SimDisk) -> Result<Opened, RecoveryError> {
        let mut setup = world.setup(folder());
        // Small, so that there are several segments.
        setup.limits = ShardLimits {
            segment_bytes: 16 << 10,
            entry_bytes_max: 2 << 10,
            record_bytes_max: 4 << 10,
            batch_memory: 2 << 10,
            ..setup.limits
        };
        Shard::manual(&Arc::new(disk.clone()), &setup)
    }

    pub(super) fn send(&mut self, device: usize, random: &mut Random) {
        let name = Name::new(&device_name(device)).unwrap();
        let index = self.shard.device(&name).unwrap();
        let metric = MetricName::new(&format!("m{}", random.below(6))).unwrap();
        let series = self.shard.series(index, &metric, &Labels::none()).unwrap().unwrap();
        let number = self.taken[device] + 1;
        self.taken[device] = number;
        let now = self.world.clock.wall().as_nanos();
        let late = if random.below(8) == 0 { 60_000_000_000 } else { 0 };
        let mut entry = IntakeEntry {
            device: index,
            series: vec![series],
            time: vec![now - late],
            value: vec![(1_u64 << number) as f64],
            ..IntakeEntry::default()
        };
        if numbered(device) {
            entry.epoch = "boot".into();
            entry.seq = number;
        }
        self.shard.take(entry).unwrap();
    }

    pub(super) fn commit(&mut self) {
        for _ in 0..2 {
            self.committers.iter_mut().for_each(|committer| committer.step().unwrap());
            self.shard.append_durable_batches();
        }
        self.committers.iter_mut().for_each(|committer| committer.step().unwrap());
    }

    pub(super) fn settle(&mut self) {
        loop {
            let more = self.shard.tick().unwrap();
            self.commit();
            if !more {
                break;
            }
        }
    }

    pub(super) fn deliver(&mut self) {
        let outbox = self.shard.outbox().clone();
        let mut in_flight = InFlight::new(Numbering::default(), self.centre.highest);
        let mut reader = outbox.read(outbox.start_position());
        let mut record = Vec::new();
        loop {
            match reader.next(&mut record).unwrap() {
                ReadEvent::Record(position) => {
                    let (number, bytes) = batch_encoder::split_record(&record).unwrap();
                    if in_flight.is_known(number) {
                        continue;
                    }
                    in_flight.record_sent(number, position);
                    self.centre.take(&Batch::try_from(wire::Batch::decode(bytes).unwrap()).unwrap());
                }
                ReadEvent::Damage(_) => {}
                ReadEvent::End => break,
            }
        }
        outbox.release(outbox.durable());
        self.commit();
    }

    pub(super) fn checkpoint(&mut self) {
        self.commit();
        if let Some(capture) = self.shard.capture() {
            self.commit();
            self.shard.checkpoints().write_parts(&capture.parts).unwrap();
            self.shard.checkpointed(capture.position);
            self.commit();
        }
    }

    /// A run: everything taken is durable at its end.
    pub(super) fn live(&mut self, random: &mut Random, most: u64) {
        while self.taken.iter().any(|taken| *taken < most) {
            let device = random.below(DEVICES as u64) as usize;
            if self.taken[device] < most {
                self.send(device, random);
            }
            // Some runs hardly deliver anything, so that damage finds much.
            match random.below(self.pace) {
                0 => self.world.clock.advance(Duration::from_secs(8)),
                1..=4 => self.settle(),
                5 => self.deliver(),
                6 if random.below(3) == 0 => self.checkpoint(),
                7 if random.below(4) == 0 => self.restart(),
                8 if self.is_visited && random.below(4) == 0 => self.be_away(),
                _ => self.commit(),
            }
        }
        self.settle();
    }

    fn restart(&mut self) {
        self.commit();
        let (shard, committers, recovered) = Self::open(&self.world, &self.disk).unwrap();
        assert!(recovered.is_clean(), "{:?}", recovered.lines());
        (self.shard, self.committers) = (shard, committers);
    }

    /// The power is lost once or twice, soon after what the start wrote, before any checkpoint.
    fn lose_power_while_starting(&mut self, random: &mut Random) {
        for _ in 0..=random.below(2) {
            if random.below(2) == 0 {
                self.committers.iter_mut().for_each(|committer| committer.step().unwrap());
            }
            self.disk.crash();
            (self.shard, self.committers, _) = Self::open(&self.world, &self.disk).unwrap();
        }
    }

    /// Closes and delivers everything.
    pub(super) fn finish(&mut self) {
        for _ in 0..30 {
            self.world.clock.advance(Duration::from_secs(30));
            self.settle();
            self.deliver();
        }
        assert_eq!(self.shard.state().open_count().0, 0);
    }
}

/// Does something to a file; what.
fn harm(disk: &SimDisk, path: &Path, length: u64, random: &mut Random) -> String {
    let file = disk.open(path).unwrap();
    let at = random.below(length);
    match random.below(6) {
        0 => {
            disk.remove(path).unwrap();
            "removed".into()
        }
        1 => {
            file.set_len(at).unwrap();
            format!("cut at {at}")
        }
        2 => {
            let zeros = vec![0; random.below(2_000.min(length - at)) as usize + 1];
            file.write_all_at(&zeros, at).unwrap();
            format!("{} zeros at {at}", zeros.len())
        }
        3 => {
            file.set_len(0).unwrap();
            let garbage: Vec<u8> = (0..random.below(5_000)).map(|_| random.below(256) as u8).collect();
            file.write_all_at(&garbage, 0).unwrap();
            "garbage".into()
        }
        _ => {
            assert!(disk.flip(path, at));
            format!("flipped byte {at}")
        }
    }
}

pub(super) fn data_files(disk: &SimDisk) -> Vec<(PathBuf, u64)> {
    let files = disk.files().into_iter().filter(|(path, length)| *length > 0 && path.starts_with(FOLDER));
    files.collect()
}

#[derive(Default)]
struct Tally {
    lost: u64,
    named: u64,
    over: u64,
    clean: u64,
    refused: u64,
}

fn case(seed: u64, files: usize, tally: &mut Tally) {
    let mut random = Random(seed);
    let mut site = Site { is_visited: true, ..Site::new(seed) };
    site.live(&mut random, BEFORE);
    let mut context = format!("seed {seed}");
    for _ in 0..files {
        let files = data_files(&site.disk);
        let (path, length) = files[random.below(files.len() as u64) as usize].clone();
        let what = harm(&site.disk, &path, length, &mut random);
        context = format!("{context}, {} {what}", path.display());
    }
    let examined = examine(&Arc::new(site.disk.clone()), folder(), (0, 0));
    let opened = Site::open(&site.world, &site.disk);
    let (shard, committers, recovered) = match opened {
        Ok(opened) => opened,
        // No checkpoint is undamaged: that is reported, and left to a person.
        Err(RecoveryError::Checkpoint { .. }) => {
            tally.refused += 1;
            let disk = Arc::new(site.disk.clone());
            let checkpoints = Checkpoints::open(disk, &folder().join("checkpoint"), "state").unwrap();
            assert!(!checkpoints.quarantine().unwrap().is_empty());
            let opened = Site::open(&site.world, &site.disk).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert!(
                !opened.2.is_clean() || site.shard.journal().start_position() == Position::ZERO,
                "{context}"
            );
            opened
        }
        Err(error) => panic!("{context}: {error}"),
    };
    if let Ok(examined) = &examined {
        assert_eq!(examined.gaps, recovered.gaps, "{context}: verify and a start differ");
        assert_eq!(examined.readings_lost, recovered.readings_lost, "{context}");
    }
    let before = site.taken;
    (site.shard, site.committers) = (shard, committers);
    if seed.is_multiple_of(3) {
        site.lose_power_while_starting(&mut random);
    }
    site.checkpoint();
    // The shard works on, also after a restart.
    site.live(&mut random, BEFORE + 4);
    let (shard, committers, again) = Site::open(&site.world, &site.disk).unwrap();
    (site.shard, site.committers) = (shard, committers);
    assert!(again.gaps.is_empty() && again.unfit == 0, "{context}: told again {:?}", again.lines());
    site.finish();
    judge(&site, &before, &recovered, &context, tally);
}

fn judge(site: &Site, before: &[u64], recovered: &RecoveryReport, context: &str, tally: &mut Tally) {
    for (device, before) in before.iter().enumerate() {
        let name = device_name(device);
        let kept = site.centre.messages(&name, context);
        let accepted: BTreeSet<u64> = (1..=site.taken[device]).collect();
        assert!(kept.is_subset(&accepted), "{context}: {name} has readings that nobody sent: {kept:?}");
        let lost: BTreeSet<u64> = accepted.difference(&kept).copied().collect();
        assert!(lost.iter().all(|n| n <= before), "{context}: {name} lost what came later: {lost:?}");
        let reported: BTreeSet<u64> = recovered
            .gaps
            .iter()
            .filter(|(device, ..)| device.as_str() == name)
            .flat_map(|(_, _, first, last)| *first..=*last)
            .collect();
        tally.over += reported.difference(&lost).count() as u64;
        if lost.is_empty() {
            tally.clean += 1;
            continue;
        }
        tally.lost += lost.len() as u64;
        tally.named += lost.intersection(&reported).count() as u64;
        // The very last commit cannot be distinguished from one that was not finished, or not begun.
        let said = !recovered.is_clean() || recovered.torn_bytes > 0 || lost == BTreeSet::from([*before]);
        assert!(said, "{context}: {name} lost {lost:?} and nothing was said");
    }
}

#[test]
fn one_damaged_file_costs_what_was_in_it_and_that_is_told() {
    let mut tally = Tally::default();
    for seed in 0..400 {
        case(seed, 1, &mut tally);
    }
    let Tally { lost, named, over, clean, refused } = tally;
    println!(
        "lost {lost}, of these named {named}; named and not lost {over}; devices without loss {clean}; starts refused {refused}"
    );
    assert!(lost > 300 && clean > 300 && named > 20, "lost {lost} named {named} over {over} clean {clean}");
    assert_eq!(refused, 0, "one damaged file never stops a start");
}

#[test]
fn several_damaged_files_are_survived() {
    let mut tally = Tally::default();
    for seed in 1_000..1_200 {
        case(seed, 2 + (seed % 3) as usize, &mut tally);
    }
    assert!(tally.lost > 100 && tally.clean > 50);
}
