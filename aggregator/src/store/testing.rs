//! For the store's tests: batches, a naive model of the content a store must have, and readers of a store's content.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use catchment_partial::{Partial, Timestamp, Width, Window};
use catchment_proto::{Batch, Entry, GatewayId, History, Labels, MetricName, Name, SeriesKey};
use proptest::prelude::*;

use crate::store::{
    EmbeddedStore, GatewayEpoch, Merged, OpenReport, ProgressReport, QueryStore, ReadAll as _, RowRequest,
    Steps, StoreConfig, embedded::locks::lock,
};

pub(in crate::store) const WIDTH_MS: u32 = 10_000;

pub(in crate::store) fn epoch(gateway: &str, id: u64) -> GatewayEpoch {
    let gateway = GatewayId { site: Name::new("berlin").unwrap(), name: Name::new(gateway).unwrap() };
    GatewayEpoch { gateway, id, created_ms: id as i64, shards: 2, run: 0, previous_runs: Default::default() }
}

pub(in crate::store) fn key(metric: &str) -> SeriesKey {
    let (device, metric) = (Name::new("d").unwrap(), MetricName::new(metric).unwrap());
    SeriesKey { device, metric, labels: Labels::none() }
}

pub(in crate::store) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000).unwrap()
}

pub(in crate::store) fn window(index: i64) -> Window {
    Window::from_index(index, Width::from_millis(WIDTH_MS).unwrap()).unwrap()
}

/// A body of `readings` readings that depend on the revision.
pub(in crate::store) fn body(window: Window, revision: u64, readings: usize) -> Bytes {
    let mut partial = Partial::empty();
    for reading in 0..readings {
        let time = window.start().saturating_add_nanos(reading as i64 * 1_000_000);
        partial.push(time, revision as f64 + reading as f64 / 8.0);
    }
    let mut bytes = Vec::new();
    partial.encode(window.start(), &mut bytes);
    bytes.into()
}

/// A partial of a batch: series, window index, part, revision.
pub(in crate::store) fn entry(series: u32, index: i64, part: u64, revision: u64) -> Entry {
    let window = window(index);
    Entry { series, window, part, revision, body: body(window, revision, 3) }
}

/// A batch with the series that its entries use.
pub(in crate::store) fn batch(shard: u32, number: u64, mut entries: Vec<Entry>) -> Batch {
    let used: BTreeSet<u32> = entries.iter().map(|entry| entry.series).collect();
    let used: Vec<u32> = used.into_iter().collect();
    for entry in &mut entries {
        entry.series = used.binary_search(&entry.series).unwrap() as u32;
    }
    Batch {
        shard,
        number,
        watermark: None,
        live: number == 0,
        names_epoch: 0,
        history: History::default(),
        refused: Vec::new(),
        width: Width::from_millis(WIDTH_MS).unwrap(),
        series: used.iter().map(|series| key(["a", "b", "c"][*series as usize]).into()).collect(),
        entries,
    }
}

type ModelName = (GatewayId, SeriesKey, Window, u64, u32, u64);

/// The highest revision of each name, and nothing else.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Model(BTreeMap<ModelName, (u64, Bytes)>);

/// Bodies by gateway, series and window, sorted.
pub(in crate::store) type Content = BTreeMap<(GatewayId, SeriesKey, Window), Vec<Vec<u8>>>;

impl Model {
    pub(in crate::store) fn put(&mut self, epoch: &GatewayEpoch, batch: &Batch) {
        for entry in &batch.entries {
            let key = batch.series[entry.series as usize].key().clone();
            let names = if batch.names_epoch == 0 { epoch.id } else { batch.names_epoch };
            let name = (epoch.gateway.clone(), key, entry.window, names, batch.shard, entry.part);
            let new = (entry.revision, entry.body.clone());
            match self.0.entry(name) {
                btree_map::Entry::Vacant(slot) => drop(slot.insert(new)),
                btree_map::Entry::Occupied(mut slot) if slot.get().0 < new.0 => drop(slot.insert(new)),
                btree_map::Entry::Occupied(_) => {}
            }
        }
    }

    pub(in crate::store) fn content(&self) -> Content {
        let mut content = Content::new();
        for ((gateway, key, window, ..), (_, body)) in &self.0 {
            content.entry((gateway.clone(), key.clone(), *window)).or_default().push(body.to_vec());
        }
        content.values_mut().for_each(|bodies| bodies.sort());
        content
    }

