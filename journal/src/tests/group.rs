//! The shared log with many threads and one committer.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{DIR, Random, open, read_all, small};
use crate::sim::SimDisk;
use crate::{
    AppendError, Disk, FullReason, GroupLog, Log, LogConfig, Position, ReadEvent, RealDisk, SyncError,
};

pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn append<D: Disk>(log: &GroupLog<D>, record: &[u8]) -> Result<Position, AppendError> {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        match log.append(record) {
            Err(AppendError::BufferFull) if Instant::now() < patience => std::thread::yield_now(),
            other => return other,
        }
    }
}

/// Fills a dozen segments; returns the position of the last record.
fn append_many(log: &GroupLog<SimDisk>) -> Position {
    (0..400).fold(Position::ZERO, |_, _| append(log, &[5; 700]).unwrap())
}

#[test]
fn many_threads_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/log");
    let config = LogConfig { segment_bytes: 64 << 10, bytes_max: 16 << 20, ..small() };
    let (log, recovery) = GroupLog::open(Arc::new(RealDisk), &path, config.clone(), "test").unwrap();
    assert_eq!(recovery.end, Position::ZERO);
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let log = log.clone();
            std::thread::spawn(move || {
                let mut random = Random(thread);
                let write = |_| {
                    let record = random.record();
                    (append(&log, &record).unwrap(), record)
                };
                (0..2000).map(write).collect::<Vec<_>>()
            })
        })
        .collect();
    // Reads durable records while the others append.
    let mut reader = log.read(Position::ZERO);
    let (mut seen, mut buf) = (Vec::new(), Vec::new());
    let mut records: Vec<(Position, Vec<u8>)> = Vec::new();
    let mut threads = threads.into_iter();
    let mut closed = false;
    loop {
        match reader.next(&mut buf).unwrap() {
            ReadEvent::Record(at) => seen.push((at, buf.clone())),
            ReadEvent::Damage(damage) => panic!("{damage}"),
            ReadEvent::End if closed => break,
            ReadEvent::End => {
                match threads.next() {
                    Some(thread) => records.extend(thread.join().unwrap()),
                    None => {
                        log.close().unwrap();
                        closed = true;
                    }
                }
                reader.extend();
            }
        }
    }
    records.sort();
    assert_eq!(records.len(), 8000);
    assert_eq!(seen, records);
    assert_eq!(log.append(b"late"), Err(AppendError::Closed));
    let (log, recovery) = Log::open(Arc::new(RealDisk), &path, config).unwrap();
    assert!(recovery.is_clean() && recovery.torn_tail_bytes == 0, "{recovery:?}");
    assert_eq!(read_all(&log, Position::ZERO).0, records);
}

#[test]
fn records_published_as_durable_survive_a_crash() {
    for seed in 0..60 {
        let mut disk = SimDisk::new(seed);
        // More room than the threads can fill, so that only the crash ends the appends.
        let config = LogConfig { bytes_max: 64 << 20, ..small() };
        let shared = Arc::new(disk.clone());
        let (log, _) = GroupLog::open(shared, Path::new(DIR), config, "crash").unwrap();
        let commits = log.subscribe();
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let log = log.clone();
                std::thread::spawn(move || {
                    let mut random = Random(seed * 10 + thread);
                    let mut written = Vec::new();
                    for _ in 0..2000 {
                        let record = random.record();
                        match append(&log, &record) {
                            Ok(at) => written.push((at, record)),
                            Err(_) => break,
                        }
                    }
                    written
                })
            })
            .collect();
        let goal = Position::new(1000 + seed * 500);
        wait_until("nothing becomes durable", || commits.borrow().durable > goal);
        let durable = commits.borrow().durable;
        disk.crash();
        let mut written: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let refused = loop {
            match append(&log, b"after the crash") {
                Ok(at) => written.push((at, b"after the crash".to_vec())),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::Poisoned(_)), "seed {seed}: {refused}");
        wait_until("the crash is not reported", || commits.borrow().poisoned.is_some());
        assert!(matches!(log.close(), Err(SyncError::Poisoned(_))));
        written.sort();
        let (log, recovery) = open(&disk);
        assert!(recovery.is_clean());
        let (found, damage) = read_all(&log, Position::ZERO);
        assert!(damage.is_empty());
        assert_eq!(found, written[..found.len()], "seed {seed}");
        let acknowledged = written.iter().filter(|(at, _)| *at < durable).count();
        assert!(found.len() >= acknowledged, "seed {seed}: {} of {acknowledged}", found.len());
    }
}

#[test]
fn a_failed_sync_is_reported_and_nothing_more_is_acknowledged() {
    let disk = SimDisk::new(9);
    let log = GroupLog::start(open(&disk).0, "poison").unwrap();
    let commits = log.subscribe();
    let first = log.append(b"good").unwrap();
    wait_until("not durable", || commits.borrow().durable > first);
    let durable = commits.borrow().durable;
    disk.fail_sync_after(0);
    log.append(b"lost").unwrap();
    wait_until("not reported", || commits.borrow().poisoned.is_some());
    assert!(matches!(log.append(b"more"), Err(AppendError::Poisoned(_))));
    assert_eq!((log.durable(), commits.borrow().durable), (durable, durable));
}

