//! Cost of adding readings to a [`Partial`]: few and many, one by one and as a run.
//!
//! Values walk in small steps with two decimals. Run: `cargo bench -p catchment-partial --bench push`.

use std::hint::black_box;

use catchment_partial::{Partial, Timestamp};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Readings one second apart: a random walk in small steps around a level, with two decimals.
fn readings(count: usize, level: f64) -> Vec<(Timestamp, f64)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = level;
    (0..count)
        .map(|at| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value += ((state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5) * 0.2;
            let time = Timestamp::from_nanos(1_700_000_000_000_000_000 + at as i64 * 1_000_000_000);
            (time, (value * 100.0).round() / 100.0)
        })
        .collect()
}

fn push(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("push");
    for (name, level) in [("around 21", 21.0), ("around 0", 0.0)] {
        for count in [10, 32, 1_000, 100_000] {
            let readings = readings(count, level);
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{count} {name}, one by one"), |bencher| {
                bencher.iter_batched(
                    Partial::empty,
                    |mut partial| {
                        for (time, value) in black_box(&readings) {
                            partial.push(*time, *value);
                        }
                        partial
                    },
                    BatchSize::SmallInput,
                );
            });
            group.bench_function(format!("{count} {name}, as a run"), |bencher| {
                bencher.iter_batched(
                    Partial::empty,
                    |mut partial| {
                        partial.push_run(black_box(&readings).iter().copied());
                        partial
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("push to many");
    let readings = readings(10_000, 21.0);
    let mut partial = Partial::empty();
    partial.push_run(readings.iter().copied());
    for count in [1, 2, 10] {
        let run = readings.get(..count).unwrap_or_default();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count}, one by one"), |bencher| {
            bencher.iter(|| {
                for (time, value) in black_box(run) {
                    partial.push(*time, *value);
                }
            });
        });
        group.bench_function(format!("{count}, as a run"), |bencher| {
            bencher.iter(|| partial.push_run(black_box(run).iter().copied()));
        });
    }
    group.finish();
}

criterion_group!(benches, push);
criterion_main!(benches);
