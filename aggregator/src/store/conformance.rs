//! The promises of [`Store`], one function each, kept by every store: run over the embedded store, before and
//! after a flush, and over the store in memory that other tests use. A new store adds itself here.
//!
//! * `completeness`: late corrections, refused readings, retired gateways;
//! * `delivery`: what putting, repeating and cancelling a batch leaves behind;
//! * `runs`: which run of a gateway delivers, what streams leave behind;
//! * `reading`: rows, ranges, resolutions, lists;
//! * `removal`: forgetting windows and series, retention;
//! * `lifetime`: restarts, the end, health.

mod completeness;
mod delivery;
mod lifetime;
mod reading;
mod removal;
mod runs;

use std::{collections::BTreeMap, sync::Arc};

use catchment_partial::{Partial, Timestamp, Window};
use catchment_proto::Batch;
use futures_util::future::BoxFuture;

use super::{
    EmbeddedStore, GatewayEpoch, Merged, QueryStore, ROWS_A_CALL, ReadAll as _, RowRequest, SeriesId, Steps,
    Store,
    testing::{Content, Model, open},
};
use crate::testing::MemoryStore;

/// A store, and what happens to it beside its traits.
pub(super) trait Subject: Sync {
    fn store(&self) -> &dyn Store;

    /// What may happen at any time without a caller noticing: moves what the store holds to where it ends up, or nothing.
    fn settle(&self) -> BoxFuture<'_, ()>;

    /// Moves what the store holds to where it ends up.
    fn flush(&self) -> BoxFuture<'_, ()>;

    /// Ends it as a kill would, and opens it anew.
    fn restart(&mut self);
}

struct Memory(MemoryStore);

struct Embedded {
    /// `None` only within a restart.
    store: Option<Arc<EmbeddedStore>>,
    flushes: bool,
    folder: tempfile::TempDir,
}

impl Subject for Memory {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        self.flush()
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn restart(&mut self) {
        self.0 = self.0.restarted();
    }
}

impl Subject for Embedded {
    fn store(&self) -> &dyn Store {
        &**self.store.as_ref().unwrap()
    }

    fn settle(&self) -> BoxFuture<'_, ()> {
        if self.flushes { self.flush() } else { Box::pin(std::future::ready(())) }
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.store.as_ref().unwrap().flush().await.unwrap() })
    }

    fn restart(&mut self) {
        self.store = None;
        self.store = Some(open(self.folder.path()).0);
    }
}

fn embedded(flushes: bool) -> Embedded {
    let folder = tempfile::tempdir().unwrap();
    Embedded { store: Some(open(folder.path()).0), flushes, folder }
}

/// Runs each promise over each store.
macro_rules! promises {
    ($($file:ident :: $promise:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $promise() {
                super::$file::$promise(&mut super::Memory(Default::default())).await;
            })*
        }
        mod embedded {
            $(#[tokio::test] async fn $promise() {
                super::$file::$promise(&mut super::embedded(false)).await;
            })*
        }
        mod flushed {
            $(#[tokio::test] async fn $promise() {
                super::$file::$promise(&mut super::embedded(true)).await;
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
    delivery::batches_that_were_skipped_are_listed_as_lost,
    runs::only_the_run_that_began_last_delivers,
    runs::live_state_ends_with_the_last_stream_of_its_epoch,
    runs::an_epoch_is_known_by_its_folder,
    reading::a_range_holds_the_windows_that_start_in_it,
    reading::late_parts_are_read_in_the_place_of_their_window,
    reading::merged_rows_change_no_answer,
    reading::a_call_visits_a_bounded_number_of_rows,
    reading::pages_hold_every_series_once_in_order,
    reading::a_reader_finds_nothing_where_nothing_is,
    reading::no_row_starts_before_the_listed_time,
    reading::a_selection_holds_what_its_selector_matches,
    reading::pages_list_all_series_from_an_id_on,
    reading::watermarks_never_go_back,
    completeness::late_corrections_and_refused_readings_are_counted_once,
    completeness::a_retired_gateway_comes_back_with_its_next_stream,
    removal::forgotten_series_come_back_as_new_ones,
    removal::retention_keeps_what_no_rule_matches_and_what_is_young,
    removal::what_all_rules_let_go_is_gone,
    lifetime::what_was_acknowledged_survives_a_restart,
    lifetime::a_store_that_works_says_so,
    lifetime::a_closed_store_takes_nothing_more,
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

/// The rows of a request; checks the bound of each call.
fn rows(store: &(impl QueryStore + ?Sized), request: &RowRequest) -> Vec<(Window, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut reader = store.rows(request).unwrap();
    loop {
        let before = rows.len();
        let more = reader.advance(&mut |window, body| rows.push((window, body.to_vec()))).unwrap();
        assert!(rows.len() - before <= ROWS_A_CALL, "{} rows in a call", rows.len() - before);
        if !more {
            break;
        }
    }
    assert_eq!(reader.damaged(), []);
    assert!(rows.is_sorted_by_key(|(window, _)| window.start()), "in order of time");
    assert!(rows.iter().all(|(window, _)| (request.from..request.to).contains(&window.start())));
    rows
}

/// Everything a store holds, through its readers.
fn content(store: &(impl QueryStore + ?Sized)) -> Content {
    let mut content = Content::new();
    for series in store.all_series() {
        for (window, body) in rows(store, &request(series.id, Timestamp::MIN, Timestamp::MAX)) {
            content.entry((series.gateway.clone(), series.key.clone(), window)).or_default().push(body);
        }
    }
    content.values_mut().for_each(|bodies| bodies.sort());
    content
}

/// The points of a request, encoded: two that are equal answer every query of values alike.
fn points(store: &(impl QueryStore + ?Sized), request: &RowRequest) -> BTreeMap<i64, Vec<u8>> {
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