#[test]
fn a_shortage_is_known_before_anything_is_refused() {
    let disk = SimDisk::new(10);
    disk.set_quota(Some(100 << 10));
    let log = GroupLog::start(open(&disk).0, "short").unwrap();
    assert_eq!(log.shortage(), None);
    // Less space than the log must leave free: it is full even without an append.
    disk.set_quota(Some(4 << 10));
    assert!(matches!(log.shortage(), Some(FullReason::DiskFree { .. })), "{:?}", log.shortage());
    disk.set_quota(None);
    assert_eq!(log.shortage(), None);
    let refused = std::iter::repeat_with(|| append(&log, &[3; 700])).find_map(Result::err);
    assert!(matches!(refused, Some(AppendError::Full(FullReason::LogBound { .. }))), "{refused:?}");
    assert!(matches!(log.shortage(), Some(FullReason::LogBound { .. })), "{:?}", log.shortage());
    log.close().unwrap();
}

#[test]
fn full_is_reported_and_passes() {
    let disk = SimDisk::new(10);
    disk.set_quota(Some(100 << 10));
    let log = GroupLog::start(open(&disk).0, "full").unwrap();
    let commits = log.subscribe();
    let mut accepted = Vec::new();
    let mut fill = |log: &GroupLog<SimDisk>| loop {
        match append(log, &[3; 700]) {
            Ok(at) => accepted.push(at),
            Err(AppendError::Full(_)) => return *accepted.last().unwrap(),
            Err(error) => panic!("{error}"),
        }
    };
    let last = fill(&log);
    // An append sees it a moment before the subscribers.
    wait_until("not reported", || commits.borrow().full);
    wait_until("accepted and not written", || log.durable() > last);
    disk.set_quota(Some(200 << 10));
    wait_until("space from outside is not used", || !commits.borrow().full);
    let last = fill(&log);
    wait_until("accepted and not written", || log.durable() > last);
    log.release(log.durable());
    wait_until("released space is not used", || !commits.borrow().full);
    assert!(log.start_position() > Position::ZERO);
    fill(&log);
    log.close().unwrap();
    let (log, _) = Log::open(Arc::new(disk), Path::new(DIR), small()).unwrap();
    let kept = accepted.iter().filter(|at| **at >= log.start()).count();
    assert_eq!(read_all(&log, Position::ZERO).0.len(), kept);
}

#[test]
fn spare_segments_stay_until_their_space_is_needed() {
    let disk = SimDisk::new(20);
    let log = GroupLog::start(open(&disk).0, "spare").unwrap();
    let mut accepted = Vec::new();
    let mut fill = |log: &GroupLog<SimDisk>, most: usize| {
        for _ in 0..most {
            match append(log, &[3; 700]) {
                Ok(at) => accepted.push(at),
                Err(AppendError::Full(_)) => return false,
                Err(error) => panic!("{error}"),
            }
        }
        wait_until("not durable", || accepted.last().is_none_or(|last| log.durable() > *last));
        true
    };
    assert!(fill(&log, 30));
    log.set_spare(log.durable());
    log.set_spare(Position::ZERO);
    let kept = log.spare_bytes();
    assert!(log.spare() == log.durable() && 0 < kept && kept < log.bytes(), "{kept} of {}", log.bytes());
    assert_eq!(log.start_position(), Position::ZERO, "nothing is removed while there is room");
    // Far beyond the log's bound, with everything before spare each time.
    for _ in 0..20 {
        assert!(fill(&log, 200), "spare segments do not give way");
        log.set_spare(log.durable());
    }
    assert!(log.start_position() > Position::ZERO && log.segments()[0].start == log.start_position());
    // A full disk.
    let used = disk.files().iter().map(|(_, length)| *length).sum::<u64>();
    disk.set_quota(Some(used + (4 << 10)));
    assert!(fill(&log, 30), "spare segments do not give way to a full disk");
    // What is not spare stays, and appends are refused.
    disk.set_quota(None);
    assert!(!fill(&log, 10_000));
    let start = log.start_position();
    assert!(log.spare() <= log.segments()[1].start, "{:?}", log.segments());
    log.close().unwrap();
    let (log, _) = Log::open(Arc::new(disk), Path::new(DIR), small()).unwrap();
    let kept = accepted.iter().filter(|at| **at >= start).count();
    assert_eq!((log.start(), read_all(&log, Position::ZERO).0.len()), (start, kept));
}

