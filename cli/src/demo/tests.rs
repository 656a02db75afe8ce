//! The parts of the demo that need no servers; the system tests run all of it.

use clap::Parser as _;

use super::*;
use crate::args::{Cli, Command};

fn args(flags: &[&str]) -> DemoArgs {
    match Cli::try_parse_from(["catchment", "demo"].iter().chain(flags)).unwrap().command {
        Command::Demo(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_is_removed_unless_kept_and_a_non_empty_one_is_refused() {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("a/b");
    let args = args(&["--dir", path.to_str().unwrap()]);
    Folder::make(&args).unwrap().end(true).unwrap();
    assert!(path.is_dir());
    Folder::make(&args).unwrap().end(false).unwrap();
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("x"), "").unwrap();
    assert_eq!(Folder::make(&args).err().unwrap().exit_status(), 2);
    assert!(path.join("x").exists());
}

#[test]
fn paths_are_quoted_for_a_shell() {
    assert_eq!(quoted(Path::new("/tmp/a-b_1.c")), "/tmp/a-b_1.c");
    assert_eq!(quoted(Path::new("/tmp/it's here")), "'/tmp/it'\\''s here'");
}

#[test]
fn a_result_is_complete_only_after_the_last_reading() {
    let until = |ms| QueryResult { complete_until_ms: ms, ..QueryResult::default() };
    assert!(is_complete(&until(Some(1001)), 1000));
    assert!(!is_complete(&until(Some(1000)), 1000));
    assert!(!is_complete(&until(None), 1000));
}
