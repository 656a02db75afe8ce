use std::{fs, path::Path, time::Duration};

use catchment_journal::{AppendError, GroupLog, LogConfig, RealDisk};

use super::*;
use crate::{lineage::FolderPast, shard::ShardFacts};

fn folder(path: &Path) -> Arc<FolderWatch> {
    let data = DataDir::open_owned(path, "gateway", 0, "spiffe://x/site/berlin/gateway/g", &[]).unwrap();
    let disk = Arc::new(RealDisk);
    let config = LogConfig { reserve_bytes: 64 << 10, disk_free_min: 0, ..LogConfig::default() };
    let open =
        |name: &str| GroupLog::open(Arc::clone(&disk), &path.join(name), config.clone(), name).unwrap().0;
    let checkpoints =
        Arc::new(Checkpoints::open(Arc::clone(&disk), &path.join("checkpoint"), "state").unwrap());
    checkpoints.write(b"state").unwrap();
    let logs = vec![open("journal"), open("outbox")];
    let mut lineage = Lineage::open(disk, path, (data.epoch(), 0), FolderPast::New).unwrap();
    lineage.begin_run(0, None, &[1, 1], Duration::ZERO).unwrap();
    Arc::new(FolderWatch::new(data, logs, vec![checkpoints], Arc::new(Mutex::new(lineage)), Metrics::new()))
}

#[test]
fn a_missing_part_poisons_every_log_and_raises_the_condition() {
    let dir = tempfile::tempdir().unwrap();
    for lost in ["", "outbox", "journal", "checkpoint", "identity", "lock"] {
        let path = dir.path().join(format!("data-{lost}"));
        let folder = folder(&path);
        folder.check().unwrap();
        folder.metrics.conditions.ready().unwrap();
        fs::rename(path.join(lost), dir.path().join("moved")).unwrap();
        let why = folder.check().unwrap_err();
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

/// No commit and no caller triggers the check.
#[tokio::test]
async fn the_watch_poisons_the_logs_of_an_idle_gateway() {
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
fn a_missing_list_of_runs_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let runs = dir.path().join("runs");
    let before = fs::read(&runs).unwrap();
    fs::remove_file(&runs).unwrap();
    folder.check().unwrap();
    assert_eq!(fs::read(&runs).unwrap(), before);
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
    folder.check().unwrap();
    assert!(checkpoints.is_missing(), "its shard learns of it");
    assert_eq!(checkpoints.write(b"again").unwrap(), 2, "no number is used twice");
    folder.check().unwrap();
    assert!(!checkpoints.is_missing());
    assert_eq!(checkpoints.newest().unwrap(), Some((2, b"again".to_vec())));
}

/// Creates the logs of a shard.
fn make(shard: &Path, facts: &ShardFacts) {
    for (log, salt) in shards::LOGS.into_iter().zip(facts.salts) {
        let config = LogConfig { salt, ..LogConfig::default() };
        catchment_journal::Log::open(Arc::new(RealDisk), &shard.join(log), config).unwrap();
    }
}

/// A data folder of two shards whose first start is over.
fn two_shards(path: &Path) -> DataDir {
    let owner = "spiffe://x/site/berlin/gateway/g";
    let mut data = DataDir::open_owned(path, "gateway", 0, owner, &[("shards", "2")]).unwrap();
    assert_eq!(shards::past(&data), FolderPast::New);
    let shard_facts = shards::prepare(&mut data).unwrap();
    assert!(shard_facts.iter().all(|facts| facts.given_up == 0));
    for (shard, facts) in (0..).zip(&shard_facts) {
        make(&shards::shard_folder(path, shard), facts);
    }
    shards::opened(&mut data).unwrap();
    data
}

#[test]
fn a_shard_that_is_gone_is_not_begun_anew_until_it_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = two_shards(dir.path());
    shards::check(data.facts()).unwrap();
    let shard = dir.path().join("shard-1");
    fs::rename(&shard, dir.path().join("moved")).unwrap();
    for _ in 0..2 {
        let refused = shards::prepare(&mut data).unwrap_err().to_string();
        assert!(
            refused.contains("shard-1: the shard is gone") && refused.contains("journal repair"),
            "{refused}"
        );
    }
    fs::rename(dir.path().join("moved"), &shard).unwrap();
    shards::check(data.facts()).unwrap();
    // The outbox alone does not say what the shard acknowledged.
    fs::remove_dir_all(shard.join("journal")).unwrap();
    assert!(shards::check(data.facts()).is_err());
    fs::create_dir(shard.join("checkpoint")).unwrap();
    fs::write(shard.join("checkpoint/00000001.state"), b"whole or not").unwrap();
    shards::check(data.facts()).unwrap();
    fs::remove_dir_all(&shard).unwrap();
    assert_eq!(shards::give_up(&mut data).unwrap(), [shard.as_path()]);
    drop(data);
    let mut data = DataDir::open(dir.path(), "gateway", 0, &[]).unwrap();
    let shard_facts = shards::prepare(&mut data).unwrap();
    let again = shards::prepare(&mut data).unwrap();
    assert!(shard_facts[1].given_up == 1 && shard_facts[0].given_up == 0, "given up until it has started");
    assert_eq!(shard_facts[1].salts, again[1].salts, "an interrupted start keeps the salts");
    make(&shard, &shard_facts[1]);
    shards::opened(&mut data).unwrap();
    assert!(shards::prepare(&mut data).unwrap().iter().all(|facts| facts.given_up == 0));
    assert_eq!(shards::past(&data), FolderPast::Started);
    fs::remove_dir_all(&shard).unwrap();
    assert!(shards::check(data.facts()).is_err(), "a shard that was begun anew is checked like any other");
    shards::give_up(&mut data).unwrap();
    assert_eq!(shards::prepare(&mut data).unwrap()[1].given_up, 2);
}

#[test]
fn logs_of_another_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (berlin, lyon) = (dir.path().join("berlin"), dir.path().join("lyon"));
    let (mut data, _other) = (two_shards(&berlin), two_shards(&lyon));
    for log in shards::LOGS {
        let (own, other) = (berlin.join("shard-0").join(log), lyon.join("shard-0").join(log));
        let aside = dir.path().join("aside");
        for (from, to) in [(&own, &aside), (&other, &own)] {
            fs::rename(from, to).unwrap();
        }
        let refused = shards::prepare(&mut data).unwrap_err();
        assert!(matches!(&refused, shards::ShardsError::Data(error) if error.is_configuration()));
        let refused = refused.to_string();
        assert!(refused.contains(&format!("`shard-0/{log}` belongs to another data folder")), "{refused}");
        for (from, to) in [(&own, &other), (&aside, &own)] {
            fs::rename(from, to).unwrap();
        }
        shards::prepare(&mut data).unwrap();
    }
}
