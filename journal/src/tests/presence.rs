//! Files that are removed, moved, replaced or truncated under a running log: nothing is acknowledged into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::group::wait_until;
use super::{DIR, open, small};
use crate::sim::SimDisk;
use crate::{AppendError, DataDir, Disk, GroupLog, Log, Position, RealDisk, SyncError};

fn only_segment(dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn nothing_is_committed_to_a_removed_segment() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk);
    log.append(b"kept").unwrap();
    let durable = log.commit().unwrap();
    let (path, _) = disk.files().remove(0);
    disk.remove(&path).unwrap();
    log.append(b"into nowhere").unwrap();
    let Err(SyncError::Poisoned(why)) = log.commit() else { panic!("a removed file took a commit") };
    assert!(why.contains("was removed"), "{why}");
    assert_eq!(log.durable(), durable);
    assert!(matches!(log.append(b"more"), Err(AppendError::Poisoned(_))));
}

#[test]
fn nothing_is_committed_to_a_segment_that_lost_its_space() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(Arc::new(RealDisk), dir.path(), small()).unwrap();
    log.append(b"kept").unwrap();
    let durable = log.commit().unwrap();
    fs::File::options().write(true).open(only_segment(dir.path())).unwrap().set_len(0).unwrap();
    log.append(b"after a hole").unwrap();
    let Err(SyncError::Poisoned(why)) = log.commit() else { panic!("an emptied file took a commit") };
    assert!(why.contains("was cut short"), "{why}");
    assert_eq!(log.durable(), durable);
}

#[test]
fn a_removed_folder_ends_a_shared_log_at_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("log");
    let (log, _) = GroupLog::open(Arc::new(RealDisk), &folder, small(), "test").unwrap();
    let mut commits = log.subscribe();
    let at = log.append(b"kept").unwrap();
    wait_until("the first commit", || commits.borrow_and_update().durable > at);
    log.check_in_place().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let lost = log.append(b"lost").unwrap();
    wait_until("the end of the log", || commits.borrow_and_update().poisoned.is_some());
    assert!(commits.borrow().durable <= lost && log.durable() <= lost);
    assert!(log.check_in_place().is_err_and(|error| error.is_gone()));
    let error = log.close().unwrap_err().to_string();
    assert!(error.contains("was removed"), "{error}");
}

/// An idle log notices changes to its folder and to each segment.
#[test]
fn a_check_finds_what_no_commit_notices() {
    let disk = SimDisk::new(2);
    let (log, mut committer) = GroupLog::manual(open(&disk).0);
    for _ in 0..200 {
        log.append(&[7; 700]).unwrap();
        committer.step().unwrap();
    }
    log.check_in_place().unwrap();
    let files: Vec<PathBuf> = disk.files().into_iter().map(|(path, _)| path).collect();
    assert!(files.len() > 3, "{files:?}");
    // Released segments are removed in order; that is not a loss.
    disk.remove(&files[0]).unwrap();
    assert!(log.check_in_place().is_err_and(|error| error.is_gone()), "an older segment is missing");
    let kept: u64 = files[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    log.release(Position::new(kept));
    log.check_in_place().unwrap();
    committer.step().unwrap();
    log.check_in_place().unwrap();
    // Replaced by a copy: the open file is a different one.
    let newest = files.last().unwrap();
    let aside = Path::new(DIR).join("aside");
    disk.rename(newest, &aside).unwrap();
    assert!(log.check_in_place().unwrap_err().to_string().contains("removed or moved"));
    drop(disk.create_new(newest).unwrap());
    assert!(log.check_in_place().unwrap_err().to_string().contains("replaced by another"));
    disk.rename(&aside, newest).unwrap();
    log.check_in_place().unwrap();
}

/// The committer ends segments, shortens them to what they hold, and removes them while a check looks at them.
#[test]
fn a_check_finds_nothing_in_what_the_committer_does_meanwhile() {
    let disk = SimDisk::new(5);
    let (log, mut committer) = GroupLog::manual(open(&disk).0);
    let log = Arc::new(log);
    let (mut ended, mut removed) = (0, 0);
    for turn in 0..300 {
        let before = disk.files();
        let turned = Arc::clone(&log);
        let (done, result) = std::sync::mpsc::sync_channel(1);
        disk.before_next_status(move || {
            turned.append(&[7; 700]).unwrap();
            if turn % 10 == 9 {
                turned.release(turned.durable());
            }
            committer.step().unwrap();
            done.send(committer).unwrap();
        });
        log.check_in_place().unwrap_or_else(|error| panic!("turn {turn}: {error}"));
        committer = result.try_recv().expect("the check asked for a status");
        let (before, after) = (before.len(), disk.files().len());
        ended += usize::from(after > before);
        removed += usize::from(after < before);
    }
    assert!(ended > 10 && removed > 3, "{ended} {removed}");
}

#[test]
fn an_owner_ends_a_log() {
    let disk = SimDisk::new(3);
    let (log, mut committer) = GroupLog::manual(open(&disk).0);
    let at = log.append(b"never acknowledged").unwrap();
    log.poison("the folder is gone");
    log.poison("a second reason");
    assert!(matches!(log.append(b"x"), Err(AppendError::Poisoned(why)) if &*why == "the folder is gone"));
    assert_eq!(committer.step().unwrap_err().as_ref(), "the folder is gone");
    let commit = log.subscribe().borrow().clone();
    assert!(commit.durable <= at && commit.poisoned.as_deref() == Some("the folder is gone"));
    // With its own thread: the thread ends, and closing returns the reason.
    let (log, _) = GroupLog::open(Arc::new(SimDisk::new(4)), Path::new(DIR), small(), "test").unwrap();
    log.append_deferred(b"never acknowledged").unwrap();
    log.poison("the folder is gone");
    assert!(matches!(log.close(), Err(SyncError::Poisoned(why)) if &*why == "the folder is gone"));
    assert_eq!(log.durable(), Position::ZERO);
}

#[test]
fn a_data_folder_knows_whether_it_is_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let moved = dir.path().join("moved");
    let folder = DataDir::open_owned(&path, "gateway", 7, "spiffe://x/a", &[]).unwrap();
    folder.check_in_place().unwrap();
    fs::rename(&path, &moved).unwrap();
    let error = folder.check_in_place().unwrap_err();
    assert!(error.is_gone() && error.to_string().contains("removed or moved"), "{error}");
    // Another folder with the same contents in its place.
    fs::create_dir(&path).unwrap();
    fs::copy(moved.join("identity"), path.join("identity")).unwrap();
    assert!(folder.check_in_place().unwrap_err().to_string().contains("replaced by another"));
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&moved, &path).unwrap();
    folder.check_in_place().unwrap();
    for file in ["lock", "identity"] {
        let (file, aside) = (path.join(file), path.join("aside"));
        fs::rename(&file, &aside).unwrap();
        assert!(folder.check_in_place().is_err_and(|error| error.is_gone()), "{}", file.display());
        fs::copy(&aside, &file).unwrap();
        assert!(
            folder.check_in_place().is_err_and(|error| error.is_gone()),
            "{} was replaced",
            file.display()
        );
        fs::rename(&aside, &file).unwrap();
        folder.check_in_place().unwrap();
    }
    fs::remove_dir_all(&path).unwrap();
    assert!(folder.check_in_place().is_err_and(|error| error.is_gone()));
}
