//! Random histories of a store over a disk that lies: whatever crashes and when, acknowledged batches are there
//! exactly once.

use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};

use catchment_journal::{LogConfig, sim::SimDisk};
use catchment_proto::Batch;

use super::*;
use crate::store::{
    Gap, GatewayEpoch, IngestStore as _, MaintenanceStore as _, ReadAll as _,
    testing::{Model, assert_merged_alike, at, batch, config, content, entry, epoch},
};

const EPOCHS: usize = 2;
const SHARDS: usize = 2;
const IN_FLIGHT_MAX: usize = 5;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

type Put = Pin<Box<dyn Future<Output = Result<(), StoreError>>>>;

/// One shard of a gateway: everything it ever had to deliver, and the state of that.
#[derive(Default)]
struct Sender {
    /// Batch number n is at index n-1; `None`: the gateway lost it before it was delivered.
    made: Vec<Option<Batch>>,
    acked: u64,
    /// The next one to be sent on this stream.
    next: u64,
    first: bool,
    flying: Vec<(u64, Put)>,
}

struct Machine {
    store: Arc<EmbeddedStore<SimDisk>>,
    committer: Committer<SimDisk>,
}

struct World {
    random: Random,
    disk: SimDisk,
    tree: MemoryTree,
    machine: Option<Machine>,
    epochs: [GatewayEpoch; EPOCHS],
    senders: [[Sender; SHARDS]; EPOCHS],
    starts: u64,
    failed_starts: u64,
}

