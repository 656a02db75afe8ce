//! Damage in durable bytes is found and reported, and everything else is kept.

use std::path::{Path, PathBuf};

use super::{DIR, Random, Records, open, read_all};
use crate::format::segment_name;
use crate::sim::SimDisk;
use crate::{Damage, DamageReason, Disk, DiskFile, Position, ReadOnlyLog, quarantine, verify};

/// A closed log of several segments, and its records.
fn filled(seed: u64) -> (SimDisk, Records) {
    let disk = SimDisk::new(seed);
    let mut random = Random(seed);
    let (mut log, _) = open(&disk);
    let mut records = Records::new();
    for _ in 0..400 {
        let record = random.record();
        let at = log.append(&record).or_else(|_| {
            log.commit().unwrap();
            log.append(&record)
        });
        records.push((at.unwrap(), record));
        if random.below(4) == 0 {
            log.commit().unwrap();
        }
    }
    log.close().unwrap();
    (disk, records)
}

fn covered(damage: &[Damage], at: Position) -> bool {
    damage.iter().any(|damage| damage.from <= at && at < damage.to)
}

/// Opens and reads the log; returns the records, and the damage found by the opening and the reader together.
fn look(disk: &SimDisk) -> (Records, Vec<Damage>) {
    let (log, recovery) = open(disk);
    let (records, mut damage) = read_all(&log, Position::ZERO);
    damage.extend(recovery.damage);
    (records, damage)
}

/// Reads without changing anything.
fn peek(disk: &SimDisk) -> Records {
    let log = ReadOnlyLog::open(std::sync::Arc::new(disk.clone()), Path::new(DIR))
        .unwrap()
        .expect("there is a log");
    let (mut reader, mut records, mut buf) = (log.read(Position::ZERO), Records::new(), Vec::new());
    loop {
        match reader.next(&mut buf).unwrap() {
            crate::ReadEvent::Record(at) => records.push((at, buf.clone())),
            crate::ReadEvent::Damage(_) => {}
            crate::ReadEvent::End => return records,
        }
    }
}

fn segment_files(disk: &SimDisk) -> Vec<(PathBuf, u64)> {
    disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "log")).collect()
}

#[test]
fn a_flipped_byte_costs_at_most_its_record_and_repair_leaves_a_clean_log() {
    for seed in 0..1500 {
        let (disk, records) = filled(seed % 16);
        let mut random = Random(seed ^ 0x5eed);
        let files = segment_files(&disk);
        assert!(files.len() > 2);
        let (path, length) = &files[random.below(files.len() as u64) as usize];
        let offset = random.below(*length);
        assert!(disk.flip(path, offset));
        let start = crate::format::segment_start(path.file_name().unwrap().to_str().unwrap()).unwrap();
        let hit = Position::new((start.get() + offset).saturating_sub(128));
        let report = verify(&disk, Path::new(DIR)).unwrap();
        let peeked = peek(&disk);
        let (found, damage) = look(&disk);
        assert_eq!(peeked, found, "seed {seed}: a read-only log finds the same records");
        let lost: Vec<_> = records.iter().filter(|record| !found.contains(record)).collect();
        let context = format!("seed {seed}, {} byte {offset}: {damage:?}", path.display());
        assert!(lost.len() <= 1, "{} lost: {context}", lost.len());
        assert_eq!(found.len() + lost.len(), records.len(), "{context}");
        for (at, payload) in lost {
            let end = Position::new(at.get() + 8 + payload.len() as u64);
            assert!(*at <= hit && hit < end, "lost at {at}: {context}");
            assert!(covered(&damage, *at), "{context}");
            assert!(damage.iter().all(|damage| damage.records_lost == Some(1)), "{context}");
            assert!(!report.is_clean());
        }
        assert_eq!(report.records(), found.len() as u64, "{context}");
        let positions: Vec<_> = found.iter().map(|(at, _)| *at).collect();
        assert!(positions.is_sorted());
        check_repair(&disk, &found, !damage.is_empty(), &context);
    }
}

fn check_repair(disk: &SimDisk, found: &Records, damaged: bool, context: &str) {
    let dir = Path::new(DIR);
    let done = quarantine(disk, dir, None).unwrap();
    assert!(damaged || done.files.is_empty(), "{context}");
    let report = verify(disk, dir).unwrap();
    assert!(report.is_clean(), "{report:?}: {context}");
    let (mut log, recovery) = open(disk);
    assert!(recovery.is_clean());
    let (again, damage) = read_all(&log, Position::ZERO);
    assert!(damage.is_empty(), "{damage:?}: {context}");
    assert_eq!(again, *found, "{context}");
    let at = log.append(b"more").unwrap();
    assert!(found.last().is_none_or(|(last, _)| *last < at));
    log.commit().unwrap();
    assert_eq!(read_all(&log, Position::ZERO).0.len(), found.len() + 1);
}

#[test]
fn lost_sectors_leave_the_rest() {
    for seed in 0..300 {
        let (disk, records) = filled(seed % 16);
        let mut random = Random(seed ^ 0x77);
        let files = segment_files(&disk);
        // Not the last segment: bytes after its last durable block belong to no record.
        let (path, length) = &files[random.below(files.len() as u64 - 1) as usize];
        let from = random.below(length / 512) * 512;
        let file = disk.open(path).unwrap();
        let size = (512 * (1 + random.below(8))).min(length - from);
        file.write_all_at(&vec![0; size as usize], from).unwrap();
        file.sync_data().unwrap();
        let (found, damage) = look(&disk);
        for record in &records {
            let kept = found.contains(record);
            assert!(kept != covered(&damage, record.0), "seed {seed}: {} {damage:?}", record.0);
        }
        assert!(found.iter().all(|record| records.contains(record)), "seed {seed}");
        check_repair(&disk, &found, true, &format!("seed {seed}"));
    }
}

