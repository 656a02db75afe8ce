//! Tests of the log over the simulated disk and the real one.

mod atomic_file;
mod crash;
mod damage;
mod folder_format;
mod group;
mod log;
mod manual;
mod owner;
mod presence;

use std::path::Path;
use std::sync::Arc;

use crate::sim::SimDisk;
use crate::{Damage, Disk, Log, LogConfig, Position, ReadEvent, Recovery};

/// Small bounds, so that a short test fills many segments.
fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 16 << 10,
        bytes_max: 1 << 20,
        record_bytes_max: 3000,
        buffer_bytes_max: 8 << 10,
        reserve_bytes: 4 << 10,
        disk_free_min: 8 << 10,
        salt: None,
    }
}

const DIR: &str = "/data/log";

type Records = Vec<(Position, Vec<u8>)>;

fn open(disk: &SimDisk) -> (Log<SimDisk>, Recovery) {
    Log::open(Arc::new(disk.clone()), Path::new(DIR), small()).unwrap()
}

fn read_all<D: Disk>(log: &Log<D>, from: Position) -> (Records, Vec<Damage>) {
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    let mut reader = log.read(from);
    let mut buf = Vec::new();
    loop {
        match reader.next(&mut buf).unwrap() {
            ReadEvent::Record(at) => records.push((at, buf.clone())),
            ReadEvent::Damage(damage) => damages.push(damage),
            ReadEvent::End => return (records, damages),
        }
    }
}

/// SplitMix64, for choices that are repeatable by seed.
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

    fn record(&mut self) -> Vec<u8> {
        let length = match self.below(10) {
            0 => self.below(3000),
            1 => 0,
            _ => self.below(200),
        };
        // Many zeros, so that payload bytes are easily mistaken for lengths and padding.
        (0..length).map(|_| if self.below(3) == 0 { self.next() as u8 } else { 0 }).collect()
    }
}