#[test]
fn no_commit_waits_for_the_removal_of_a_segment() {
    let disk = SimDisk::new(18);
    let log = GroupLog::start(open(&disk).0, "sweep").unwrap();
    let first = append_many(&log);
    wait_until("not durable", || log.durable() > first);
    disk.hold_removals(true);
    log.release(log.durable());
    let second = append_many(&log);
    wait_until("a commit waits for the removal", || log.durable() > second);
    assert_eq!(log.start_position(), Position::ZERO);
    disk.hold_removals(false);
    wait_until("nothing is removed", || log.start_position() > Position::ZERO);
    log.close().unwrap();
}

#[test]
fn a_segment_that_cannot_be_removed_ends_the_log() {
    let mut disk = SimDisk::new(19);
    let log = GroupLog::start(open(&disk).0, "unremovable").unwrap();
    let commits = log.subscribe();
    let last = append_many(&log);
    wait_until("not durable", || log.durable() > last);
    disk.crash();
    log.release(last);
    wait_until("not reported", || commits.borrow().poisoned.is_some());
    let why = commits.borrow().poisoned.clone().unwrap();
    assert!(why.contains("remove released segments"), "{why}");
    assert!(matches!(log.append(b"more"), Err(AppendError::Poisoned(_))));
    assert!(matches!(log.close(), Err(SyncError::Poisoned(_))));
}

#[test]
fn an_owner_can_poison_the_log_and_all_waiters_are_notified() {
    let disk = SimDisk::new(12);
    let log = GroupLog::start(open(&disk).0, "owner").unwrap();
    let at = log.append(b"good").unwrap();
    wait_until("not durable", || log.durable() > at);
    let mut commits = log.subscribe();
    commits.mark_unchanged();
    // Accepted and not yet committed: it must not have been acknowledged.
    log.append_deferred(b"half done").unwrap();
    log.poison("memory has fallen behind");
    log.poison("a later reason");
    assert!(commits.has_changed().unwrap());
    assert_eq!(commits.borrow().poisoned.as_deref(), Some("memory has fallen behind"));
    assert_eq!(log.append(b"more"), Err(AppendError::Poisoned("memory has fallen behind".into())));
    assert!(matches!(log.close(), Err(SyncError::Poisoned(_))), "its threads end");
    assert_eq!(read_all(&open(&disk).0, Position::ZERO).0.len(), 1);
}

#[test]
fn a_panic_in_a_thread_of_the_log_poisons_it() {
    for call in ["sync", "remove"] {
        let disk = SimDisk::new(13);
        let log = GroupLog::start(open(&disk).0, "panic").unwrap();
        let last = append_many(&log);
        wait_until("not durable", || log.durable() > last);
        disk.panic_at(call);
        log.release(last);
        let _ = log.append(b"one more, to be synced");
        let commits = log.subscribe();
        wait_until(call, || commits.borrow().poisoned.is_some());
        let why = commits.borrow().poisoned.clone().unwrap();
        assert!(why.contains(&format!("panicked: simulated: a defect at {call}")), "{why}");
        assert!(matches!(log.append(b"more"), Err(AppendError::Poisoned(_))));
        assert!(log.close().is_err());
    }
}

#[test]
fn a_block_without_space_is_written_once_there_is_space() {
    let disk = SimDisk::new(12);
    let log = GroupLog::start(open(&disk).0, "held").unwrap();
    let commits = log.subscribe();
    disk.set_copy_on_write(true);
    disk.set_quota(Some(1));
    log.append(b"one").unwrap();
    wait_until("not reported", || commits.borrow().full);
    let second = log.append(b"two").unwrap();
    assert_eq!(log.durable(), Position::ZERO);
    disk.set_quota(None);
    wait_until("not written", || commits.borrow().durable > second);
    wait_until("still full", || !commits.borrow().full);
    log.close().unwrap();
    assert_eq!(read_all(&open(&disk).0, Position::ZERO).0.len(), 2);
}

#[test]
fn dropping_the_last_handle_commits_the_rest() {
    let disk = SimDisk::new(11);
    let log = GroupLog::start(open(&disk).0, "drop").unwrap();
    let commits = log.subscribe();
    let at = log.append(b"rest").unwrap();
    drop(log);
    wait_until("the rest is not committed", || commits.borrow().durable > at);
}

#[test]
fn deferred_appends_wait_for_the_next_requested_commit() {
    let disk = SimDisk::new(17);
    let log = GroupLog::start(open(&disk).0, "deferred").unwrap();
    for round in 0..200 {
        // With nothing pending: it must not keep later appends from waking the thread.
        log.request_commit();
        let first = log.append_deferred(b"gathered").unwrap();
        let last = match round % 2 {
            0 => log.append(b"at once").unwrap(),
            _ => first,
        };
        if round % 2 == 1 {
            log.request_commit();
        }
        wait_until("not durable", || log.durable() > last);
        log.request_commit();
        let alone = log.append(b"alone").unwrap();
        wait_until("not woken", || log.durable() > alone);
    }
}