#[test]
fn a_missing_or_short_file_in_the_middle_is_damage() {
    for seed in 0..40 {
        let (disk, records) = filled(seed % 16);
        let files = segment_files(&disk);
        let (path, length) = &files[1];
        if seed % 2 == 0 {
            disk.remove(path).unwrap();
        } else {
            disk.open(path).unwrap().set_len(length / 3 + seed).unwrap();
        }
        let (found, damage) = look(&disk);
        assert!(!damage.is_empty());
        for record in &records {
            assert!(found.contains(record) != covered(&damage, record.0), "seed {seed}: {damage:?}");
        }
        check_repair(&disk, &found, true, &format!("seed {seed}"));
    }
}

#[test]
fn a_torn_tail_is_cut_after_the_last_good_record_and_reported() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    for n in 0..5u8 {
        log.append(&[n; 100]).unwrap();
    }
    log.commit().unwrap();
    let end = log.end();
    drop(log);
    let path = Path::new(DIR).join(segment_name(Position::ZERO));
    // In the fourth record: header 128, block 16, three records of 108.
    assert!(disk.flip(&path, 128 + 16 + 3 * 108 + 50));
    let (mut log, recovery) = open(&disk);
    assert!(recovery.torn_tail_bytes >= 100, "{recovery:?}");
    assert!(recovery.is_clean());
    // The fifth is intact, but keeping it would hide the gap.
    assert_eq!(read_all(&log, Position::ZERO).0.len(), 3);
    assert!(log.end() < end);
    log.append(b"new").unwrap();
    log.commit().unwrap();
    let (found, damage) = look(&disk);
    assert_eq!(found.last().unwrap().1, b"new");
    assert_eq!((found.len(), damage.len()), (4, 0));
}

#[test]
fn payloads_that_imitate_blocks_are_not_mistaken_for_blocks() {
    let disk = SimDisk::new(3);
    let (mut log, _) = open(&disk);
    log.append(b"first").unwrap();
    log.commit().unwrap();
    // A sender can know the format and the position, but not the salt.
    let at = log.end();
    let mut forged = Vec::new();
    for guess in 0..64u64 {
        let position = Position::new(at.get() + 32 + forged.len() as u64);
        let header = crate::format::BlockHeader { hole: false, length: 0, records: 0 };
        forged.extend_from_slice(&crate::format::encode_block_header(guess, position, header));
    }
    log.append(&[&[0; 8], forged.as_slice()].concat()).unwrap();
    log.commit().unwrap();
    drop(log);
    let path = Path::new(DIR).join(segment_name(Position::ZERO));
    // The block's header is lost, as in a torn write: the forged ones must not prove it durable.
    assert!(disk.flip(&path, 128 + at.get()));
    let (log, recovery) = open(&disk);
    assert!(recovery.torn_tail_bytes > 0 && recovery.is_clean(), "{recovery:?}");
    assert_eq!(read_all(&log, Position::ZERO).0.len(), 1);
}

#[test]
fn records_and_blocks_at_another_position_are_not_accepted() {
    let (salt, at, other) = (7, Position::new(4096), Position::new(8192));
    let header = crate::format::BlockHeader { hole: false, length: 40, records: 2 };
    let block = crate::format::encode_block_header(salt, at, header);
    assert_eq!(crate::format::decode_block_header(salt, at, &block), Some(header));
    assert_eq!(crate::format::decode_block_header(salt, other, &block), None);
    assert_eq!(crate::format::decode_block_header(salt + 1, at, &block), None);
    let record = |at| crate::format::encode_record_header(salt, at, b"payload");
    assert_ne!(record(at), record(other));
}

#[test]
fn a_single_segment_without_header_is_not_opened_as_empty() {
    let disk = SimDisk::new(5);
    let (mut log, _) = open(&disk);
    log.append(b"x").unwrap();
    log.commit().unwrap();
    let end = log.close().unwrap();
    let path = Path::new(DIR).join(segment_name(Position::ZERO));
    disk.flip(&path, 20);
    disk.flip(&path, 64 + 20);
    let opened = crate::Log::open(std::sync::Arc::new(disk.clone()), Path::new(DIR), super::small());
    assert!(matches!(opened, Err(crate::OpenError::Unreadable { .. })));
    let done = quarantine(&disk, Path::new(DIR), Some(77)).unwrap();
    assert_eq!(done.files.len(), 1);
    let (log, _) = open(&disk);
    assert!(log.end() >= end, "positions are not used again");
    let list = crate::open::list_segments(&disk, Path::new(DIR)).unwrap();
    let salt = crate::open::find_salt(&disk, Path::new(DIR), &list).unwrap();
    assert_eq!(salt, Some(77), "the folder knows it by that");
}

#[test]
fn damage_before_the_readers_start_is_not_reported_again() {
    let (disk, records) = filled(2);
    let path = Path::new(DIR).join(segment_name(Position::ZERO));
    let (at, _) = records[3];
    disk.flip(&path, 128 + at.get() + 4);
    let (log, _) = open(&disk);
    let (found, damage) = read_all(&log, at);
    assert_eq!((damage.len(), damage[0].reason), (1, DamageReason::Record));
    assert_eq!(found, records[4..]);
    for from in [5, 50, 200, 399] {
        let (found, damage) = read_all(&log, records[from].0);
        assert_eq!(found, records[from..], "from {from}");
        assert!(damage.is_empty());
    }
}
