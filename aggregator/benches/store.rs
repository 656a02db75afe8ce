//! The store without network and disk: batches checked, journalled and applied, and packed into a tree in memory.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::{path::Path, sync::Arc};

use catchment_aggregator::store::{EmbeddedStore, MemoryTree, Origin, Store, StoreConfig};
use catchment_journal::{Committer, sim::SimDisk};
use catchment_partial::{Partial, Width, Window};
use catchment_proto::{Batch, Entry, GatewayId, Labels, MetricName, Name, SeriesKey};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;

const SERIES: u32 = 1_000;
const BATCHES: u64 = 30;

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

type Opened = (Arc<EmbeddedStore<SimDisk>>, Committer<SimDisk>, Vec<Batch>);

fn open() -> Opened {
    let (store, committer, _) = EmbeddedStore::manual(
        Arc::new(SimDisk::new(1)),
        Path::new("/data"),
        StoreConfig::default(),
        MemoryTree::default(),
    )
    .unwrap();
    let first = batch(1, SERIES);
    // As on a stream: all batches share what they know of a series.
    let rest = (2..=BATCHES).map(|number| Batch { series: first.series.clone(), ..batch(number, SERIES) });
    (store, committer, [first.clone()].into_iter().chain(rest).collect())
}

fn put((store, mut committer, batches): Opened) -> Arc<EmbeddedStore<SimDisk>> {
    let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() };
    let origin = Origin { gateway, epoch: 1, epoch_created_ms: 1, shards: 1 };
    for batch in batches {
        let mut taken = store.put(&origin, batch, false);
        assert!((&mut taken).now_or_never().is_none(), "not before it is durable");
        committer.step().unwrap();
        taken.now_or_never().unwrap().unwrap();
    }
    store.stats();
    store
}

fn stores(c: &mut Criterion) {
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(BATCHES * u64::from(SERIES)));
    group.sample_size(20);
    group.bench_function("put", |b| b.iter_batched(open, put, BatchSize::PerIteration));
    let packed = |store: Arc<EmbeddedStore<SimDisk>>| {
        store.pack_now().unwrap();
        store
    };
    group.bench_function("pack", |b| b.iter_batched(|| put(open()), packed, BatchSize::PerIteration));
    let packed = put(open());
    packed.pack_now().unwrap();
    let all: Vec<_> = packed.series(&|_, _| true).iter().map(|series| series.id).collect();
    let (from, to) = (catchment_partial::Timestamp::MIN, catchment_partial::Timestamp::MAX);
    group.bench_function("scan packs, series by series", |b| {
        b.iter(|| {
            let mut count = 0;
            let mut visit = |_, _, _: &Partial| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            };
            packed.scan(&all, from, to, &mut visit).unwrap();
            assert_eq!(count, BATCHES * u64::from(SERIES));
        });
    });
    group.finish();
}

criterion_group!(benches, stores);
criterion_main!(benches);
