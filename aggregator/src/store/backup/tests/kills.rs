//! Kills between any two steps.

use std::io;

use super::*;
use crate::{
    backup::LIST,
    store::{StoreConfig, testing::config},
};

#[tokio::test]
async fn a_backup_that_is_killed_leaves_the_one_before_and_goes_on() {
    let mut rig = Rig::new();
    rig.fill().await;
    let mut steps = 0;
    let mut complete = None;
    for kill_at in 0.. {
        let mut done = 0;
        let mut snapshot = rig.snapshot();
        let copied = copy(&mut *snapshot, Target::open(&rig.dir()).unwrap(), &mut || {
            done += 1;
            done <= kill_at
        });
        match (copied, &complete) {
            (Ok(_), _) => {
                steps += 1;
                complete = Some(rig.model.content());
                if steps == 2 {
                    break;
                }
                // Another state, over the complete backup.
                for day in [9, 10, 11] {
                    rig.put(day * 8_640).await;
                    rig.store.flush().await.unwrap();
                }
            }
            (Err(CopyError::Killed), None) => {
                let refused = Source::open(&rig.dir()).err().unwrap();
                assert!(refused.to_string().contains("has not been completed"), "{refused}");
            }
            (Err(CopyError::Killed), Some(content_then)) => {
                let (_folder, store) = restored(&rig);
                assert_eq!(content(&*store), *content_then, "killed at {kill_at}");
            }
            (Err(error), _) => panic!("{error:?}"),
        }
    }
    let (_folder, store) = restored(&rig);
    assert_eq!(content(&*store), rig.model.content());
}

#[tokio::test]
async fn what_a_killed_backup_copied_is_not_copied_again() {
    let mut rig = Rig::new();
    rig.fill().await;
    let files = rig.snapshot().contents().files.len() as u64;
    let mut left = 4;
    let mut snapshot = rig.snapshot();
    let killed = copy(&mut *snapshot, Target::open(&rig.dir()).unwrap(), &mut || {
        left -= 1;
        left >= 0
    });
    assert!(matches!(killed, Err(CopyError::Killed)));
    // One of them is torn, as by a loss of power; and one is unfinished.
    let tables = rig.dir().join("files/tables");
    let torn = std::fs::read_dir(&tables).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&torn).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() - 1]).unwrap();
    std::fs::write(tables.join("windows+1-1.table.00000000.part"), b"half").unwrap();
    // The catalog (of another flush by now) and three tables came.
    let done = rig.back_up();
    assert_eq!(done.copied.0, files - 3 + 1);
    let (_folder, store) = restored(&rig);
    assert_eq!(content(&*store), rig.model.content());
}

#[tokio::test]
async fn a_restore_that_is_killed_never_starts_and_is_repeated() {
    let mut rig = Rig::new();
    rig.fill().await;
    rig.back_up();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut kills = 0;
    for kill_at in 0.. {
        let mut done = 0;
        let mut step = || {
            done += 1;
            if done > kill_at { Err(io::Error::other("killed")) } else { Ok(()) }
        };
        match Source::open(&rig.dir()).unwrap().restore(&data, 5, &mut step) {
            Ok(_) => break,
            Err(error) => assert!(error.to_string().contains("killed"), "{error}"),
        }
        kills += 1;
        if data.join("identity").exists() {
            // Everything is in its place by then.
            assert!(restore(&rig.dir(), &data).is_err());
            break;
        }
        let started = EmbeddedStore::open(&data, StoreConfig { owner: Some("a".to_owned()), ..config() });
        let refused = started.err().unwrap().to_string();
        assert!(refused.contains("identity"), "{refused}");
    }
    assert!(kills > 10, "{kills}");
    assert!(verify(&data).unwrap().is_clean());
    let (store, _) = open(&data);
    assert_eq!(content(&*store), rig.model.content());
}

#[tokio::test]
async fn files_beside_the_remains_of_a_restore_are_not_touched() {
    let mut rig = Rig::new();
    rig.put(0).await;
    rig.back_up();
    let folder = tempfile::tempdir().unwrap();
    let mut steps = 2;
    let killed = Source::open(&rig.dir()).unwrap().restore(folder.path(), 5, &mut || {
        steps -= 1;
        if steps < 0 { Err(io::Error::other("killed")) } else { Ok(()) }
    });
    assert!(killed.is_err());
    let mine = folder.path().join(LIST);
    std::fs::write(&mine, b"mine").unwrap();
    assert!(restore(&rig.dir(), folder.path()).is_err());
    assert_eq!(std::fs::read(&mine).unwrap(), b"mine");
    std::fs::remove_file(&mine).unwrap();
    restore(&rig.dir(), folder.path()).unwrap();
    assert!(!folder.path().join("restoring").exists());
}
