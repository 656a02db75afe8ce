//! Damaged bytes are reported, never read as rows.

use super::*;
use catchment_journal::{Disk, DiskFile};

use crate::store::{
    memtable::row::Row,
    tables::{block::TableBlock, error::TableError, index::read_index},
};

fn some_rows() -> Vec<Row> {
    (0..30).flat_map(|series| regular(series, 20 + u64::from(series) * 10, 22)).collect()
}

proptest! {
    #[test]
    fn a_flipped_byte_is_noticed(at in any::<prop::sample::Index>(), near_end in any::<bool>()) {
        let rows = some_rows();
        let disk = Arc::new(SimDisk::new(0));
        let summary = write(&disk, &rows);
        let bytes = summary.bytes as usize;
        let at = if near_end { bytes - 1 - at.index(300) } else { at.index(bytes) };
        prop_assert!(disk.flip(&path(), at as u64));
        let table = table(&disk, summary);
        if table.check().is_ok() {
            let (found, unread) = scan(&table);
            prop_assert_eq!(unread.len(), 1);
            let range = unread[0].range;
            let error = &unread[0].error;
            prop_assert!(matches!(error, TableError::Damaged { block: Some(_), .. }), "{error}");
            let lost = |row: &Row| (range.first..=range.last).contains(&(row.series, row.name.start));
            prop_assert!(found == rows.iter().filter(|row| !lost(row)).cloned().collect::<Vec<_>>());
            prop_assert!((0..table.block_count()).any(|number| table.block(number, None).is_err()));
        } else {
            prop_assert!(Table::inspect(Arc::clone(&disk), path()).is_err() || at < 16);
        }
    }

    #[test]
    fn another_length_is_noticed(at in any::<prop::sample::Index>(), longer in 0..100_u64) {
        let disk = Arc::new(SimDisk::new(0));
        let summary = write(&disk, &some_rows());
        let file = disk.open(&path()).unwrap();
        let length = if longer > 0 { summary.bytes + longer } else { at.index(summary.bytes as usize) as u64 };
        file.set_len(length).unwrap();
        let error = table(&disk, summary).check().unwrap_err();
        prop_assert!(matches!(error, TableError::Damaged { block: None, .. }), "{error}");
        prop_assert!(Table::inspect(Arc::clone(&disk), path()).is_err());
    }

    #[test]
    fn malformed_content_is_an_error_or_rows_in_order(rows in rows(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), pick in any::<prop::sample::Index>()) {
        let disk = Arc::new(SimDisk::new(0));
        let table = table(&disk, write(&disk, &rows));
        let block = table.block(pick.index(table.block_count() as usize) as u32, None).unwrap();
        let mut content = block.content().to_vec();
        for (at, byte) in changes {
            // Mostly in directory and columns.
            let at = at.index(content.len().min(600));
            content[at] = byte;
        }
        if let Some(block) = TableBlock::decode(content) {
            let found: Vec<RowRef<'_>> = block.all().collect();
            prop_assert_eq!(found.len(), block.row_count() as usize);
            prop_assert!(found.is_sorted_by(|a, b| (a.series, a.name) < (b.series, b.name)));
            for row in &found {
                let to = row.name.start.saturating_add_nanos(1);
                prop_assert!(block.rows(row.series, row.name.start, to).any(|found| found == *row));
            }
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_block(bytes in vec(prop_oneof![0..4_u8, any::<u8>()], 0..200)) {
        if let Some(block) = TableBlock::decode(bytes.clone()) {
            prop_assert_eq!(block.all().count(), block.row_count() as usize);
        }
        for blocks in 0..4 {
            read_index(&bytes, blocks, 100, (Resolution::Hour, 3));
        }
    }
}

#[test]
fn every_byte_of_a_small_table_counts() {
    let rows: Vec<Row> = regular(1, 3, 5).collect();
    let disk = Arc::new(SimDisk::new(0));
    let summary = write(&disk, &rows);
    for at in 0..summary.bytes {
        disk.flip(&path(), at);
        let table = table(&disk, summary);
        assert!(table.check().is_err() || scan(&table).1.len() == 1, "byte {at}");
        disk.flip(&path(), at);
    }
    assert!(scan(&table(&disk, summary)).0 == rows);
}

#[test]
fn another_table_in_its_place_is_noticed() {
    let disk = Arc::new(SimDisk::new(0));
    let summary = write(&disk, &regular(1, 50, 10).collect::<Vec<_>>());
    let wrong = [
        (Resolution::Minute, PARTITION, summary),
        (Resolution::Windows, PARTITION + 1, summary),
        (Resolution::Windows, PARTITION, TableSummary { rows: 49, ..summary }),
        (Resolution::Windows, PARTITION, TableSummary { index_crc: !summary.index_crc, ..summary }),
    ];
    for (resolution, partition, summary) in wrong {
        let table = Table::new(Arc::clone(&disk), path(), resolution, partition, summary);
        assert!(matches!(table.check(), Err(TableError::Damaged { .. })));
    }
}

#[test]
fn errors_name_the_file_and_the_block() {
    let disk = Arc::new(SimDisk::new(0));
    let summary = write(&disk, &regular(1, 50, 10).collect::<Vec<_>>());
    disk.flip(&path(), 40);
    let error = table(&disk, summary).block(0, None).unwrap_err();
    assert_eq!(error.to_string(), "/data/tables/1, block 0: its checksum differs");
    disk.remove(&path()).unwrap();
    let error = table(&disk, summary).check().unwrap_err();
    assert_eq!(error.to_string(), "/data/tables/1 is missing");
}
