//! Devices that are not used for long, and come back.

use std::collections::BTreeSet;

use catchment_journal::Disk as _;

use super::{
    damage::{DEVICES, Random, Site, data_files, device_name, folder},
    *,
};
use crate::{budget::Budget, device::DeviceSessions, fold::Entry, shard::SeriesFull};

const HOUR: Duration = Duration::from_secs(3_600);

impl Site {
    /// All devices are away for longer than they are remembered. They have delivered what they had: what they send
    /// again is new.
    pub(super) fn be_away(&mut self) {
        self.settle();
        for _ in 0..16 {
            self.world.clock.advance(Duration::from_secs(100));
            (0..3).for_each(|_| self.settle());
        }
        (0..10).for_each(|_| self.settle());
    }

    fn known(&self) -> usize {
        self.shard.state().device_count()
    }
}

/// Lets time pass, with ticks as a worker makes them.
fn pass(world: &World, shard: &mut Shard, time: Duration) {
    let steps = u32::try_from(time.as_secs() / 100 + 1).unwrap();
    for _ in 0..steps {
        world.clock.advance(time / steps);
        settle(shard);
    }
    settle(shard);
}

fn world(expiry: Duration) -> World {
    let mut world = World::new();
    world.config.device_expiry = expiry;
    world
}

fn index(shard: &Shard, device: &str) -> Option<u32> {
    shard.state().device(&Name::new(device).unwrap())
}

#[test]
fn a_device_that_was_away_for_long_is_forgotten_and_begins_anew() {
    let (world, folder) = (world(HOUR), tempfile::tempdir().unwrap());
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 7, 100, 1.0);
    pass(&world, &mut shard, HOUR - Duration::from_secs(60));
    world.take(&mut shard, "b", 1, 0, 2.0);
    assert_eq!((index(&shard, "a"), index(&shard, "b")), (Some(0), Some(1)), "not yet");
    pass(&world, &mut shard, HOUR / 2);
    assert_eq!((index(&shard, "a"), index(&shard, "b")), (None, Some(1)));
    let text = shard.metrics.text();
    for line in ["devices 1", "series 1", "devices_expired_total 1", "series_expired_total 1"] {
        assert!(text.contains(&format!("catchment_gateway_{line}\n")), "{line}: {text}");
    }
    // It comes back with a new epoch or an old one, and nothing of it is known.
    world.take(&mut shard, "a", 1, 200, 4.0);
    assert_eq!((index(&shard, "a"), shard.state().highest(2, "e")), (Some(2), 1));
    pass(&world, &mut shard, Duration::from_secs(150));
    let all: f64 = sums(&outbox(&shard)).iter().map(|(_, sum)| sum).sum();
    assert_eq!(all, 7.0);
    // A replay, and one from a checkpoint, come to the same.
    let state = shard.state().encode();
    drop(shard);
    let (mut shard, recovered) = world.open(folder.path());
    assert!(recovered.is_clean() && shard.state().encode() == state);
    let capture = shard.capture().unwrap();
    sync(&shard);
    shard.checkpoints().write_parts(&capture.parts).unwrap();
    let state = shard.state().encode();
    drop(shard);
    let (shard, recovered) = world.open(folder.path());
    assert!(recovered.is_clean() && recovered.entries == 0 && shard.state().encode() == state);
}

#[test]
fn the_time_of_day_and_a_gateway_that_is_off_make_no_device_old() {
    let (world, folder) = (world(HOUR), tempfile::tempdir().unwrap());
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 7, 100, 1.0);
    pass(&world, &mut shard, HOUR / 2);
    let years = Timestamp::from_millis(START_MS + 20 * 365 * 86_400_000).unwrap();
    world.clock.set(years);
    pass(&world, &mut shard, HOUR / 3);
    assert!(shard.state().watermark().unwrap().as_millis() > START_MS + 19 * 365 * 86_400_000);
    drop(shard);
    world.clock.advance(10 * HOUR);
    let (mut shard, _) = world.open(folder.path());
    pass(&world, &mut shard, Duration::from_secs(60));
    assert_eq!((index(&shard, "a"), shard.state().highest(0, "e")), (Some(0), 7));
    // Put back, the time of day stands behind the watermark for years: time passes all the same.
    world.clock.set(Timestamp::from_millis(START_MS).unwrap());
    pass(&world, &mut shard, HOUR / 2);
    assert_eq!(index(&shard, "a"), None);
}

#[test]
fn a_device_with_a_session_is_not_forgotten() {
    let (world, folder) = (world(HOUR), tempfile::tempdir().unwrap());
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 7, 100, 1.0);
    let mut device_sessions = DeviceSessions::new(Name::new("a").unwrap(), 4, 10, Metrics::new());
    for session in 1..=2 {
        assert_eq!(device_sessions.attach(session), None);
        device_sessions.hold(&mut shard);
    }
    pass(&world, &mut shard, 3 * HOUR);
    assert_eq!(device_sessions.hello(1, "e".into(), &shard).highest, 7);
    device_sessions.detach(1);
    pass(&world, &mut shard, 3 * HOUR);
    assert_eq!(device_sessions.hello(2, "e".into(), &shard).highest, 7);
    device_sessions.detach(2);
    pass(&world, &mut shard, HOUR);
    assert_eq!(index(&shard, "a"), Some(0), "it was there until now");
    pass(&world, &mut shard, HOUR / 2);
    assert_eq!(index(&shard, "a"), None);
}

