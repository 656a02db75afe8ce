//! Push, merge, encode, decode and check of partials with ten readings (kept exactly) and a thousand (a sketch).

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use catchment_partial::{Partial, Timestamp};
use criterion::{Criterion, criterion_group, criterion_main};

/// Readings with two decimals, spread over ten seconds.
fn readings(count: i64, seed: i64) -> Vec<(Timestamp, f64)> {
    let one = |i: i64| {
        let value = 2_150 + (i * 7_919 + seed * 104_729) % 211;
        (Timestamp::from_millis(i * 10_000 / count).unwrap(), value as f64 / 100.0)
    };
    (0..count).map(one).collect()
}

fn of(count: i64, seed: i64) -> Partial {
    let mut partial = Partial::empty();
    partial.push_run(readings(count, seed));
    partial
}

fn partials(c: &mut Criterion) {
    let base = Timestamp::from_millis(0).unwrap();
    for count in [10, 1_000] {
        let mut group = c.benchmark_group(format!("{count} readings"));
        let (input, one, other) = (readings(count, 1), of(count, 1), of(count, 2));
        let mut bytes = Vec::new();
        one.encode(base, &mut bytes);
        group.bench_function("push", |b| {
            b.iter(|| {
                let mut partial = Partial::empty();
                partial.push_run(black_box(&input).iter().copied());
                partial
            });
        });
        group.bench_function("merge", |b| {
            b.iter(|| {
                let mut merged = one.clone();
                merged.merge(black_box(&other));
                merged
            });
        });
        let mut out = Vec::new();
        group.bench_function("encode", |b| {
            b.iter(|| {
                out.clear();
                black_box(&one).encode(base, &mut out);
            });
        });
        group.bench_function("decode", |b| b.iter(|| Partial::decode(black_box(&bytes), base).unwrap()));
        group.bench_function("check", |b| b.iter(|| Partial::check(black_box(&bytes), base).unwrap()));
        group.finish();
    }
}

criterion_group!(benches, partials);
criterion_main!(benches);
