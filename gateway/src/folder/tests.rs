use std::{fs, path::Path};

use catchment_journal::{AppendError, GroupLog, LogConfig, RealDisk};

use super::*;

fn folder(path: &Path) -> Arc<Folder> {
    let data = DataDir::open_owned(path, "gateway", 0, "spiffe://x/site/berlin/gateway/g", &[]).unwrap();
    let disk = Arc::new(RealDisk);
    let config = LogConfig { reserve_bytes: 64 << 10, disk_free_min: 0, ..LogConfig::default() };
    let open =
        |name: &str| GroupLog::open(Arc::clone(&disk), &path.join(name), config.clone(), name).unwrap().0;
    let checkpoints =
        Arc::new(Checkpoints::open(Arc::clone(&disk), &path.join("checkpoint"), "state").unwrap());
    checkpoints.write(b"state").unwrap();
    let logs = vec![open("journal"), open("outbox")];
    Arc::new(Folder::new(data, logs, vec![checkpoints], Metrics::new()))
}

#[test]
fn what_is_gone_ends_every_log_and_is_a_condition() {
    let dir = tempfile::tempdir().unwrap();
    for lost in ["", "outbox", "journal", "checkpoint", "identity", "lock"] {
        let path = dir.path().join(format!("data-{lost}"));
        let folder = folder(&path);
        folder.look().unwrap();
        folder.metrics.conditions.ready().unwrap();
        fs::rename(path.join(lost), dir.path().join("moved")).unwrap();
        let why = folder.look().unwrap_err();
        assert!(why.contains("removed or moved while in use"), "{why}");
        for log in &folder.logs {
            assert!(matches!(log.append(b"x"), Err(AppendError::Poisoned(_))), "{lost}");
        }
        let ready = folder.metrics.conditions.ready().unwrap_err();
        assert!(ready.starts_with("folder_gone: ") && ready.contains("while in use"), "{ready}");
        let moved = dir.path().join("moved");
        let _ = fs::remove_dir_all(&moved).or_else(|_| fs::remove_file(&moved));
    }
}

/// Nobody commits, nobody asks.
#[tokio::test]
async fn the_watch_ends_an_idle_gateways_logs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let folder = folder(&path);
    let _watch = folder.watch().unwrap();
    fs::rename(&path, dir.path().join("moved")).unwrap();
    let failures = futures_util::future::join_all(folder.logs.iter().map(|log| log.failure()));
    let why = tokio::time::timeout(Duration::from_secs(30), failures).await.unwrap();
    assert!(why.iter().all(|why| why.contains("while in use")), "{why:?}");
}

#[test]
fn a_missing_checkpoint_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let [checkpoints] = folder.checkpoints.as_slice() else { panic!("one shard") };
    assert!(!checkpoints.is_missing());
    for file in fs::read_dir(dir.path().join("checkpoint")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    folder.look().unwrap();
    assert!(checkpoints.is_missing(), "its shard is told");
    assert_eq!(checkpoints.write(b"again").unwrap(), 2, "no number is used twice");
    folder.look().unwrap();
    assert!(!checkpoints.is_missing());
    assert_eq!(checkpoints.newest().unwrap(), Some((2, b"again".to_vec())));
}
