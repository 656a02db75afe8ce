//! Rows come back, all of them and by range.

use super::*;
use std::io::ErrorKind;

use crate::store::blocks::block::BODY_BYTES_MAX;

/// Rows of a series in a range, as a reader gets them.
fn read(
    table: &Table<SimDisk>,
    cache: &BlockCache,
    (series, from, to): (u32, Timestamp, Timestamp),
) -> Vec<Row> {
    let mut found = Vec::new();
    for number in table.blocks_of(series, from, to).unwrap() {
        let block = table.block(number, Some(cache)).unwrap();
        found.extend(block.rows(series, from, to).map(|row| row.owned()));
    }
    found
}

proptest! {
    #[test]
    fn rows_come_back(rows in rows(), picks in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3_i64, 0..3_i64), 8)) {
        let disk = Arc::new(SimDisk::new(0));
        let summary = write(&disk, &rows);
        prop_assert_eq!(summary.rows, rows.len() as u64);
        prop_assert_eq!(Some(summary.first), rows.iter().map(|row| row.name.start).min());
        prop_assert_eq!(Some(summary.last), rows.iter().map(|row| row.name.start).max());
        prop_assert_eq!(summary.least_series, rows[0].series);
        prop_assert_eq!(summary.greatest_series, rows[rows.len() - 1].series);
        let table = table(&disk, summary);
        table.check().unwrap();
        let (scanned, unread) = scan(&table);
        prop_assert!(unread.is_empty());
        prop_assert!(scanned == rows);

        let cache = BlockCache::new(1 << 20);
        for (a, b, before, after) in picks {
            let (a, b) = (a.get(&rows), b.get(&rows));
            let from = a.name.start.saturating_add_nanos(before - 1);
            let to = b.name.start.saturating_add_nanos(after - 1);
            let wanted = rows.iter().filter(|row| row.series == a.series && (from..to).contains(&row.name.start));
            prop_assert!(read(&table, &cache, (a.series, from, to)) == wanted.cloned().collect::<Vec<_>>());
        }
        prop_assert!(read(&table, &cache, (rows[0].series + 1_000_000, Timestamp::MIN, Timestamp::MAX)).is_empty());

        let inspected = Table::inspect(Arc::clone(&disk), path()).unwrap();
        prop_assert_eq!(inspected.summary(), table.summary());
        prop_assert_eq!((inspected.resolution(), inspected.partition()), (Resolution::Windows, PARTITION));
    }
}

#[test]
fn ranges_of_blocks_follow_the_rows() {
    let rows: Vec<Row> = (0..40).flat_map(|series| regular(series, 100, 22)).collect();
    let disk = Arc::new(SimDisk::new(0));
    let table = table(&disk, write(&disk, &rows));
    let mut next = 0;
    for number in 0..table.block_count() {
        let range = table.block_range(number).unwrap();
        let block = table.block(number, None).unwrap();
        let held = &rows[next..next + range.rows as usize];
        let place = |row: &Row| (row.series, row.name.start);
        assert_eq!((range.first, range.last), (place(&held[0]), place(&held[held.len() - 1])));
        assert_eq!(block.row_count(), range.rows);
        assert!(block.all().eq(held.iter().map(Row::borrowed)));
        next += held.len();
    }
    assert_eq!(next, rows.len());
    assert!(table.block_range(table.block_count()).is_err());
}

#[test]
fn long_series_stand_alone_and_short_ones_together() {
    let short = |series: std::ops::Range<u32>| series.flat_map(|series| regular(series, 10, 22));
    let rows: Vec<Row> = short(0..20).chain(regular(20, 8_000, 22)).chain(short(21..41)).collect();
    let disk = Arc::new(SimDisk::new(0));
    let table = table(&disk, write(&disk, &rows));
    let everything = |series| table.blocks_of(series, Timestamp::MIN, Timestamp::MAX).unwrap();
    assert_eq!(everything(0), everything(19));
    let long = everything(20);
    assert_eq!(long.start, 1, "it begins a block");
    assert!((6..=10).contains(&long.len()), "{long:?}");
    let at = rows[1_000].name.start;
    assert_eq!(table.blocks_of(20, at, at.saturating_add_nanos(1)).unwrap().len(), 1);
    assert_eq!(table.blocks_of(20, at, at).unwrap().len(), 0);
}

