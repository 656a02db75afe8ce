//! Space, bounds, release, and a reader during appends.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{DIR, open, read_all, small};
use crate::sim::SimDisk;
use crate::{AppendError, FullReason, Log, LogConfig, Position, ReadEvent, SyncError};

/// Appends until a record is refused, committing when needed.
fn fill(log: &mut Log<SimDisk>) -> (u64, FullReason) {
    let mut accepted = 0;
    loop {
        match log.append(&[9; 1000]) {
            Ok(_) => accepted += 1,
            Err(AppendError::BufferFull) => drop(log.commit().unwrap()),
            Err(AppendError::Full(_)) if log.durable() < log.end() => drop(log.commit().unwrap()),
            Err(AppendError::Full(why)) => return (accepted, why),
            Err(error) => panic!("{error}"),
        }
    }
}

fn append_with_patience(log: &mut Log<SimDisk>) {
    let patience = Instant::now() + Duration::from_secs(20);
    while let Err(error) = log.append(b"again") {
        assert!(matches!(error, AppendError::Full(_)), "{error}");
        assert!(Instant::now() < patience, "space that came back is not used");
        std::thread::sleep(Duration::from_millis(5));
    }
    log.commit().unwrap();
}

#[test]
fn a_full_disk_refuses_and_recovers_by_itself() {
    let disk = SimDisk::new(1);
    disk.set_quota(Some(100 << 10));
    let (mut log, _) = open(&disk);
    let (accepted, why) = fill(&mut log);
    assert!(accepted > 60, "{accepted}");
    assert!(matches!(why, FullReason::DiskFree { .. } | FullReason::Disk(_)), "{why}");
    assert_eq!(read_all(&log, Position::ZERO).0.len() as u64, accepted);
    // Another program frees space.
    disk.set_quota(Some(200 << 10));
    append_with_patience(&mut log);
    fill(&mut log);
    // A release frees space.
    log.release(log.durable()).unwrap();
    append_with_patience(&mut log);
    assert_eq!(read_all(&log, Position::ZERO).0.last().unwrap().1, b"again");
}

#[test]
fn a_log_that_fills_a_tiny_disk_within_one_segment_can_be_released() {
    let disk = SimDisk::new(2);
    disk.set_quota(Some(256 << 10));
    let config = LogConfig { segment_bytes: 16 << 20, bytes_max: 1 << 30, ..small() };
    let (mut log, _) = Log::open(Arc::new(disk), Path::new(DIR), config).unwrap();
    for _ in 0..3 {
        let (accepted, _) = fill(&mut log);
        assert!(accepted > 150, "{accepted}");
        log.release(log.durable()).unwrap();
    }
}

#[test]
fn the_bound_of_the_log_holds() {
    let disk = SimDisk::new(3);
    let config = LogConfig { bytes_max: 100 << 10, ..small() };
    let (mut log, _) = Log::open(Arc::new(disk.clone()), Path::new(DIR), config).unwrap();
    for _ in 0..5 {
        let (accepted, why) = fill(&mut log);
        assert_eq!(why, FullReason::LogBound { bytes_max: 100 << 10 });
        assert!(accepted > 30, "{accepted}");
        let on_disk: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
        assert!(on_disk <= 100 << 10 && on_disk == log.bytes(), "{on_disk} and {}", log.bytes());
        log.release(log.durable()).unwrap();
    }
}

#[test]
fn accepted_records_fit_even_if_the_disk_fills_up_meanwhile() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk);
        let mut accepted = 0;
        while accepted < 3 && log.append(&[1; 900]).is_ok() {
            accepted += 1;
        }
        disk.set_quota(Some(1));
        log.commit().unwrap();
        assert_eq!(read_all(&log, Position::ZERO).0.len(), accepted);
    }
}

#[test]
fn a_write_without_space_is_repeated_and_nothing_is_lost() {
    let disk = SimDisk::new(9);
    let (mut log, _) = open(&disk);
    log.append(b"one").unwrap();
    disk.set_copy_on_write(true);
    disk.set_quota(Some(1));
    assert!(matches!(log.commit(), Err(SyncError::Full(_))));
    log.append(b"two").unwrap();
    assert!(matches!(log.commit(), Err(SyncError::Full(_))));
    assert_eq!(log.durable(), Position::ZERO);
    disk.set_quota(None);
    log.commit().unwrap();
    let found: Vec<_> = read_all(&log, Position::ZERO).0.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(found, [b"one", b"two"]);
}

