//! The owner of a data folder.

use std::path::Path;
use std::sync::Arc;

use crate::{DataDir, DataDirError, Log, LogConfig, RealDisk, check_folder, read_atomic, write_atomic};

const BERLIN: &str = "spiffe://example.org/site/berlin/gateway/g1";
const LYON: &str = "spiffe://example.org/site/lyon/gateway/g1";

fn open(path: &Path, owner: &str) -> Result<DataDir, DataDirError> {
    DataDir::open_owned(path, "gateway", 7, owner, &[("shards", "4")])
}

fn text(path: &Path) -> String {
    String::from_utf8(read_atomic(&RealDisk, &path.join("identity")).unwrap().unwrap()).unwrap()
}

#[test]
fn a_folder_serves_only_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let epoch = open(&path, BERLIN).unwrap().epoch();
    let before = text(&path);
    let error = open(&path, LYON).unwrap_err();
    assert!(matches!(&error, DataDirError::Owner { owner, found, .. } if owner == BERLIN && found == LYON));
    let message = error.to_string();
    assert!(message.contains("catchment-gateway folder adopt") && !message.contains('\n'), "{message}");
    assert_eq!(text(&path), before, "a refusal changes nothing");
    let again = open(&path, BERLIN).unwrap();
    assert_eq!((again.epoch(), again.owner(), again.get("shards")), (epoch, Some(BERLIN), Some("4")));
    // `open` does not check the owner.
    drop(again);
    assert_eq!(DataDir::open(&path, "gateway", 0, &[]).unwrap().owner(), Some(BERLIN));
}

#[test]
fn a_folder_without_an_owner_is_bound_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    std::fs::create_dir(&path).unwrap();
    let old = "format=2\nkind=gateway\nepoch=77\ncreated_ms=5\nshards=3\nlater=x=y\n";
    write_atomic(&RealDisk, &path.join("identity"), old.as_bytes()).unwrap();
    assert_eq!(DataDir::open(&path, "gateway", 0, &[]).unwrap().owner(), None);
    assert_eq!(text(&path), old, "`open` binds nothing");
    let bound = open(&path, BERLIN).unwrap();
    assert_eq!((bound.epoch(), bound.created_ms(), bound.is_new()), (77, 5, false));
    assert_eq!((bound.get("shards"), bound.get("later")), (Some("3"), Some("x=y")));
    bound.check_in_place().unwrap();
    drop(bound);
    assert!(text(&path).contains(&format!("owner={BERLIN}\n")));
    assert!(matches!(open(&path, LYON), Err(DataDirError::Owner { .. })));
    DataDir::open(&path, "gateway", 0, &[]).unwrap().adopt(LYON).unwrap();
    assert_eq!(open(&path, LYON).unwrap().epoch(), 77);
}