#[test]
fn what_is_no_row_of_the_table_is_refused() {
    let good: Vec<Row> = regular(5, 3, 10).collect();
    let mut refused = [good[1].clone(), good[0].clone(), good[2].clone(), good[2].clone(), good[2].clone()];
    refused[2].series = 4;
    refused[3].name.start = refused[3].name.start.saturating_add_nanos(86_400_000_000_000);
    refused[4].name.start = refused[4].name.start.saturating_add_nanos(1);
    let long = Row { body: vec![0; BODY_BYTES_MAX + 1].into(), ..good[2].clone() };
    for row in refused.iter().chain([&long]) {
        let disk = Arc::new(SimDisk::new(0));
        let mut writer = TableWriter::create(&disk, &path(), Resolution::Windows, PARTITION).unwrap();
        writer.push(good[0].borrowed()).unwrap();
        writer.push(good[1].borrowed()).unwrap();
        assert_eq!(writer.push(row.borrowed()).unwrap_err().kind(), ErrorKind::InvalidInput, "{row:?}");
        assert!(writer.push(good[2].borrowed()).is_err());
        assert!(writer.finish().is_err());
    }
    let disk = Arc::new(SimDisk::new(0));
    let writer = TableWriter::create(&disk, &path(), Resolution::Windows, PARTITION).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::InvalidInput, "no rows");
}

#[test]
fn order_is_checked_across_blocks() {
    let disk = Arc::new(SimDisk::new(0));
    let mut writer = TableWriter::create(&disk, &path(), Resolution::Windows, PARTITION).unwrap();
    let rows: Vec<Row> = regular(5, 2, BODY_BYTES_MAX).collect();
    writer.push(rows[0].borrowed()).unwrap();
    writer.push(rows[1].borrowed()).unwrap();
    assert!(writer.push(rows[1].borrowed()).is_err(), "the same row again, in another block");
}

#[test]
fn the_longest_bodies_fit() {
    let rows: Vec<Row> = (0..3).flat_map(|series| regular(series, 3, BODY_BYTES_MAX)).collect();
    let disk = Arc::new(SimDisk::new(0));
    let table = table(&disk, write(&disk, &rows));
    assert!(scan(&table).0 == rows);
}

#[test]
fn names_without_any_order_fit() {
    let number = |index: u64, of: u64| u64::from_le_bytes(body(index * 8 + of, 8).try_into().unwrap());
    let row = |index: u64| {
        let width = Width::from_millis(1 + (number(index, 0) % 10) as u32).unwrap();
        let start = start(width, (number(index, 1) % 8_000_000) as i64);
        let (epoch, shard, part) = (number(index, 2) as u32, number(index, 3) as u32, number(index, 4));
        let name = PartialName { start, width, epoch, shard, part };
        Row { series: 1, name, revision: number(index, 5), body: Default::default() }
    };
    let mut rows: Vec<Row> = (0..30_000).map(row).collect();
    resolve(&mut rows);
    let disk = Arc::new(SimDisk::new(0));
    assert!(scan(&table(&disk, write(&disk, &rows))).0 == rows);
}

#[test]
fn rows_at_the_ends_of_time() {
    for (resolution, time) in
        [Timestamp::MIN, Timestamp::MAX].into_iter().flat_map(|t| Resolution::ALL.map(|r| (r, t)))
    {
        let disk = Arc::new(SimDisk::new(0));
        let partition = resolution.partition_of(time);
        let width = resolution.interval().unwrap_or(Width::from_millis(7_000).unwrap());
        let name = |millis| {
            let width = Width::from_millis(millis).unwrap();
            PartialName {
                start: catchment_partial::Window::containing(time, width).start(),
                width,
                epoch: 0,
                shard: 0,
                part: 0,
            }
        };
        let mut names = vec![name(width.as_millis()), name(1)];
        names.sort();
        let rows: Vec<Row> = names
            .into_iter()
            .filter(|name| resolution.partition_of(name.start) == partition)
            .map(|name| Row { series: u32::MAX, name, revision: 1, body: vec![1].into() })
            .collect();
        let mut writer = TableWriter::create(&disk, &path(), resolution, partition).unwrap();
        rows.iter().for_each(|row| writer.push(row.borrowed()).unwrap());
        let table = Table::new(Arc::clone(&disk), path(), resolution, partition, writer.finish().unwrap());
        assert!(scan(&Arc::new(table)).0 == rows);
    }
}

#[test]
fn the_cache_is_bounded_and_answers_instead_of_the_disk() {
    let rows: Vec<Row> = regular(1, 8_000, 22).chain(regular(2, 8_000, 22)).collect();
    let disk = Arc::new(SimDisk::new(0));
    let table = table(&disk, write(&disk, &rows));
    let cache = BlockCache::new(200 << 10);
    for number in 0..table.block_count() {
        table.block(number, Some(&cache)).unwrap();
        assert!(cache.bytes() <= 200 << 10);
    }
    assert!(cache.bytes() > 100 << 10, "{}", cache.bytes());
    let first = table.block(0, Some(&cache)).unwrap();
    assert!(Arc::ptr_eq(&first, &table.block(0, Some(&cache)).unwrap()));
    assert!(!Arc::ptr_eq(&first, &table.block(0, None).unwrap()));

    let none = BlockCache::new(0);
    table.block(0, Some(&none)).unwrap();
    assert_eq!(none.bytes(), 0);
}
