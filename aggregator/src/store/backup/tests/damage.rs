//! Damage of a backup and of the store that is backed up: refused, with the name of the file.

use super::*;

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 4;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_backup_is_refused_by_the_name_of_its_file() {
    let mut rig = Rig::new();
    rig.fill().await;
    let done = rig.back_up();
    for file in &done.contents.files {
        let stored = format!("{}.{:08x}", file.name, file.checksum);
        let path = rig.dir().join("files").join(&stored);
        for at in [0, file.bytes as usize / 2, file.bytes as usize - 1] {
            flip(&path, at);
            let folder = tempfile::tempdir().unwrap();
            let refused = restore(&rig.dir(), folder.path()).unwrap_err().to_string();
            assert!(refused.contains(&stored), "{refused}");
            let found = Source::open(&rig.dir()).unwrap().check().unwrap();
            assert!(found.len() == 1 && found[0].contains(&stored), "{found:?}");
            assert!(!folder.path().join("identity").exists());
            flip(&path, at);
        }
    }
    assert_eq!(Source::open(&rig.dir()).unwrap().check().unwrap(), Vec::<String>::new());
    let (_folder, store) = restored(&rig);
    assert_eq!(content(&*store), rig.model.content());
}

#[tokio::test]
async fn a_file_that_is_gone_is_copied_again() {
    let mut rig = Rig::new();
    rig.fill().await;
    let done = rig.back_up();
    let lost = done.contents.files.last().unwrap();
    let path = rig.dir().join("files").join(format!("{}.{:08x}", lost.name, lost.checksum));
    std::fs::remove_file(&path).unwrap();
    let found = Source::open(&rig.dir()).unwrap().check().unwrap();
    assert!(found.len() == 1 && found[0].contains("is missing"), "{found:?}");
    assert_eq!(rig.back_up().copied.0, 2, "it, and the catalog");
    assert!(path.exists());
}

#[tokio::test]
async fn a_damaged_store_is_not_backed_up_and_the_backup_before_stays() {
    let mut rig = Rig::new();
    rig.fill().await;
    let first = rig.back_up();
    let table = first.contents.files.iter().find(|file| file.name.starts_with("tables/")).unwrap();
    let path = rig.folder.path().join("data").join(&table.name);
    // In a block, in the index, and in the footer. A backup that has the table knows nothing of it.
    for at in [20, table.bytes as usize - 69, table.bytes as usize - 10] {
        flip(&path, at);
        let other = tempfile::tempdir().unwrap();
        let copied =
            rig.store.snapshot(0, &mut || {}).map_err(CopyError::from).and_then(|mut snapshot| {
                copy(&mut *snapshot, Target::open(other.path()).unwrap(), &mut || true)
            });
        let Err(CopyError::Backup(BackupError::Damaged(text))) = copied else { panic!("{copied:?}") };
        assert!(text.contains(table.name.strip_prefix("tables/").unwrap()), "{text}");
        flip(&path, at);
    }
    let (_folder, store) = restored(&rig);
    assert_eq!(content(&*store), rig.model.content());
}