/// Small enough that memory, journal and segments fill up within a history.
fn small() -> StoreConfig {
    let journal = LogConfig {
        segment_bytes: 16 << 10,
        bytes_max: 96 << 10,
        record_bytes_max: 8 << 10,
        buffer_bytes_max: 16 << 10,
        reserve_bytes: 4 << 10,
        disk_free_min: 12 << 10,
        salt: None,
    };
    StoreConfig {
        memory_bytes_max: 24_000,
        flush_journal_bytes: 16 << 10,
        flush_free_min: 8 << 10,
        journal,
        ..config()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random(seed),
            disk: SimDisk::new(seed),
            tree: MemoryTree::new(),
            machine: None,
            epochs: [epoch("g", 1), epoch("h", 7)],
            senders: Default::default(),
            starts: 0,
            failed_starts: 0,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let (store, committer, report) = loop {
            let disk = Arc::new(self.disk.clone());
            let opened = EmbeddedStore::manual(disk, Path::new("/data"), small(), self.tree.clone());
            match opened {
                Ok(opened) => break opened,
                // An injected failure may occur during the opening.
                Err(error) => {
                    self.failed_starts += 1;
                    assert!(self.failed_starts < 100, "{error}");
                    // The journal holds more than memory may, and there is no space to flush it.
                    if matches!(&error, OpenError::Replay(text) if text.contains("bytes free")) {
                        self.disk.set_quota(None);
                    }
                    self.disk.crash();
                    self.tree.crash();
                }
            }
        };
        self.starts += 1;
        assert_eq!((report.damage, report.lost_batches), (0, 0), "{report:?}");
        for (epoch, senders) in self.epochs.iter().zip(&mut self.senders) {
            let delivered = store.delivered(epoch);
            for (sender, delivered) in senders.iter_mut().zip(delivered) {
                assert!(delivered >= sender.acked, "acknowledged {}, there {delivered}", sender.acked);
                assert!(delivered <= sender.made.len() as u64, "invented");
                (sender.acked, sender.next, sender.first) = (delivered, delivered + 1, true);
            }
        }
        self.machine = Some(Machine { store, committer });
        self.check();
    }

    /// Checks that the store holds exactly the batches that it reports.
    fn check(&self) {
        let Some(machine) = &self.machine else { return };
        let mut model = Model::default();
        let seen = content(&*machine.store);
        for (epoch, senders) in self.epochs.iter().zip(&self.senders) {
            for (sender, delivered) in senders.iter().zip(machine.store.delivered(epoch)) {
                let there = sender.made.iter().take(delivered as usize).flatten();
                there.for_each(|batch| model.put(epoch, batch));
            }
        }
        assert_eq!(seen, model.content());
        assert_merged_alike(&*machine.store);
    }

    fn stop(&mut self) {
        self.senders.iter_mut().flatten().for_each(|sender| sender.flying.clear());
        self.machine = None;
    }

    /// Power loss, then a start.
    fn crash(&mut self) {
        self.stop();
        self.disk.crash();
        self.tree.crash();
        self.start();
    }

    /// The process is killed, the machine continues.
    fn kill(&mut self) {
        self.stop();
        self.start();
    }

    fn send(&mut self) {
        let (which, shard) = (self.random.below(EPOCHS as u64) as usize, self.random.below(2) as usize);
        let sender = &mut self.senders[which][shard];
        let Some(machine) = &self.machine else { return };
        if sender.flying.len() >= IN_FLIGHT_MAX {
            return;
        }
        if sender.first {
            // Only the first batch of a stream may show that batches before it are missing.
            if sender.next as usize > sender.made.len() && self.random.below(3) == 0 {
                let lost = 1 + self.random.below(3) as usize;
                sender.made.resize(sender.made.len() + lost, None);
            }
            while sender.made.get(sender.next as usize - 1).is_some_and(Option::is_none) {
                sender.next += 1;
            }
        }
        let number = sender.next;
        if number as usize > sender.made.len() {
            let random = &mut self.random;
            let entries = (0..random.below(12)).map(|_| {
                let part = 1 + random.below(3);
                entry(random.below(3) as u32, random.below(400) as i64, part, part + random.below(4))
            });
            let mut made = batch(shard as u32, number, entries.collect());
            made.watermark = Some(at(number as i64));
            sender.made.push(Some(made));
        }
        let sent = sender.made[number as usize - 1].clone().unwrap();
        let (store, epoch) = (Arc::clone(&machine.store), self.epochs[which].clone());
        let first = std::mem::take(&mut sender.first);
        let put = Box::pin(async move { store.put(&epoch, sent, first).await });
        sender.flying.push((number, put));
        sender.next += 1;
    }

    /// Polls the puts of each sender in order, as a stream does. False: the store has failed.
    fn poll(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        for sender in self.senders.iter_mut().flatten() {
            let mut restart = None;
            let mut done = Vec::new();
            for (at, (number, put)) in sender.flying.iter_mut().enumerate() {
                match put.as_mut().poll(&mut context) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => done.push((at, *number)),
                    Poll::Ready(Err(StoreError::Full(_))) => {
                        restart = Some(*number);
                        break;
                    }
                    Poll::Ready(Err(StoreError::Failed(_))) => return false,
                    Poll::Ready(Err(error)) => panic!("{error}"),
                }
            }
            for (at, number) in done.into_iter().rev() {
                drop(sender.flying.remove(at));
                sender.acked = sender.acked.max(number);
            }
            if restart.is_some() {
                // The stream ends; the next one begins after the durable batches.
                sender.flying.clear();
                (sender.next, sender.first) = (sender.acked + 1, true);
            }
        }
        true
    }

    fn step(&mut self) -> bool {
        self.machine.as_mut().is_none_or(|machine| machine.committer.step().is_ok())
    }

    fn flush(&mut self) -> bool {
        self.machine.as_ref().is_none_or(|machine| machine.store.flush_now().is_ok())
    }

    /// A graceful shutdown and a start, after which nothing is replayed if there was space.
    fn restart(&mut self) {
        if !(self.poll() && self.step() && self.poll()) {
            return self.crash();
        }
        if let Some(machine) = &self.machine {
            let mut context = Context::from_waker(Waker::noop());
            let mut close = machine.store.close();
            for _ in 0..3 {
                if close.as_mut().poll(&mut context).is_ready() || machine.store.flush_now().is_err() {
                    break;
                }
            }
        }
        self.kill();
    }

    fn event(&mut self) {
        let healthy = match self.random.below(100) {
            0..40 => {
                self.send();
                true
            }
            40..65 => self.poll(),
            65..83 => self.step(),
            83..88 => {
                let due = self.machine.as_ref().is_some_and(|machine| machine.store.flush_is_due());
                !due || self.flush()
            }
            88..89 => self.flush(),
            89..90 => self.machine.as_ref().is_none_or(|machine| machine.store.compact_now().is_ok()),
            90..91 => return self.crash(),
            91..92 => return self.kill(),
            92..93 => return self.restart(),
            93..94 => return self.check(),
            94..95 => return self.disk.fail_sync_after(self.random.below(8) as u32),
            95..96 => return self.disk.fail_write_after(self.random.below(12) as u32),
            96..97 => return self.tree.fail_commit_after(self.random.below(3), self.random.below(2) == 0),
            97..98 => {
                let used: u64 = self.disk.files().iter().map(|(_, length)| length).sum();
                return self.disk.set_quota(Some(used + self.random.below(40 << 10)));
            }
            _ => {
                self.disk.set_quota(None);
                true
            }
        };
        if !healthy {
            match self.random.below(2) {
                0 => self.kill(),
                _ => self.crash(),
            }
        }
    }

    /// Checks that the gaps cover exactly the missing batches, by count and by time.
    fn check_gaps(&self) {
        let Some(machine) = &self.machine else { return };
        let gateways = machine.store.gateways();
        let mut missing = 0;
        for (epoch, senders) in self.epochs.iter().zip(&self.senders) {
            let gateway = gateways.iter().find(|known| known.epoch.gateway == epoch.gateway);
            let gaps = gateway.map(|known| known.gaps.as_slice()).unwrap_or_default();
            for sender in senders {
                for (number, made) in (1_i64..).zip(&sender.made).take(sender.acked as usize) {
                    let inside =
                        |gap: &&Gap| gap.from < Some(at(number)) && gap.to.is_none_or(|to| at(number) <= to);
                    if made.is_none() {
                        missing += 1;
                        assert!(gaps.iter().any(|gap| inside(&gap)), "batch {number} is in none of {gaps:?}");
                    }
                }
            }
            let told: u64 = gaps.iter().map(|gap| gap.batches).sum();
            let lost = |sender: &Sender| {
                sender.made.iter().take(sender.acked as usize).filter(|m| m.is_none()).count()
            };
            assert_eq!(told, senders.iter().map(lost).sum::<usize>() as u64, "{gaps:?}");
        }
        assert_eq!(machine.store.stats().lost_batches, missing);
    }

    /// Lets everything that was made arrive.
    fn finish(&mut self) {
        self.disk.set_quota(None);
        self.crash();
        for _ in 0..100_000 {
            let open: u64 = self.senders.iter().flatten().map(|s| s.made.len() as u64 - s.acked).sum();
            if open == 0 {
                self.crash();
                self.check_gaps();
                return self.check();
            }
            for which in 0..EPOCHS * SHARDS {
                let sender = &self.senders[which / SHARDS][which % SHARDS];
                if sender.next as usize <= sender.made.len() {
                    self.send();
                }
            }
            assert!(self.poll() && self.step() && self.poll());
            if self.machine.as_ref().is_some_and(|machine| machine.store.flush_is_due()) {
                assert!(self.flush());
            }
        }
        panic!("the history does not end");
    }
}

