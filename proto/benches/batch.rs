//! A batch of 1,000 partials from the wire into rows, with and without names, and back.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use catchment_partial::{Partial, Width, Window};
use catchment_proto::{Batch, Dictionary, Entry, Labels, MetricName, Name, Naming, SeriesKey, wire};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prost::{Message, bytes::Bytes};

const PARTIALS: u32 = 1_000;

/// A batch of `count` series, a window each, ten readings in each.
fn batch(number: u64, count: u32) -> Batch {
    let width = Width::from_millis(10_000).unwrap();
    let window = Window::from_index(170_000_000 + number as i64, width).unwrap();
    let mut partial = Partial::empty();
    for i in 0..10 {
        partial.push(window.start().saturating_add_nanos(i * 1_000_000_000), 21.5 + i as f64 / 100.0);
    }
    let mut body = Vec::new();
    partial.encode(window.start(), &mut body);
    let series = |i: u32| SeriesKey {
        device: Name::new(&format!("device-{:05}", i / 10)).unwrap(),
        metric: MetricName::new(["temperature", "humidity", "pressure"][i as usize % 3]).unwrap(),
        labels: Labels::new([("place", format!("{}", i % 10).as_str())]).unwrap(),
    };
    let part = |i: u32| number * 1_000_000 + u64::from(i) * 60;
    Batch {
        shard: 0,
        number,
        watermark: Some(window.end()),
        live: false,
        width,
        series: (0..count).map(|i| series(i).into()).collect(),
        entries: (0..count)
            .map(|i| Entry {
                series: i,
                window,
                part: part(i),
                revision: part(i) + 54_321,
                body: body.clone().into(),
            })
            .collect(),
    }
}

fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(PARTIALS.into()));
    let first = batch(1, PARTIALS);
    let (mut naming, mut dictionary) = (Naming::default(), Dictionary::default());
    dictionary.read(naming.shorten((&first).into())).unwrap();
    let named = wire::Batch::from(&first);
    let short = Bytes::from(naming.shorten(named.clone()).encode_to_vec());
    let long = Bytes::from(named.encode_to_vec());
    group.bench_function("decode, series known", |b| {
        b.iter(|| dictionary.read(wire::Batch::decode(short.clone()).unwrap()).unwrap());
    });
    group.bench_function("decode, series named", |b| {
        b.iter(|| Batch::try_from(wire::Batch::decode(long.clone()).unwrap()).unwrap());
    });
    let mut out = Vec::new();
    group.bench_function("encode, series named", |b| {
        b.iter(|| {
            out.clear();
            first.encode(&mut out);
        });
    });
    group.bench_function("leave known names out", |b| {
        b.iter_batched(|| named.clone(), |named| naming.shorten(named), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
