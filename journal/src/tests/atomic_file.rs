//! Atomic files, checkpoints and data folders.

use std::path::Path;
use std::sync::Arc;

use crate::sim::SimDisk;
use crate::{AtomicFileError, Checkpoints, DataDir, DataDirError, RealDisk, read_atomic, write_atomic};

#[test]
fn a_small_file_is_old_or_new_after_a_crash() {
    let path = Path::new("/data/state");
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..500 {
        let mut disk = SimDisk::new(seed);
        let (old, new) = (vec![1u8; 5000], vec![2u8; 9000]);
        write_atomic(&disk, path, &old).unwrap();
        disk.fail_sync_after((seed % 3) as u32);
        let written = write_atomic(&disk, path, &new);
        disk.crash();
        let found = read_atomic(&disk, path).unwrap().expect("one of them is there");
        if written.is_ok() || found == new {
            assert_eq!(found, new, "seed {seed}");
            kept += 1;
        } else {
            assert_eq!(found, old, "seed {seed}");
            lost += 1;
        }
    }
    assert!(kept > 100 && lost > 100, "{kept} {lost}");
}

#[test]
fn a_damaged_atomic_file_is_reported() {
    let disk = SimDisk::new(1);
    let path = Path::new("/data/state");
    assert!(read_atomic(&disk, path).unwrap().is_none());
    write_atomic(&disk, path, b"content").unwrap();
    for offset in 0..27 {
        assert!(disk.flip(path, offset));
        assert!(matches!(read_atomic(&disk, path), Err(AtomicFileError::Damaged { .. })), "byte {offset}");
        disk.flip(path, offset);
    }
    assert_eq!(read_atomic(&disk, path).unwrap().unwrap(), b"content");
}

#[test]
fn memory_is_taken_only_for_what_the_header_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    write_atomic(&RealDisk, &path, b"content").unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // Its holes take no space; read, they would take more memory than there is.
    file.set_len(1 << 42).unwrap();
    assert!(matches!(read_atomic(&RealDisk, &path), Err(AtomicFileError::Damaged { .. })));
}

#[test]
fn the_newest_intact_checkpoint_wins() {
    for seed in 0..300 {
        let mut disk = SimDisk::new(seed);
        let open =
            |disk: &SimDisk| Checkpoints::open(Arc::new(disk.clone()), Path::new("/data"), "state").unwrap();
        let checkpoints = open(&disk);
        assert!(checkpoints.newest().unwrap().is_none());
        for n in 1..=5u8 {
            assert_eq!(checkpoints.write(&[n; 3000]).unwrap(), u64::from(n));
        }
        disk.fail_sync_after((seed % 3) as u32);
        let written = checkpoints.write(&[6; 3000]).is_ok();
        disk.crash();
        let (number, bytes) = open(&disk).newest().unwrap().unwrap();
        assert!(number == 6 || (!written && number == 5), "seed {seed}: {number}");
        assert_eq!(bytes, vec![number as u8; 3000]);
        assert!(open(&disk).write(b"next").unwrap() > number);
        assert_eq!(open(&disk).newest().unwrap().unwrap().1, b"next");
    }
}

#[test]
fn a_checkpoint_in_parts_is_the_same_file() {
    let disk = SimDisk::new(7);
    let checkpoints = Checkpoints::open(Arc::new(disk.clone()), Path::new("/data"), "state").unwrap();
    let parts = [vec![1u8; 700], Vec::new(), vec![2; 5000], vec![3]];
    let numbers = [checkpoints.write(&parts.concat()), checkpoints.write_parts(&parts)];
    let [whole, in_parts] = numbers.map(|number| {
        let path = Path::new("/data").join(format!("state-{:020}", number.unwrap()));
        read_atomic(&disk, &path).unwrap()
    });
    assert_eq!((whole, in_parts), (Some(parts.concat()), Some(parts.concat())));
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_previous_one() {
    let disk = SimDisk::new(3);
    let checkpoints = Checkpoints::open(Arc::new(disk.clone()), Path::new("/data"), "state").unwrap();
    for n in 1..=3u8 {
        checkpoints.write(&[n; 100]).unwrap();
    }
    assert_eq!(disk.files().len(), 2, "the newest and the one before");
    let newest = Path::new("/data/state-00000000000000000003");
    assert!(disk.flip(newest, 50));
    assert_eq!(checkpoints.newest().unwrap(), Some((2, vec![2; 100])));
    assert_eq!(checkpoints.damaged().unwrap(), [newest]);
    assert!(disk.flip(Path::new("/data/state-00000000000000000002"), 50));
    assert!(matches!(checkpoints.newest(), Err(AtomicFileError::Damaged { .. })));
    assert_eq!(checkpoints.quarantine().unwrap().len(), 2);
    assert_eq!(checkpoints.newest().unwrap(), None);
}

#[test]
fn a_data_folder_keeps_its_identity_and_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let first = DataDir::open(&path, "gateway", 1_700_000_000_000, &[("shards", "4")]).unwrap();
    assert!(first.is_new() && first.epoch() > 0);
    let second = DataDir::open(&path, "gateway", 1, &[]);
    assert!(matches!(&second, Err(DataDirError::Locked(folder)) if *folder == path));
    let epoch = first.epoch();
    drop(first);
    let again = DataDir::open(&path, "gateway", 2, &[("shards", "8")]).unwrap();
    assert_eq!((again.epoch(), again.created_ms(), again.is_new()), (epoch, 1_700_000_000_000, false));
    assert_eq!((again.get("shards"), again.get("none")), (Some("4"), None));
    drop(again);
    let error = DataDir::open(&path, "aggregator", 2, &[]).unwrap_err().to_string();
    assert!(error.contains("belongs to gateway"), "{error}");
    // Another folder has another epoch.
    let other = DataDir::open(&dir.path().join("other"), "gateway", 2, &[]).unwrap();
    assert_ne!(other.epoch(), epoch);
    // A folder that lost its identity is refused, not initialised over its contents.
    std::fs::create_dir(path.join("journal")).unwrap();
    std::fs::remove_file(path.join("identity")).unwrap();
    assert!(matches!(DataDir::open(&path, "gateway", 3, &[]), Err(DataDirError::Identity { .. })));
    assert!(write_atomic(&RealDisk, Path::new("/"), b"").is_err());
}