/// One history; panics if it loses or invents anything.
fn history(seed: u64, events: u32) -> (u64, u64) {
    run(World::new(seed), events)
}

fn run(mut world: World, events: u32) -> (u64, u64) {
    for _ in 0..events {
        world.event();
    }
    world.finish();
    let acked = world.senders.iter().flatten().map(|sender| sender.acked).sum();
    (acked, world.starts)
}

#[test]
fn random_histories_lose_and_invent_nothing() {
    let (acked, starts) = (AtomicU64::new(0), AtomicU64::new(0));
    for seed in 0..400 {
        let outcome = std::panic::catch_unwind(|| history(seed, 600));
        let Ok((more, times)) = outcome else { panic!("seed {seed}") };
        acked.fetch_add(more, Ordering::Relaxed);
        starts.fetch_add(times, Ordering::Relaxed);
    }
    let (acked, starts) = (acked.into_inner(), starts.into_inner());
    println!("{acked} batches acknowledged, {starts} starts");
    // Some of each in a history, or nothing was tried.
    assert!(acked > 400 * 10 && starts > 400 * 5, "{acked} batches acknowledged, {starts} starts");
}

#[test]
fn one_seed_is_one_history() {
    assert_eq!(history(11, 600), history(11, 600));
}

#[test]
fn a_forgotten_sync_would_be_noticed() {
    let noticed = (0..20).any(|seed| {
        let world = World::new(seed);
        world.disk.ignore_syncs(true);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(world, 600))).is_err()
    });
    assert!(noticed);
}