    pub(in crate::store) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Everything that queries of a store see; checks that windows are in order.
pub(in crate::store) fn content(store: &dyn QueryStore) -> Content {
    content_of(store, Timestamp::MIN, Timestamp::MAX)
}

pub(in crate::store) fn content_of(store: &dyn QueryStore, from: Timestamp, to: Timestamp) -> Content {
    let mut content = Content::new();
    for series in store.all_series() {
        let mut last = Timestamp::MIN;
        let mut visit = |id, window: Window, partial: &Partial| {
            assert_eq!(id, series.id);
            assert!(window.start() >= last, "windows in order of their start");
            last = window.start();
            let mut body = Vec::new();
            partial.encode(window.start(), &mut body);
            content.entry((series.gateway.clone(), series.key.clone(), window)).or_default().push(body);
            ControlFlow::Continue(())
        };
        store.scan(&[series.id], from, to, &mut visit).unwrap();
    }
    content.values_mut().for_each(|bodies| bodies.sort());
    content
}

/// The points of a series in a range, and how they are read.
fn points(store: &dyn QueryStore, request: RowRequest) -> BTreeMap<i64, Partial> {
    let mut points: BTreeMap<i64, Partial> = BTreeMap::new();
    let mut reader = store.rows(&request).unwrap();
    let mut last = Timestamp::MIN;
    let mut visit = |window: Window, body: &[u8]| {
        assert!(window.start() >= last, "rows in order of their start");
        last = window.start();
        let point = request.steps.start_of(window.start().as_millis()).unwrap_or(0);
        points.entry(point).or_default().merge_encoded_across_series(body, window.start()).unwrap();
    };
    while reader.advance(&mut visit).unwrap() {}
    assert_eq!(reader.damaged(), []);
    points
}

/// Checks that answers from merged rows are those from windows, bit for bit, whatever the step and the range.
pub(in crate::store) fn assert_merged_alike(store: &dyn QueryStore) {
    for series in store.all_series() {
        let (_, last) = series.windows;
        let ragged = |time: Timestamp| time.saturating_add_nanos(7_000_000_000);
        for (from, to) in [
            (Timestamp::MIN, Timestamp::MAX),
            (ragged(last.saturating_sub_nanos(2 * 3_600_000_000_000)), Timestamp::MAX),
        ] {
            let last_ms = last.as_millis();
            for steps in [
                Steps::Whole,
                Steps::Every(60_000),
                Steps::Every(90_000),
                Steps::Every(7_200_000),
                Steps::At((0..40).map(|n| last_ms - (40 - n) * 5_430_000).collect()),
            ] {
                let request =
                    |resolution| RowRequest { series: series.id, from, to, steps: steps.clone(), resolution };
                let windows = points(store, request(Merged::OnlyWithoutWindows));
                assert_eq!(
                    points(store, request(Merged::Allowed)),
                    windows,
                    "{series:?} {from:?} {to:?} {steps:?}"
                );
            }
        }
    }
}

/// Like [`content`], without the series that cannot be read; true if there are any.
pub(in crate::store) fn content_as_far(store: &dyn QueryStore) -> (Content, bool) {
    let (mut content, mut unread) = (Content::new(), false);
    for series in store.all_series() {
        let mut visit = |_, window: Window, partial: &Partial| {
            let mut body = Vec::new();
            partial.encode(window.start(), &mut body);
            content.entry((series.gateway.clone(), series.key.clone(), window)).or_default().push(body);
            ControlFlow::Continue(())
        };
        unread |= store.scan(&[series.id], Timestamp::MIN, Timestamp::MAX, &mut visit).is_err();
    }
    content.values_mut().for_each(|bodies| bodies.sort());
    (content, unread)
}

/// Small limits; flushes only on request.
pub(in crate::store) fn config() -> StoreConfig {
    StoreConfig { flush_every: std::time::Duration::from_secs(3600), ..StoreConfig::default() }
}

pub(in crate::store) fn open(data: &Path) -> (Arc<EmbeddedStore>, OpenReport) {
    EmbeddedStore::open(data, config()).unwrap()
}

/// Copies the data folder of a store as a crash would leave it. (Nothing may be delivered meanwhile.)
pub(in crate::store) fn copy_of(store: &EmbeddedStore, from: &Path, to: &Path) {
    // Tables may be written and removed meanwhile, but none is named.
    let _quiet = lock(&store.inner.flush_lock);
    copy(from, to);
}

/// Copies a folder. Files that are removed meanwhile are left out.
pub(in crate::store) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            match std::fs::copy(entry.path(), target) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

/// Entries of a batch: few names, so that they collide; windows in several buckets.
pub(in crate::store) fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let index = prop_oneof![0..4_i64, 358..362_i64, -2..0_i64, Just(1_000_000_i64)];
    let one = (0..3_u32, index, 1..4_u64, 0..5_u64);
    let one = one.prop_map(|(series, index, part, more)| entry(series, index, part, part + more));
    proptest::collection::vec(one, 0..12)
}

/// A report on a shard from a gateway of an earlier version.
pub(in crate::store) fn report_of(shard: u32, watermark: Option<Timestamp>, last: u64) -> ProgressReport {
    ProgressReport { shard, watermark, last, history: History::default() }
}
