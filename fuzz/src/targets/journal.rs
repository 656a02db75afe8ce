//! Recovery: the input is the content of a log's only segment, and of a checkpoint. Opening reports damage or refuses;
//! a log that opens takes a record, and after reopening that record and the earlier ones are there.

use std::{path::Path, sync::Arc};

use catchment_journal::{
    Disk, DiskFile, Log, LogConfig, Position, ReadEvent, read_atomic, sim::SimDisk, verify, write_atomic,
};

use super::{Target, magnitude, signature};

pub(super) const TARGET: Target = Target {
    name: "journal",
    run,
    seeds,
    tokens: &[
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00",
        b"\x10",
        b"\x00\x10",
    ],
    fixed_bytes: 2 << 20,
    bytes_per_input_byte: 100,
};

const DIR: &str = "log";
const RECORD: &[u8] = b"a record appended after the damage";

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 32 << 10,
        bytes_max: 256 << 10,
        record_bytes_max: 2 << 10,
        buffer_bytes_max: 16 << 10,
        reserve_bytes: 4 << 10,
        disk_free_min: 0,
        salt: None,
    }
}

/// A disk with a log of some records, and the path of its segment.
fn written() -> (Arc<SimDisk>, String) {
    let disk = Arc::new(SimDisk::new(7));
    let (mut log, _) = Log::open(disk.clone(), Path::new(DIR), config()).expect("an empty disk is fine");
    for (at, size) in [1_usize, 100, 0, 700, 30].into_iter().enumerate() {
        log.append(&vec![at as u8; size]).expect("there is room");
        if at % 2 == 1 {
            log.commit().expect("the disk is fine");
        }
    }
    log.close().expect("the disk is fine");
    let names = disk.list(Path::new(DIR)).expect("the disk is fine");
    let name = names.into_iter().next().expect("a log has a segment");
    (disk, name)
}

fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open_read(path).expect("the file exists");
    let mut bytes = vec![0; file.len().expect("the disk is fine") as usize];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], at as u64).expect("the disk is fine") {
            0 => break,
            read => at += read,
        }
    }
    // Reserved space is zeros, which mutations do not need.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    bytes
}

fn seeds() -> Vec<Vec<u8>> {
    let (disk, name) = written();
    let segment = content(&disk, &Path::new(DIR).join(name));
    let whole = Path::new("whole");
    write_atomic(&*disk, whole, b"a checkpoint").expect("the disk is fine");
    vec![segment, content(&disk, whole), Vec::new()]
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = disk.create_new(path).expect("a new file");
    file.write_all_at(bytes, 0).expect("the disk is fine");
    file.sync_all().expect("the disk is fine");
}

/// All records, and the number of damaged ranges.
fn records(log: &Log<SimDisk>) -> (Vec<(Position, Vec<u8>)>, usize) {
    let (mut records, mut damage, mut buffer) = (Vec::new(), 0, Vec::new());
    let mut reader = log.read(log.start());
    loop {
        match reader.next(&mut buffer).expect("the disk is fine") {
            ReadEvent::Record(at) => records.push((at, buffer.clone())),
            ReadEvent::Damage(_) => damage += 1,
            ReadEvent::End => return (records, damage),
        }
    }
}

fn run(input: &[u8]) -> u64 {
    let disk = Arc::new(SimDisk::new(3));
    put(&disk, Path::new("whole"), input);
    let whole = read_atomic(&*disk, Path::new("whole")).map_err(drop);
    let dir = Path::new(DIR);
    let (_, name) = written();
    put(&disk, &dir.join(name), input);
    let checked = verify(&*disk, dir).map(|report| report.is_clean()).map_err(drop);
    let opened = Log::open(disk.clone(), dir, config());
    let Ok((mut log, _)) = opened else { return signature((whole.is_ok(), checked, "refused")) };
    let (before, damage) = records(&log);
    assert!(before.iter().all(|(_, record)| record.len() <= input.len()), "a record longer than its file");
    // A position near the maximum leaves no room.
    let Ok(added) = log.append(RECORD) else { return signature((checked, "full")) };
    log.commit().expect("the disk is fine");
    drop(log);
    let (log, _) = Log::open(disk, dir, config()).expect("a log that opened once opens again");
    let (after, _) = records(&log);
    assert!(after.iter().any(|(at, record)| *at == added && record == RECORD), "a committed record is lost");
    assert!(before.iter().all(|record| after.contains(record)), "a record that was read is lost");
    signature((whole.is_ok(), checked, magnitude(before.len()), damage.min(4)))
}