/// Ticks that only close windows look at no device: time must not go on without them.
#[test]
fn what_was_connected_until_a_kill_is_not_forgotten() {
    let (world, folder) = (world(HOUR), tempfile::tempdir().unwrap());
    let (mut shard, _) = world.open(folder.path());
    world.take(&mut shard, "a", 7, 100, 1.0);
    settle(&mut shard);
    let held = shard.hold(&Name::new("a").unwrap());
    for _ in 0..200 {
        world.clock.advance(Duration::from_secs(60));
        // The watermark moves, and more may be due.
        assert_eq!(shard.tick(), Ok(true));
        sync(&shard);
    }
    drop((held, shard));
    let (mut shard, _) = world.open(folder.path());
    pass(&world, &mut shard, Duration::from_secs(120));
    assert_eq!((index(&shard, "a"), shard.state().highest(0, "e")), (Some(0), 7));
}

#[test]
fn a_forgotten_series_keeps_its_place_at_the_aggregator() {
    let (world, folder) = (world(HOUR), tempfile::tempdir().unwrap());
    let open = |budget: &Arc<Budget>| {
        let setup = Setup { budget: Arc::clone(budget), ..world.setup(folder.path()) };
        Shard::open(&setup).unwrap().0
    };
    let series = |shard: &mut Shard, device: &str, metric: &str| {
        let device = shard.device(&Name::new(device).unwrap()).unwrap();
        shard.series(device, &MetricName::new(metric).unwrap(), &Labels::none()).unwrap()
    };
    let budget = Arc::new(Budget::default());
    budget.set(2);
    let mut shard = open(&budget);
    assert_eq!((series(&mut shard, "a", "m"), series(&mut shard, "a", "n")), (Ok(0), Ok(1)));
    pass(&world, &mut shard, 2 * HOUR);
    assert_eq!((index(&shard, "a"), budget.series()), (None, 2));
    assert_eq!(series(&mut shard, "b", "m"), Err(SeriesFull::Gateway(2)), "the aggregator has both");
    assert_eq!(series(&mut shard, "a", "n"), Ok(0), "it has its place");
    sync(&shard);
    drop(shard);
    let budget = Arc::new(Budget::default());
    budget.set(2);
    let mut shard = open(&budget);
    assert_eq!(budget.series(), 2);
    assert_eq!(series(&mut shard, "b", "m"), Err(SeriesFull::Gateway(2)));
    assert_eq!(series(&mut shard, "a", "m"), Ok(1));
    budget.set(3);
    assert_eq!(series(&mut shard, "b", "m"), Ok(0));
}

#[test]
fn devices_are_bounded_and_known_ones_are_served() {
    let (world, folder) = (world(HOUR), tempfile::tempdir().unwrap());
    let budget = Arc::new(Budget::default());
    budget.bound_devices(2);
    let setup = || Setup { budget: Arc::clone(&budget), ..world.setup(folder.path()) };
    let (mut shard, _) = Shard::open(&setup()).unwrap();
    let name = |name: &str| Name::new(name).unwrap();
    assert_eq!((shard.device(&name("a")), shard.device(&name("b"))), (Ok(0), Ok(1)));
    assert_eq!(shard.device(&name("c")), Err(Backpressure::Devices(2)));
    assert_eq!((shard.device(&name("a")), budget.devices_full()), (Ok(0), Some(2)));
    shard.metrics.show_budget(&budget);
    assert!(shard.metrics.text().contains("condition{name=\"devices_full\"} 1\n"));
    world.take(&mut shard, "a", 1, 0, 1.0);
    pass(&world, &mut shard, HOUR / 2);
    world.take(&mut shard, "a", 2, 0, 1.0);
    pass(&world, &mut shard, HOUR);
    assert_eq!((shard.device(&name("c")), budget.devices_full()), (Ok(2), Some(2)));
    drop(shard);
    let budget = Arc::new(Budget::default());
    budget.bound_devices(1);
    let (mut shard, _) = Shard::open(&Setup { budget, ..world.setup(folder.path()) }).unwrap();
    assert!(shard.device(&name("a")).is_ok(), "what a folder holds stays");
}

/// Positions of entries from one on.
fn positions(site: &Site, from: Position, is_meant: impl Fn(&Entry) -> bool) -> Vec<Position> {
    let (mut reader, mut record, mut found) = (site.shard.journal().read(from), Vec::new(), Vec::new());
    while let ReadEvent::Record(position) = reader.next(&mut record).unwrap() {
        if is_meant(&Entry::decode(&record).unwrap()) {
            found.push(position);
        }
    }
    found
}

