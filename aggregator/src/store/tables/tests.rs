//! Tests of tables as a whole, on the simulated disk: what was written is read, or the damage is reported.

mod damage;
mod disk;
mod rows;

use std::{path::PathBuf, sync::Arc};

use catchment_journal::sim::SimDisk;
use catchment_partial::{Timestamp, Width};
use proptest::{collection::vec, prelude::*};

use super::{
    cache::BlockCache,
    resolution::Resolution,
    scan::{ScanStep, TableScan, UnreadBlock},
    table::Table,
    writer::{TableSummary, TableWriter},
};
use crate::store::memtable::row::{PartialName, Row, RowRef, resolve};

const PARTITION: i32 = 20_000;

fn path() -> PathBuf {
    PathBuf::from("/data/tables/1")
}

/// Writes windows of [`PARTITION`].
fn write(disk: &Arc<SimDisk>, rows: &[Row]) -> TableSummary {
    let mut writer = TableWriter::create(disk, &path(), Resolution::Windows, PARTITION).unwrap();
    for row in rows {
        writer.push(row.borrowed()).unwrap();
    }
    assert_eq!(writer.rows(), rows.len() as u64);
    writer.finish().unwrap()
}

fn table(disk: &Arc<SimDisk>, summary: TableSummary) -> Arc<Table<SimDisk>> {
    Arc::new(Table::new(Arc::clone(disk), path(), Resolution::Windows, PARTITION, summary))
}

/// All rows that can be read, and the blocks that cannot.
fn scan(table: &Arc<Table<SimDisk>>) -> (Vec<Row>, Vec<UnreadBlock>) {
    let mut scan = TableScan::new(Arc::clone(table)).unwrap();
    let (mut rows, mut unread) = (Vec::new(), Vec::new());
    assert!(scan.row().is_none());
    loop {
        match scan.advance() {
            ScanStep::Row => rows.push(scan.row().unwrap().owned()),
            ScanStep::Unread(block) => unread.push(block),
            ScanStep::End => break,
        }
    }
    assert!(scan.row().is_none());
    (rows, unread)
}

/// The start of a window of some width in the partition, by its index there.
fn start(width: Width, index: i64) -> Timestamp {
    let first = Resolution::Windows.partition_start(PARTITION).as_nanos();
    let index = first.div_euclid(width.as_nanos()) + 1 + index;
    Timestamp::from_nanos(index * width.as_nanos())
}

/// Bytes that depend on a seed; zstd shrinks them little.
fn body(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut byte = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 56) as u8
    };
    (0..length).map(|_| byte()).collect()
}

/// Regular windows of 10 s.
fn regular(series: u32, windows: u64, bytes: usize) -> impl Iterator<Item = Row> {
    let width = Width::from_millis(10_000).unwrap();
    (0..windows).map(move |index| Row {
        series,
        name: PartialName {
            start: start(width, index as i64),
            width,
            epoch: 3,
            shard: 1,
            part: 1_000 + 40 * index,
        },
        revision: 1_000 + 40 * index,
        body: body(index ^ u64::from(series) << 32, bytes).into(),
    })
}

/// Rows of a few series: mostly regular, with gaps, other widths, repeated windows, long and empty bodies.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let width = prop_oneof![4 => Just(10_000), 1 => Just(7_000), 1 => Just(1), 1 => Just(3_600_000)];
    let length = prop_oneof![8 => 0..40_usize, 1 => 40..3_000_usize, 1 => 20_000..40_000_usize];
    let row =
        (width, 0..3_i64, prop_oneof![Just(40), any::<u64>()], prop_oneof![Just(0), any::<u64>()], length);
    let run = (row, prop_oneof![3 => 1..4_i64, 1 => 1..800_i64], 0..2_u32, any::<u32>());
    let series = (0..3_u32, vec(run, 1..6));
    vec(series, 1..12).prop_map(|all| {
        let (mut rows, mut series) = (Vec::new(), 0);
        for (step, runs) in all {
            series += step * step * 400;
            let (mut index, mut part) = (0, 7);
            for ((width, gap, step, revision, length), times, shard, epoch) in runs {
                let width = Width::from_millis(width).unwrap();
                // Few rows of long bodies; windows of an hour leave the partition soon.
                let times = if length > 100 { times.min(4) } else { times };
                for _ in 0..if width.as_millis() > 10_000 { times.min(8) } else { times } {
                    index += gap;
                    part = step.wrapping_add(part);
                    let at = start(width, index % (80_000_000 / i64::from(width.as_millis())));
                    let name = PartialName { start: at, width, epoch: epoch % 3, shard, part };
                    let body = body(part ^ index as u64, length).into();
                    rows.push(Row { series, name, revision: part.wrapping_add(revision), body });
                }
            }
        }
        resolve(&mut rows);
        rows
    })
}
