//! Random schedules against a naive model: committed records survive every crash, and any further surviving records are
//! a prefix of what was appended.

use std::path::Path;
use std::sync::Arc;

use super::{DIR, Random, Records, open, read_all, small};
use crate::format::segment_name;
use crate::scan::offset;
use crate::sim::SimDisk;
use crate::{AppendError, Disk, DiskFile, Log, Position, SyncError};

struct World {
    disk: SimDisk,
    log: Log<SimDisk>,
    random: Random,
    appended: Records,
    /// How many of them were committed.
    durable: usize,
    released: Position,
}

macro_rules! ensure {
    ($holds:expr, $($why:tt)*) => { if !$holds { return Err(format!($($why)*)); } };
}

impl World {
    fn new(seed: u64, ignore_syncs: bool) -> Self {
        let disk = SimDisk::new(seed);
        let (log, _) = open(&disk);
        disk.ignore_syncs(ignore_syncs);
        let random = Random(seed ^ 0xabcd);
        Self { disk, log, random, appended: Vec::new(), durable: 0, released: Position::ZERO }
    }

    fn append(&mut self) -> Result<(), String> {
        let record = self.random.record();
        let end = self.log.end();
        match self.log.append(&record) {
            Ok(at) => {
                ensure!(at >= end && self.log.end() > at, "position {at} for a log that ended at {end}");
                self.appended.push((at, record));
                Ok(())
            }
            Err(AppendError::BufferFull) => self.commit(),
            Err(AppendError::Full(_)) => Ok(()),
            Err(AppendError::Poisoned(_)) => self.reopen(),
            Err(error) => Err(error.to_string()),
        }
    }

    fn commit(&mut self) -> Result<(), String> {
        match self.log.commit() {
            Ok(durable) => {
                ensure!(self.appended.iter().all(|(at, _)| *at < durable), "commit left something out");
                self.durable = self.appended.len();
                Ok(())
            }
            Err(SyncError::Full(_)) => Ok(()),
            Err(SyncError::Poisoned(_)) => {
                ensure!(
                    matches!(self.log.commit(), Err(SyncError::Poisoned(_))),
                    "a failed commit was repeated"
                );
                ensure!(self.log.append(b"x").is_err(), "a poisoned log accepted a record");
                self.reopen()
            }
        }
    }

    fn release(&mut self) -> Result<(), String> {
        if self.durable == 0 {
            return Ok(());
        }
        let index = self.random.below(self.durable as u64) as usize;
        self.released = self.released.max(self.appended[index].0);
        match self.log.release(self.released) {
            Ok(()) => Ok(()),
            Err(_) => self.reopen(),
        }
    }

    /// Reopens after a crash, or as a new process after this one was killed.
    fn reopen(&mut self) -> Result<(), String> {
        if self.random.below(2) == 0 {
            self.disk.crash();
        }
        let (log, recovery) = match Log::open(Arc::new(self.disk.clone()), Path::new(DIR), small()) {
            Ok(opened) => opened,
            // An injected fault hit the opening.
            Err(_) => {
                self.disk.crash();
                Log::open(Arc::new(self.disk.clone()), Path::new(DIR), small())
                    .map_err(|error| error.to_string())?
            }
        };
        self.log = log;
        ensure!(recovery.is_clean(), "no damage was done, but reported: {:?}", recovery.damage);
        ensure!(self.log.start() <= self.released, "starts at {}", self.log.start());
        let (found, damage) = read_all(&self.log, Position::ZERO);
        ensure!(damage.is_empty(), "no damage was done, but read: {damage:?}");
        let first = self.appended.partition_point(|(at, _)| *at < self.log.start());
        let expected = &self.appended[first..];
        ensure!(found.len() <= expected.len(), "{} records of {}", found.len(), expected.len());
        ensure!(found == expected[..found.len()], "records differ");
        ensure!(first + found.len() >= self.durable, "{} of {} committed", first + found.len(), self.durable);
        self.appended.truncate(first + found.len());
        self.durable = self.appended.len();
        self.check_erased()
    }

    /// Checks that no bytes are left after the end that could later be mistaken for a block.
    fn check_erased(&self) -> Result<(), String> {
        let segments = crate::open::list_segments(&self.disk, Path::new(DIR)).map_err(|e| e.to_string())?;
        let last = segments.last().ok_or("no segment")?;
        let path = Path::new(DIR).join(segment_name(last.start));
        let file = self.disk.open(&path).map_err(|e| e.to_string())?;
        let mut rest = vec![0; 1 << 16];
        let n = file.read_at(&mut rest, offset(last.start, self.log.end())).map_err(|e| e.to_string())?;
        ensure!(rest[..n].iter().all(|byte| *byte == 0), "old bytes after the end");
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..70 => self.append(),
            70..85 => self.commit(),
            85..88 => self.release(),
            88..93 => self.reopen(),
            93..95 => {
                let log = std::mem::replace(&mut self.log, open(&SimDisk::new(0)).0);
                if log.close().is_ok() {
                    self.durable = self.appended.len();
                }
                self.reopen()
            }
            95..97 => {
                self.disk.fail_sync_after(self.random.below(4) as u32);
                Ok(())
            }
            97..98 => {
                self.disk.fail_write_after(self.random.below(4) as u32);
                Ok(())
            }
            _ => {
                let quota = (self.random.below(2) == 0).then(|| self.random.below(256 << 10));
                self.disk.set_quota(quota);
                Ok(())
            }
        }
    }
}

fn run(seed: u64, ignore_syncs: bool) -> Result<(), String> {
    let mut world = World::new(seed, ignore_syncs);
    for step in 0..300 {
        world.step().map_err(|why| format!("seed {seed}, step {step}: {why}"))?;
    }
    world.disk.set_quota(None);
    world.reopen().map_err(|why| format!("seed {seed}, at the end: {why}"))
}

/// Set `CATCHMENT_SIM_SEEDS=20000` to run more seeds.
#[test]
fn committed_records_survive_every_crash() {
    let seeds = std::env::var("CATCHMENT_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    for seed in 0..seeds {
        run(seed, false).unwrap();
    }
}

#[test]
fn a_forgotten_sync_is_noticed() {
    let noticed = (0..20).filter(|seed| run(*seed, true).is_err()).count();
    assert!(noticed > 10, "only {noticed} of 20 schedules notice that nothing is synced");
}

#[test]
fn bytes_of_a_failed_sync_are_written_again_at_the_next_opening() {
    for seed in 0..50 {
        let mut disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk);
        log.append(&[7; 2000]).unwrap();
        disk.fail_sync_after(0);
        assert!(matches!(log.commit(), Err(SyncError::Poisoned(_))));
        drop(log);
        // The cache still has the bytes, so they are read, and from then on they must survive.
        let (log, _) = open(&disk);
        assert_eq!(read_all(&log, Position::ZERO).0.len(), 1);
        drop(log);
        disk.crash();
        let (log, _) = open(&disk);
        assert_eq!(read_all(&log, Position::ZERO).0.len(), 1, "seed {seed}");
    }
}
