//! The format of a data folder.

use std::path::Path;

use crate::{DataDir, DataDirError, FORMAT_VERSION, RealDisk, check_folder, read_atomic, write_atomic};

const OWNER: &str = "spiffe://example.org/site/berlin/gateway/g1";
const REST: &str = "kind=gateway\nepoch=77\ncreated_ms=5\nlater=x=y\n";

fn logs() -> [String; 1] {
    ["journal".to_owned()]
}

fn folder_of(path: &Path, format: u32) -> String {
    let text = format!("format={format}\n{REST}owner={OWNER}\n");
    std::fs::create_dir_all(path).unwrap();
    write_atomic(&RealDisk, &path.join("identity"), text.as_bytes()).unwrap();
    text
}

fn text(path: &Path) -> String {
    String::from_utf8(read_atomic(&RealDisk, &path.join("identity")).unwrap().unwrap()).unwrap()
}

fn format(path: &Path) -> u32 {
    let text = text(path);
    let line = text.lines().find_map(|line| line.strip_prefix("format="));
    line.unwrap().parse().unwrap()
}

fn start(path: &Path) -> DataDir {
    DataDir::open_owned(path, "gateway", 7, OWNER, &[]).unwrap()
}

#[test]
fn the_first_start_raises_the_format_before_it_opens_logs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let old = folder_of(&path, FORMAT_VERSION - 1);
    // A look, a tool's change and an incomplete start keep it.
    assert!(check_folder(&path, "gateway", Some(OWNER)).unwrap().is_some());
    drop(DataDir::open(&path, "gateway", 7, &[]).unwrap());
    drop(start(&path));
    assert_eq!(text(&path), old);
    DataDir::open(&path, "gateway", 7, &[]).unwrap().set("lives.shard-0", "1").unwrap();
    assert_eq!(format(&path), FORMAT_VERSION - 1);

    let mut folder = start(&path);
    assert_eq!(folder.prepare_logs(&logs()).unwrap().len(), 1);
    assert_eq!(format(&path), FORMAT_VERSION);
    assert!(!path.join("journal").exists());
    folder.check_in_place().unwrap();
    assert_eq!((folder.epoch(), folder.created_ms(), folder.get("later")), (77, 5, Some("x=y")));
    assert_eq!((folder.owner(), folder.get("lives.shard-0")), (Some(OWNER), Some("1")));
    drop(folder);
    // A crash before the logs are there: the next start continues.
    let mut folder = start(&path);
    assert_eq!((folder.epoch(), folder.prepare_logs(&logs()).unwrap().len()), (77, 1));
    assert_eq!(format(&path), FORMAT_VERSION);
    let new = DataDir::open(&dir.path().join("new"), "gateway", 7, &[]).unwrap();
    assert_eq!(format(new.path()), FORMAT_VERSION);
}

/// A crash within the raise leaves the temporary file, whole or not; it counts for nothing.
#[test]
fn a_crash_while_the_format_is_raised_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let [path, raised] = ["data", "raised"].map(|name| dir.path().join(name));
    folder_of(&raised, FORMAT_VERSION);
    let bytes = std::fs::read(raised.join("identity")).unwrap();
    for written in [0, 10, bytes.len() / 2, bytes.len()] {
        let old = folder_of(&path, FORMAT_VERSION - 1);
        std::fs::write(path.join(".identity.tmp"), &bytes[..written]).unwrap();
        drop(DataDir::open(&path, "gateway", 7, &[]).unwrap());
        assert_eq!(text(&path), old);
        start(&path).prepare_logs(&logs()).unwrap();
        assert_eq!(format(&path), FORMAT_VERSION);
    }
}

#[test]
fn a_folder_of_a_later_format_is_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let later = folder_of(dir.path(), FORMAT_VERSION + 1);
    let refusals = [
        check_folder(dir.path(), "gateway", Some(OWNER)).unwrap_err(),
        DataDir::open(dir.path(), "gateway", 7, &[]).unwrap_err(),
        DataDir::open_owned(dir.path(), "gateway", 7, OWNER, &[]).unwrap_err(),
    ];
    for error in refusals {
        assert!(error.is_configuration() && matches!(error, DataDirError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("use a newer one"), "{error}");
    }
    assert_eq!(text(dir.path()), later);
    folder_of(dir.path(), 1);
    let error = DataDir::open(dir.path(), "gateway", 7, &[]).unwrap_err().to_string();
    assert!(error.contains("before the first release"), "{error}");
}