#[test]
fn records_beyond_the_bounds_are_refused_before_anything_changes() {
    let (mut log, _) = open(&SimDisk::new(4));
    let end = log.end();
    assert_eq!(log.append(&[0; 3001]), Err(AppendError::TooLarge { bytes: 3001, max: 3000 }));
    assert_eq!(log.end(), end);
    log.append(&[0; 3000]).unwrap();
    log.append(&[0; 3000]).unwrap();
    let end = log.end();
    assert_eq!(log.append(&[0; 3000]), Err(AppendError::BufferFull));
    assert_eq!(log.end(), end);
    log.commit().unwrap();
    log.append(&[0; 3000]).unwrap();
}

#[test]
fn a_failed_sync_poisons_permanently() {
    let disk = SimDisk::new(5);
    let (mut log, _) = open(&disk);
    log.append(b"one").unwrap();
    let durable = log.commit().unwrap();
    log.append(b"two").unwrap();
    disk.fail_sync_after(0);
    assert!(matches!(log.commit(), Err(SyncError::Poisoned(_))));
    let syncs = disk.syncs();
    assert!(matches!(log.commit(), Err(SyncError::Poisoned(_))));
    assert!(matches!(log.release(durable), Err(SyncError::Poisoned(_))));
    assert!(matches!(log.append(b"three"), Err(AppendError::Poisoned(_))));
    assert_eq!((disk.syncs(), log.durable()), (syncs, durable));
    assert_eq!(read_all(&log, Position::ZERO).0.len(), 1);
}

#[test]
fn a_reader_follows_appends_and_reports_a_release_under_it() {
    let (mut log, _) = open(&SimDisk::new(6));
    let mut buf = Vec::new();
    let mut reader = log.read(Position::ZERO);
    assert_eq!(reader.next(&mut buf).unwrap(), ReadEvent::End);
    let mut expected = Vec::new();
    for n in 0..200u32 {
        let payload = n.to_le_bytes().repeat(100);
        let at = log.append(&payload).unwrap();
        assert_eq!(reader.next(&mut buf).unwrap(), ReadEvent::End, "not durable yet");
        log.commit().unwrap();
        reader.extend();
        assert_eq!(reader.next(&mut buf).unwrap(), ReadEvent::Record(at));
        assert_eq!(buf, payload);
        expected.push(at);
    }
    let mut old = log.read(Position::ZERO);
    assert_eq!(old.next(&mut buf).unwrap(), ReadEvent::Record(expected[0]));
    log.release(expected[150]).unwrap();
    assert!(log.start() > Position::ZERO && log.start() <= expected[150]);
    let mut reported = 0;
    let mut last = expected[0];
    loop {
        match old.next(&mut buf) {
            Ok(ReadEvent::End) => break,
            Ok(ReadEvent::Record(at)) => {
                assert!(at > last);
                last = at;
            }
            Err(crate::ReadError::Released { .. }) => reported += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((reported, last), (1, expected[199]));
}

#[test]
fn positions_that_the_log_lost_are_not_used_again() {
    let (mut log, _) = open(&SimDisk::new(7));
    log.append(b"before").unwrap();
    log.advance_to(Position::new(100_001)).unwrap();
    let at = log.append(b"after").unwrap();
    log.commit().unwrap();
    assert!(at > Position::new(100_001));
    let (found, damage) = read_all(&log, Position::ZERO);
    assert_eq!(found.len(), 2);
    assert_eq!((damage.len(), damage[0].reason), (1, crate::DamageReason::Missing));
    assert!(read_all(&log, Position::new(100_001)).1.len() <= 1);
}

#[test]
fn a_clean_close_distinguishes_damage_in_the_last_commit_from_a_torn_tail() {
    let disk = SimDisk::new(8);
    let (mut log, _) = open(&disk);
    let at = log.append(&[5; 100]).unwrap();
    log.append(&[6; 100]).unwrap();
    log.close().unwrap();
    disk.flip(&Path::new(DIR).join("00000000000000000000.log"), 128 + at.get() + 20);
    let (log, recovery) = open(&disk);
    assert_eq!((recovery.torn_tail_bytes, recovery.damage.len()), (0, 1));
    assert_eq!(read_all(&log, Position::ZERO).0.len(), 1);
}
