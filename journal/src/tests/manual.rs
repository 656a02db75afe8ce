//! A log whose rounds its owner drives: nothing is durable before a step, and all of it after one.

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
fn commits_only_when_it_is_told_to() {
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
fn a_failed_sync_is_told_at_every_step_from_then_on() {
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
