//! The store without network and disk: batches are checked, journalled, applied and flushed into a tree in memory.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../../proto/benches/sample/mod.rs"]
mod sample;

use std::{path::Path, sync::Arc};

use catchment_aggregator::store::{
    EmbeddedStore, GatewayEpoch, IngestStore as _, MemoryTree, ReadAll as _, StoreConfig,
};
use catchment_journal::{Committer, sim::SimDisk};
use catchment_partial::Partial;
use catchment_proto::{Batch, GatewayId, Name};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;

use sample::batch;

const SERIES: u32 = 1_000;
const BATCHES: u64 = 30;

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
    // As on a stream: all batches share their series.
    let rest = (2..=BATCHES).map(|number| Batch { series: first.series.clone(), ..batch(number, SERIES) });
    (store, committer, [first.clone()].into_iter().chain(rest).collect())
}

fn put((store, mut committer, batches): Opened) -> Arc<EmbeddedStore<SimDisk>> {
    let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() };
    let epoch =
        GatewayEpoch { gateway, id: 1, created_ms: 1, shards: 1, run: 0, previous_runs: Default::default() };
    for batch in batches {
        let mut taken = store.put(&epoch, batch, false);
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
    let flushed = |store: Arc<EmbeddedStore<SimDisk>>| {
        store.flush_now().unwrap();
        store
    };
    group.bench_function("flush", |b| b.iter_batched(|| put(open()), flushed, BatchSize::PerIteration));
    let flushed = put(open());
    flushed.flush_now().unwrap();
    let all: Vec<_> = flushed.all_series().iter().map(|series| series.id).collect();
    let (from, to) = (catchment_partial::Timestamp::MIN, catchment_partial::Timestamp::MAX);
    group.bench_function("scan blocks, series by series", |b| {
        b.iter(|| {
            let mut count = 0;
            let mut visit = |_, _, _: &Partial| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            };
            flushed.scan(&all, from, to, &mut visit).unwrap();
            assert_eq!(count, BATCHES * u64::from(SERIES));
        });
    });
    group.finish();
}

criterion_group!(benches, stores);
criterion_main!(benches);