/// Damages the entry of the journal at a position.
fn harm(site: &Site, position: Position) {
    const HEADERS: u64 = 128 + 8;
    let start = |path: &Path| path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok()).unwrap();
    let files = data_files(&site.disk).into_iter().map(|(path, _)| path);
    let files = files.filter(|path| path.starts_with(folder().join("journal")));
    let file = files.filter(|path| start(path) <= position.get()).max().unwrap();
    assert!(site.disk.flip(&file, HEADERS + position.get() - start(&file)));
}

/// The entries that forget, those with which devices come back, and the definitions log are lost: each alone, and
/// together.
#[test]
fn what_damage_takes_of_a_return_gives_readings_to_nobody_else() {
    for lost in 0..8 {
        let [forgets, returns, definitions] = [1, 2, 4].map(|bit| lost & bit != 0);
        let mut site = Site::new(6);
        let mut random = Random(6);
        (0..DEVICES).for_each(|device| site.send(device, &mut random));
        site.be_away();
        assert_eq!(site.known(), 0);
        let away = site.shard.end();
        // They come back in another order, so places that were used again would change owners.
        (0..DEVICES).rev().for_each(|device| site.send(device, &mut random));
        site.commit();
        let mut victims = Vec::new();
        if forgets {
            victims = positions(&site, Position::ZERO, |entry| match entry {
                Entry::Forget(forget) => !forget.devices.is_empty(),
                _ => false,
            });
            assert!(!victims.is_empty());
        }
        if returns {
            victims
                .extend(positions(&site, away, |entry| matches!(entry, Entry::Device(_) | Entry::Series(_))));
        }
        // Damage to the very last commit would pass for one that was never finished.
        site.shard.device(&Name::new("later").unwrap()).unwrap();
        site.commit();
        site.settle();
        victims.into_iter().for_each(|position| harm(&site, position));
        if definitions {
            let names = data_files(&site.disk).into_iter().map(|(path, _)| path);
            names
                .filter(|path| path.starts_with(folder().join("names")))
                .for_each(|path| site.disk.remove(&path).unwrap());
        }
        let (shard, committers, recovered) = Site::open(&site.world, &site.disk).unwrap();
        (site.shard, site.committers) = (shard, committers);
        assert_eq!(recovered.is_clean(), !(forgets || returns), "{lost}: {:?}", recovered.lines());
        (0..DEVICES).for_each(|device| site.send(device, &mut random));
        site.finish();
        for device in 0..DEVICES {
            let kept = site.centre.messages(&device_name(device), "a return");
            let gone = returns && definitions;
            let expected: &[u64] = if gone { &[1, 3] } else { &[1, 2, 3] };
            assert_eq!(kept, BTreeSet::from_iter(expected.iter().copied()), "{lost}: device {device}");
            assert!(!gone || recovered.unfit == DEVICES as u64, "{:?}", recovered.lines());
        }
    }
}

/// Devices that come and go leave nothing behind in the definitions log, and it helps as before.
#[test]
fn second_copies_are_written_anew_when_most_are_of_what_is_forgotten() {
    let mut site = Site::new(8);
    let name = |number: usize| Name::new(&format!("visitor-{number}")).unwrap();
    let bytes = |site: &Site| -> u64 {
        let names =
            data_files(&site.disk).into_iter().filter(|(path, _)| path.starts_with(folder().join("names")));
        names.map(|(_, length)| length).sum()
    };
    let mut random = Random(8);
    for round in 0..8 {
        for number in 0..300 {
            let device = site.shard.device(&name(300 * round + number)).unwrap();
            let metric = MetricName::new("a_metric_with_a_name_of_some_length").unwrap();
            site.shard.series(device, &metric, &Labels::none()).unwrap().unwrap();
            site.commit();
        }
        site.be_away();
        site.checkpoint();
    }
    assert_eq!(site.known(), 0);
    (0..DEVICES).for_each(|device| site.send(device, &mut random));
    site.settle();
    site.checkpoint();
    site.checkpoint();
    let before = bytes(&site);
    for start in 0..2 {
        site.disk.crash();
        let (shard, committers, recovered) = Site::open(&site.world, &site.disk).unwrap();
        (site.shard, site.committers) = (shard, committers);
        assert!(recovered.is_clean(), "{start}: {:?}", recovered.lines());
        assert!(bytes(&site) < before / 4, "{start}: {before} became {}", bytes(&site));
    }
    // Without a checkpoint they alone know the names.
    site.send(0, &mut random);
    site.settle();
    let checkpoints = data_files(&site.disk).into_iter().map(|(path, _)| path);
    let checkpoints: Vec<_> =
        checkpoints.filter(|path| path.starts_with(folder().join("checkpoint"))).collect();
    assert!(!checkpoints.is_empty());
    checkpoints.iter().for_each(|path| site.disk.remove(path).unwrap());
    let (shard, committers, _) = Site::open(&site.world, &site.disk).unwrap();
    (site.shard, site.committers) = (shard, committers);
    let state = site.shard.state();
    let known: Vec<_> = state.devices().filter_map(|device| state.device_name(device)).collect();
    assert_eq!(known.len(), DEVICES, "{known:?}");
}
