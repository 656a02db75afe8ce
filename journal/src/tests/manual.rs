//! A log whose owner drives the rounds: nothing is durable before a step, everything after one.

use std::path::Path;
use std::sync::Arc;

use crate::sim::SimDisk;
use crate::{GroupLog, Log, LogConfig, Position, ReadEvent};

fn records(log: &GroupLog<SimDisk>) -> Vec<Vec<u8>> {
    let mut reader = log.read(Position::ZERO);
    let (mut record, mut all) = (Vec::new(), Vec::new());
    while let ReadEvent::Record(_) = reader.next(&mut record).unwrap() {
        all.push(record.clone());
    }
    all
}

#[test]
fn commits_only_in_a_step() {
    let mut disk = SimDisk::new(7);
    let dir = Path::new("/log");
    let open = |disk: &SimDisk| {
        GroupLog::manual(Log::open(Arc::new(disk.clone()), dir, LogConfig::default()).unwrap().0)
    };
    let (log, mut committer) = open(&disk);
    log.append(b"one").unwrap();
    let end = log.end();
    assert!(log.durable() < end);
    committer.step().unwrap();
    assert!(log.durable() >= end);
    log.append(b"two").unwrap();
    assert_eq!(records(&log), [b"one".to_vec()]);
    disk.crash();
    let (log, _committer) = open(&disk);
    assert_eq!(records(&log), [b"one".to_vec()], "what was not committed is not there");
}

#[test]
fn a_failed_sync_is_reported_at_every_later_step() {
    let disk = SimDisk::new(8);
    let log = Log::open(Arc::new(disk.clone()), Path::new("/log"), LogConfig::default()).unwrap().0;
    let (log, mut committer) = GroupLog::manual(log);
    log.append(b"one").unwrap();
    disk.fail_sync_after(0);
    assert!(committer.step().is_err());
    assert!(committer.step().is_err());
    assert!(log.append(b"two").is_err());
    assert!(log.subscribe().borrow().poisoned.is_some());
}

/// Bytes written by each of `commits` commits of one record of `record` bytes.
fn written_by_commits(disk: &SimDisk, dir: &str, record: usize, commits: usize) -> Vec<u64> {
    let log = Log::open(Arc::new(disk.clone()), Path::new(dir), LogConfig::default()).unwrap().0;
    let (log, mut committer) = GroupLog::manual(log);
    let mut written = Vec::new();
    for _ in 0..commits {
        let before = disk.bytes_written();
        log.append(&vec![1; record]).unwrap();
        committer.step().unwrap();
        written.push(disk.bytes_written() - before);
    }
    written
}

#[test]
fn small_blocks_find_zeros_written_ahead() {
    let disk = SimDisk::new(9);
    let written = written_by_commits(&disk, "/small", 1_000, 400);
    let steps: Vec<usize> = (0..written.len()).filter(|n| written[*n] > 1_100).collect();
    // A block takes 1,024 bytes: a step covers 128 of them, and the next is due when less than 64 are left. The first
    // starts after the page with the segment's header.
    assert_eq!(steps, [0, 67, 195, 323]);
    assert!(steps.iter().all(|n| written[*n] == 1_024 + (128 << 10)));
    // Few large blocks fit into a step: writing ahead would cost more than it saves.
    assert!(written_by_commits(&disk, "/large", 40_000, 40).iter().all(|bytes| *bytes == 40_032));
    // Copy-on-write: writing ahead is of no use.
    disk.set_copy_on_write(true);
    assert!(written_by_commits(&disk, "/elsewhere", 1_000, 200).iter().all(|bytes| *bytes == 1_024));
}

#[test]
fn a_failed_write_ahead_of_the_log_costs_no_record() {
    let disk = SimDisk::new(10);
    disk.fail_write_after(2);
    let written = written_by_commits(&disk, "/log", 1_000, 200);
    assert!(written.iter().skip(1).all(|bytes| *bytes == 1_024), "{written:?}");
    let log = Log::open(Arc::new(disk), Path::new("/log"), LogConfig::default()).unwrap().0;
    assert_eq!(records(&GroupLog::manual(log).0).len(), 200);
}