#[test]
fn a_folder_knows_its_logs() {
    let dir = tempfile::tempdir().unwrap();
    let (path, elsewhere) = (dir.path().join("data"), dir.path().join("elsewhere"));
    let make = |log: &Path| drop(Log::open(Arc::new(RealDisk), log, LogConfig::default()).unwrap());
    let mut folder = open(&path, BERLIN).unwrap();
    let logs = ["a/journal".to_owned(), "b".to_owned()];
    logs.iter().for_each(|log| make(&path.join(log)));
    assert!(!folder.facts().lists_logs());
    assert!(folder.prepare_logs(&logs).unwrap().is_empty(), "they are there");
    folder.confirm_logs(&logs, &[]).unwrap();
    assert_eq!(folder.facts().missing_logs().unwrap(), [""; 0]);
    folder.check_in_place().unwrap();
    drop(folder);
    let mut folder = open(&path, BERLIN).unwrap();
    assert!(folder.facts().lists_log("a/journal") && !folder.facts().lists_log("a"));
    std::fs::rename(path.join("b"), &elsewhere).unwrap();
    assert_eq!(folder.facts().missing_logs().unwrap(), ["b"]);
    make(&path.join("b"));
    let refused = folder.facts().missing_logs().unwrap_err();
    assert!(matches!(&refused, DataDirError::Log { log, .. } if log == "b"), "{refused}");
    assert!(check_folder(&path, "gateway", Some(BERLIN)).is_err());
    // While a log is being recreated, only the old and the new one are accepted.
    let strange = dir.path().join("strange");
    std::fs::rename(path.join("b"), &strange).unwrap();
    let new = folder.prepare_logs(&logs).unwrap();
    assert_eq!(folder.prepare_logs(&logs).unwrap(), new, "an interrupted start is repeated");
    std::fs::rename(&strange, path.join("b")).unwrap();
    assert!(folder.facts().missing_logs().is_err());
    std::fs::rename(path.join("b"), &strange).unwrap();
    std::fs::rename(&elsewhere, path.join("b")).unwrap();
    assert_eq!(folder.facts().missing_logs().unwrap(), [""; 0]);
    std::fs::rename(path.join("b"), &elsewhere).unwrap();
    let config = LogConfig { salt: new.get("b").copied(), ..LogConfig::default() };
    drop(Log::open(Arc::new(RealDisk), &path.join("b"), config).unwrap());
    folder.set("note", "1").unwrap();
    folder.confirm_logs(&logs, &["note".to_owned()]).unwrap();
    assert_eq!((folder.facts().missing_logs().unwrap().len(), folder.get("note")), (0, None));
    std::fs::remove_dir_all(path.join("b")).unwrap();
    std::fs::rename(&elsewhere, path.join("b")).unwrap();
    assert!(folder.facts().missing_logs().is_err(), "the old log no longer belongs to this folder");
    // An unmounted disk does not mean that the log is gone.
    std::fs::remove_dir_all(path.join("b")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("nowhere"), path.join("b")).unwrap();
    assert!(folder.facts().missing_logs().is_err() && folder.prepare_logs(&logs).is_err());
}

/// The check refuses every path that a start could not use.
#[test]
fn a_check_refuses_paths_that_cannot_be_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
    for path in [link.as_path(), &link.join("data"), Path::new("/proc/catchment"), Path::new("/proc/a/b")] {
        let checked = check_folder(path, "gateway", Some(BERLIN)).unwrap_err();
        assert!(checked.is_configuration(), "{checked}");
        let opened = open(path, BERLIN).unwrap_err();
        assert!(matches!(opened, DataDirError::Io { .. }), "{opened}");
    }
    // A folder with other contents: not even a lock file is left in it.
    std::fs::write(dir.path().join("photo.jpg"), b"").unwrap();
    assert!(open(dir.path(), BERLIN).unwrap_err().is_configuration());
    assert!(!dir.path().join("lock").exists());
}

#[test]
fn a_check_before_a_start_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/data");
    assert_eq!(check_folder(&path, "gateway", Some(BERLIN)).unwrap(), None);
    assert!(!dir.path().join("deep").exists());
    let folder = open(&path, BERLIN).unwrap();
    // Works while the folder is in use.
    let facts = check_folder(&path, "gateway", Some(BERLIN)).unwrap().unwrap();
    assert_eq!((facts.epoch(), facts.created_ms(), facts.owner()), (folder.epoch(), 7, Some(BERLIN)));
    drop(folder);
    assert!(matches!(check_folder(&path, "gateway", Some(LYON)), Err(DataDirError::Owner { .. })));
    let error = check_folder(&path, "aggregator", None).unwrap_err().to_string();
    assert!(error.contains("belongs to gateway"), "{error}");
    let file = path.join("identity");
    assert!(matches!(check_folder(&file, "gateway", None), Err(DataDirError::Io { .. })), "no folder");
    assert!(matches!(check_folder(&file.join("x"), "gateway", None), Err(DataDirError::Io { .. })));
    std::fs::write(path.join("journal"), b"").unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = check_folder(&path, "gateway", None).unwrap_err().to_string();
    assert!(error.contains("no identity"), "{error}");
}
