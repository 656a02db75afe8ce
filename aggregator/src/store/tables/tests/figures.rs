//! Figures of size and speed; run with `--ignored --nocapture`.

use super::*;
use std::{hint::black_box, time::Instant};

use catchment_journal::RealDisk;
use catchment_partial::Partial;

use crate::store::tables::{block::TableBlock, compression::decompress};

/// A window of ten readings of two decimals, a random walk.
fn window(series: u32, index: u64, walk: &mut i64) -> Vec<u8> {
    let width = Width::from_millis(10_000).unwrap();
    let base = start(width, index as i64);
    let mut partial = Partial::empty();
    for (reading, step) in body(index ^ u64::from(series) << 20, 10).into_iter().enumerate() {
        *walk += i64::from(step % 21) - 10;
        partial.push(base.saturating_add_nanos(reading as i64 * 1_000_000_000), *walk as f64 / 100.0);
    }
    let mut bytes = Vec::new();
    partial.encode(base, &mut bytes);
    bytes
}

fn windows(series: u32, count: u64, part_noise: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    for series in 0..series {
        let mut walk = 2_000 + i64::from(series);
        for mut row in regular(series, count, 0) {
            let index = (row.name.part - 1_000) / 40;
            row.body = window(series, index, &mut walk).into();
            if part_noise > 0 {
                let noise = body(index + u64::from(series), 3);
                row.name.part = index * 13_000_000 + u64::from(noise[0]) * part_noise + u64::from(noise[1]);
                row.revision = row.name.part + 13_000_000 + u64::from(noise[2]) * part_noise;
            }
            rows.push(row);
        }
    }
    rows
}

fn report(name: &str, rows: &[Row]) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk);
    let path = folder.path().join("table");
    let began = Instant::now();
    let mut writer = TableWriter::create(&disk, &path, Resolution::Windows, PARTITION).unwrap();
    rows.iter().for_each(|row| writer.push(row.borrowed()).unwrap());
    let pushed = began.elapsed();
    let summary = writer.finish().unwrap();
    let table = Table::new(disk, path, Resolution::Windows, PARTITION, summary);
    let count = rows.len() as f64;
    let bodies: usize = rows.iter().map(|row| row.body.len()).sum();
    let (mut stored, mut content) = (Vec::new(), 0);
    for number in 0..table.block_count() {
        let (file, entry) = table.entry(number).unwrap();
        let mut bytes = vec![0; entry.stored as usize];
        table.read(file, &mut bytes, entry.offset, None).unwrap();
        content += entry.content as usize;
        stored.push((bytes, entry.content as usize));
    }
    println!(
        "{name}: {count} rows, {} blocks; bodies {:.2}, content {:.2}, file {:.2} bytes a row; written {:.1} M rows/s",
        summary.blocks,
        bodies as f64 / count,
        content as f64 / count,
        summary.bytes as f64 / count,
        count / pushed.as_secs_f64() / 1e6,
    );
    let best = |run: &mut dyn FnMut()| {
        let times = (0..5).map(|_| {
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64()
        });
        times.fold(f64::MAX, f64::min)
    };
    let seconds =
        best(&mut || stored.iter().for_each(|(bytes, length)| drop(black_box(decompress(bytes, *length)))));
    print!("  decompress {:.0} MB/s", content as f64 / seconds / 1e6);
    let contents: Vec<Vec<u8>> =
        stored.iter().map(|(bytes, length)| decompress(bytes, *length).unwrap()).collect();
    let mut blocks: Vec<TableBlock> = Vec::new();
    let seconds =
        best(&mut || blocks = contents.iter().map(|c| TableBlock::decode(c.clone()).unwrap()).collect());
    print!("; check {:.1} ns a row", seconds * 1e9 / count);
    let seconds = best(&mut || {
        for block in &blocks {
            block.all().for_each(|row| {
                black_box(row);
            });
        }
    });
    print!("; read {:.1} ns a row", seconds * 1e9 / count);
    let seconds = best(&mut || {
        for block in &blocks {
            let ((series, _), (_, last)) = block.range();
            black_box(block.rows(series, last, Timestamp::MAX).count());
        }
    });
    println!("; skip to the last row of a block {:.0} ns", seconds * 1e9 / blocks.len() as f64);
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    report("200 series of 8,000 windows", &windows(200, 8_000, 0));
    report("200 series of 8,000 windows, parts by position", &windows(200, 8_000, 1_000));
    report("100,000 series of 6 windows", &windows(100_000, 6, 0));
    report("100,000 series of 6 windows, parts by position", &windows(100_000, 6, 1_000));
    report("300,000 series of 1 window", &windows(300_000, 1, 0));
}
