//! Files: never written over, whole or no table after a failure, removed with their last reader.

use super::*;
use std::io::ErrorKind;

use catchment_journal::Disk;

fn many_rows() -> Vec<Row> {
    (0..8).flat_map(|series| regular(series, 5_000, 40)).collect()
}

/// Writes until the disk fails; the number of rows is that of a table of several writes.
fn try_write(disk: &Arc<SimDisk>, rows: &[Row]) -> std::io::Result<TableSummary> {
    let mut writer = TableWriter::create(disk, &path(), Resolution::Windows, PARTITION)?;
    for row in rows {
        writer.push(row.borrowed())?;
    }
    writer.finish()
}

#[test]
fn a_file_is_never_written_over() {
    let disk = Arc::new(SimDisk::new(0));
    let rows: Vec<Row> = regular(1, 9, 9).collect();
    let summary = write(&disk, &rows);
    assert_eq!(try_write(&disk, &rows).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(scan(&table(&disk, summary)).0 == rows);
}

#[test]
fn a_table_survives_a_crash_once_finished_and_named() {
    let rows = many_rows();
    for seed in 0..8 {
        let mut disk = SimDisk::new(seed);
        let shared = Arc::new(disk.clone());
        let summary = write(&shared, &rows);
        shared.sync_dir(&PathBuf::from("/data/tables")).unwrap();
        disk.crash();
        let table = table(&Arc::new(disk), summary);
        let (found, unread) = scan(&table);
        assert!(found == rows && unread.is_empty());
    }
}

#[test]
fn a_crash_amid_writing_leaves_no_table() {
    let rows = many_rows();
    for seed in 0..32 {
        let mut disk = SimDisk::new(seed);
        let shared = Arc::new(disk.clone());
        let mut writer = TableWriter::create(&shared, &path(), Resolution::Windows, PARTITION).unwrap();
        for row in rows.iter().take(1 + seed as usize * 1_000) {
            writer.push(row.borrowed()).unwrap();
        }
        shared.sync_dir(&PathBuf::from("/data/tables")).unwrap();
        disk.crash();
        assert!(Table::inspect(Arc::new(disk), path()).is_err());
        assert!(writer.finish().is_err(), "the machine is gone");
    }
}

#[test]
fn a_failed_write_or_sync_fails_the_table() {
    let rows = many_rows();
    let (mut writes, mut failed) = (0, 0);
    loop {
        let disk = Arc::new(SimDisk::new(1));
        disk.fail_write_after(writes);
        match try_write(&disk, &rows) {
            Ok(_) => break,
            Err(_) => failed += 1,
        }
        assert!(Table::inspect(Arc::clone(&disk), path()).is_err());
        writes += 1;
    }
    assert!(failed > 3, "the table takes several writes");
    let disk = Arc::new(SimDisk::new(1));
    disk.fail_sync_after(0);
    assert!(try_write(&disk, &rows).is_err());
    let disk = Arc::new(SimDisk::new(1));
    disk.set_quota(Some(100 << 10));
    assert_eq!(try_write(&disk, &rows).unwrap_err().kind(), ErrorKind::StorageFull);
}

#[test]
fn a_failed_writer_writes_nothing_more() {
    let rows = many_rows();
    let disk = Arc::new(SimDisk::new(1));
    let mut writer = TableWriter::create(&disk, &path(), Resolution::Windows, PARTITION).unwrap();
    disk.fail_write_after(0);
    let failed = rows.iter().position(|row| writer.push(row.borrowed()).is_err()).unwrap();
    let written = disk.bytes_written();
    assert!(writer.push(rows[failed + 1].borrowed()).is_err());
    assert!(writer.finish().is_err());
    assert_eq!(disk.bytes_written(), written);
}

#[test]
fn a_replaced_table_is_read_to_the_end_and_then_removed() {
    let disk = Arc::new(SimDisk::new(0));
    let rows = many_rows();
    let summary = write(&disk, &rows);
    let dropped = table(&disk, summary);
    drop(dropped);
    assert_eq!(disk.files().len(), 1, "only a replaced one is removed");

    let replaced = table(&disk, summary);
    let reader = TableScan::new(Arc::clone(&replaced)).unwrap();
    replaced.remove_when_dropped();
    assert!(scan(&replaced).0 == rows);
    drop(replaced);
    assert_eq!(disk.files().len(), 1);
    drop(reader);
    assert!(disk.files().is_empty());
}

#[test]
fn the_estimate_of_bytes_is_near() {
    let disk = Arc::new(SimDisk::new(0));
    let mut writer = TableWriter::create(&disk, &path(), Resolution::Windows, PARTITION).unwrap();
    for row in many_rows() {
        writer.push(row.borrowed()).unwrap();
    }
    let estimate = writer.bytes();
    let bytes = writer.finish().unwrap().bytes;
    assert!(estimate.abs_diff(bytes) < 64 << 10, "{estimate} {bytes}");
}
