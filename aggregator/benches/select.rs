//! Selecting series of a store with a million of them: 100,000 devices with ten each.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../../proto/benches/sample/mod.rs"]
mod sample;

use std::{path::Path, sync::Arc};

use catchment_aggregator::{
    query::Selector,
    store::{EmbeddedStore, GatewayEpoch, IngestStore as _, MemoryTree, QueryStore, StoreConfig},
};
use catchment_journal::{Committer, sim::SimDisk};
use catchment_proto::{Batch, GatewayId, Labels, MetricName, Name, SeriesKey};
use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;

const SERIES: u64 = 1_000_000;
const A_BATCH: u32 = 4_000;

type Opened = (Arc<EmbeddedStore<SimDisk>>, Committer<SimDisk>);

fn open() -> Opened {
    let bound = Some(2 * SERIES as usize);
    let config = StoreConfig {
        series_max: 2 * SERIES as usize,
        series_per_site_max: bound,
        series_per_gateway_max: bound,
        memory_bytes_max: 4 << 30,
        ..StoreConfig::default()
    };
    let disk = Arc::new(SimDisk::new(1));
    let (store, committer, _) =
        EmbeddedStore::manual(disk, Path::new("/data"), config, MemoryTree::default()).unwrap();
    (store, committer)
}

fn fill((store, committer): &mut Opened) {
    let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new("g1").unwrap() };
    let epoch =
        GatewayEpoch { gateway, id: 1, created_ms: 1, shards: 1, run: 0, previous_runs: Default::default() };
    for number in 1..=SERIES / u64::from(A_BATCH) {
        let key = |i: u64| SeriesKey {
            device: Name::new(&format!("press-{:06}", i / 10)).unwrap(),
            metric: MetricName::new(&format!("m{}", i % 10)).unwrap(),
            labels: Labels::new([("room", (i / 1_000).to_string().as_str())]).unwrap(),
        };
        let first = (number - 1) * u64::from(A_BATCH);
        let series = (first..first + u64::from(A_BATCH)).map(|i| key(i).into()).collect();
        let mut taken = store.put(&epoch, Batch { series, ..sample::batch(number, A_BATCH) }, false);
        assert!((&mut taken).now_or_never().is_none(), "not before it is durable");
        committer.step().unwrap();
        taken.now_or_never().unwrap().unwrap();
        store.flush_now().unwrap();
    }
}

fn count(store: &dyn QueryStore, selector: &Selector) -> usize {
    let mut selection = store.select(selector);
    std::iter::from_fn(|| selection.next_page()).map(|page| page.len()).sum()
}

fn selections(c: &mut Criterion) {
    let mut opened = open();
    fill(&mut opened);
    let store = &*opened.0;
    // The first one indexes.
    assert_eq!(count(store, &Selector::default()), SERIES as usize);
    let mut group = c.benchmark_group("select");
    group.sample_size(10);
    for (text, found) in [
        (r#"{device="press-012345"}"#, 10),
        (r#"m0{device=~"press-0123.."}"#, 100),
        (r#"{device=~"press-.*777"}"#, 1_000),
        (r#"m0{device=~".*[13579]7."}"#, 5_000),
        (r#"m0{site="berlin",room!~"1.*",device!~".*[0-8]"}"#, 8_890),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(count(store, &selector), found, "{text}");
        group.bench_function(text, |b| b.iter(|| count(store, &selector)));
    }
    group.finish();
}

criterion_group!(benches, selections);
criterion_main!(benches);
