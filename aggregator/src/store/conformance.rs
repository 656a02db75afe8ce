//! The promises of the trait [`Store`], one function each, kept by every store: run over the embedded store, before and
//! after a flush, and over the store in memory that other tests use. A new store implements the trait and adds itself here.
//!
//! * `delivery`: what putting, repeating and cancelling a batch leaves behind;
//! * `reading`: rows, ranges, resolutions, lists;
//! * `removal`: forgetting windows and series, retention.

mod delivery;
mod reading;
mod removal;

use std::{collections::BTreeMap, sync::Arc};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::Batch;
use futures_util::future::BoxFuture;

use super::{
    EmbeddedStore, GatewayEpoch, Merged, RowRequest, SeriesId, Steps, Store,
    testing::{Content, Model, open},
};
use crate::testing::MemoryStore;

/// A store, and what may happen to it at any time without a caller noticing.
pub(super) trait Subject: Sync {
    fn store(&self) -> &dyn Store;

    /// Moves what the store holds to where it ends up.
    fn settle(&self) -> BoxFuture<'_, ()>;
}

struct Memory(MemoryStore);

struct Embedded {
    store: Arc<EmbeddedStore>,
    flushes: bool,
    _folder: tempfile::TempDir,
}

impl Subject for Memory {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

impl Subject for Embedded {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.flushes {
                self.store.flush().await.unwrap();
            }
        })
    }
}

fn embedded(flushes: bool) -> Embedded {
    let folder = tempfile::tempdir().unwrap();
    Embedded { store: open(folder.path()).0, flushes, _folder: folder }
}

/// Runs each promise over each store.
macro_rules! promises {
    ($($file:ident :: $promise:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $promise() {
                super::$file::$promise(&super::Memory(Default::default())).await;
            })*
        }
        mod embedded {
            $(#[tokio::test] async fn $promise() {
                super::$file::$promise(&super::embedded(false)).await;
            })*
        }
        mod flushed {
            $(#[tokio::test] async fn $promise() {
                super::$file::$promise(&super::embedded(true)).await;
            })*
        }
    };
}

promises! {
    delivery::a_known_number_changes_nothing,
    delivery::the_highest_revision_of_a_name_counts,
    delivery::different_names_of_a_window_are_all_kept,
    delivery::a_number_that_skips_ahead_is_refused_unless_the_stream_begins,
    delivery::a_batch_with_an_invalid_body_is_refused_whole,
    delivery::a_put_that_is_dropped_can_be_repeated,
    delivery::live_windows_show_until_they_are_final_or_dropped,
    delivery::any_deliveries_leave_what_the_model_holds,
    reading::a_range_holds_the_windows_that_start_in_it,
    reading::late_parts_are_read_in_the_place_of_their_window,
    reading::merged_rows_change_no_answer,
    reading::pages_hold_every_series_once_in_order,
    reading::a_reader_finds_nothing_where_nothing_is,
    reading::watermarks_never_go_back,
    removal::forgotten_series_come_back_as_new_ones,
    removal::retention_keeps_what_no_rule_matches_and_what_is_young,
}

/// Puts a batch, and lets the store settle.
async fn put(subject: &dyn Subject, epoch: &GatewayEpoch, batch: Batch) {
    subject.store().put(epoch, batch, false).await.unwrap();
    subject.settle().await;
}

/// What a store must hold after batches of one epoch.
fn model(epoch: &GatewayEpoch, batches: &[Batch]) -> Content {
    let mut model = Model::default();
    batches.iter().for_each(|batch| model.put(epoch, batch));
    model.content()
}

fn request(series: SeriesId, from: Timestamp, to: Timestamp) -> RowRequest {
    RowRequest { series, from, to, steps: Steps::Whole, resolution: Merged::OnlyWithoutWindows }
}

/// The rows of a request.
fn rows(store: &dyn Store, request: &RowRequest) -> Vec<(Window, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut reader = store.rows(request).unwrap();
    while reader.advance(&mut |window, body| rows.push((window, body.to_vec()))).unwrap() {}
    assert_eq!(reader.damaged(), []);
    assert!(rows.is_sorted_by_key(|(window, _)| window.start()), "in order of time");
    assert!(rows.iter().all(|(window, _)| (request.from..request.to).contains(&window.start())));
    rows
}

/// Everything a store holds, through its readers.
fn content(store: &dyn Store) -> Content {
    let mut content = Content::new();
    for series in store.series(&|_, _| true) {
        for (window, body) in rows(store, &request(series.id, Timestamp::MIN, Timestamp::MAX)) {
            content.entry((series.gateway.clone(), series.key.clone(), window)).or_default().push(body);
        }
    }
    content.values_mut().for_each(|bodies| bodies.sort());
    content
}

/// The points of a request, encoded: two that are equal answer every query of values alike.
fn points(store: &dyn Store, request: &RowRequest) -> BTreeMap<i64, Vec<u8>> {
    let mut points = BTreeMap::<i64, Partial>::new();
    for (window, body) in rows(store, request) {
        let start_ms = window.start().as_millis();
        let point = request.steps.start_of(start_ms).unwrap_or(0);
        points.entry(point).or_default().merge_encoded_across_series(&body, window.start()).unwrap();
    }
    let encoded = |partial: Partial| {
        let mut bytes = Vec::new();
        partial.encode(Timestamp::from_nanos(0), &mut bytes);
        bytes
    };
    points.into_iter().map(|(start_ms, partial)| (start_ms, encoded(partial))).collect()
}
