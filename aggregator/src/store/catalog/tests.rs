use catchment_partial::Width;
use catchment_proto::{Labels, MetricName, Name};

use super::*;

fn epoch(id: u64, created_ms: i64, shards: u32) -> GatewayEpoch {
    let gateway = GatewayId { site: Name::new("s").unwrap(), name: Name::new("g").unwrap() };
    GatewayEpoch { gateway, id, created_ms, shards, run: 0, previous_runs: Default::default() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000).unwrap()
}

fn key(metric: &str) -> SharedSeries {
    let (device, metric) = (Name::new("d").unwrap(), MetricName::new(metric).unwrap());
    SeriesKey { device, metric, labels: Labels::none() }.into()
}

fn window(seconds: i64) -> Window {
    Window::containing(at(seconds), Width::from_millis(10_000).unwrap())
}

fn watermark(catalog: &Catalog) -> Option<Timestamp> {
    catalog.gateway_entries_from(0).entries[0].watermark
}

#[test]
fn a_watermark_needs_all_shards_and_never_goes_back() {
    let mut catalog = Catalog::default();
    let old = catalog.intern_epoch(&epoch(1, 10, 2));
    catalog.advance(old, 0, 1, Some(at(50)), &History::default());
    assert_eq!(watermark(&catalog), None, "one shard of two");
    catalog.advance(old, 1, 0, Some(at(40)), &History::default());
    assert_eq!(watermark(&catalog), Some(at(40)));
    catalog.advance(old, 1, 0, Some(at(30)), &History::default());
    assert_eq!(watermark(&catalog), Some(at(40)), "a shard does not go back");

    let new = catalog.intern_epoch(&epoch(2, 20, 1));
    assert_eq!(
        catalog.gateway_entries_from(0).entries[0].epoch.id,
        2,
        "the newer created epoch is the present one"
    );
    assert_eq!(watermark(&catalog), Some(at(40)), "nor does the gateway");
    catalog.advance(old, 0, 2, Some(at(90)), &History::default());
    catalog.advance(old, 1, 2, Some(at(90)), &History::default());
    assert_eq!(watermark(&catalog), Some(at(40)), "a past epoch says nothing about the present");
    catalog.advance(new, 0, 1, Some(at(60)), &History::default());
    assert_eq!(watermark(&catalog), Some(at(60)));
}

/// A folder that went back has closed less than before: nothing beyond that is complete.
#[test]
fn a_new_epoch_may_be_behind_the_one_before() {
    let mut catalog = Catalog::default();
    let old = catalog.intern_epoch(&epoch(1, 10, 1));
    catalog.advance(old, 0, 1, Some(at(50)), &History::default());
    let new = catalog.intern_epoch(&epoch(2, 20, 1));
    catalog.advance(new, 0, 1, Some(at(30)), &History::default());
    assert_eq!(watermark(&catalog), Some(at(30)));
    catalog.advance(old, 0, 2, Some(at(70)), &History::default());
    assert_eq!(watermark(&catalog), Some(at(30)));
}

#[test]
fn an_epoch_from_a_wrong_clock_does_not_stay_present() {
    let mut catalog = Catalog::default();
    let of_run = |id, created| GatewayEpoch { run: id, ..epoch(id, created, 1) };
    let ahead = catalog.intern_epoch(&of_run(1, 1_000));
    catalog.intern_epoch(&of_run(2, 20));
    assert_eq!(catalog.gateway_entries_from(0).entries[0].epoch.id, 2, "a run began it since");
    catalog.intern_epoch(&of_run(1, 1_000));
    catalog.advance(ahead, 0, 1, Some(at(10)), &History::default());
    assert_eq!(
        catalog.gateway_entries_from(0).entries[0].epoch.id,
        2,
        "a known epoch does not become newer by coming back"
    );
    let names = catalog.intern_names_epoch(ahead, 7);
    assert_eq!(
        catalog.gateway_entries_from(0).entries[0].epoch.id,
        2,
        "an epoch that only names refer to is never the present one"
    );
    assert_eq!(catalog.intern_epoch(&of_run(7, 30)), names);
    assert_eq!(catalog.gateway_entries_from(0).entries[0].epoch.id, 7, "until it delivers");
}

#[test]
fn of_concurrent_epochs_the_least_watermark_counts() {
    let mut catalog = Catalog::default();
    let old = catalog.intern_epoch(&epoch(1, 10, 1));
    let new = catalog.intern_epoch(&epoch(2, 20, 1));
    catalog.advance(old, 0, 1, Some(at(30)), &History::default());
    catalog.advance(new, 0, 1, Some(at(50)), &History::default());
    assert_eq!(watermark(&catalog), Some(at(50)));
    catalog.set_open(old, true);
    assert_eq!(watermark(&catalog), Some(at(30)));
    catalog.set_open(old, false);
    assert_eq!(watermark(&catalog), Some(at(50)));
}

/// It then begins an epoch of its own: what the other folder accepted and did not deliver is missing. Two live
/// folders both deliver.
#[test]
fn a_folder_that_came_back_is_told_of_a_newer_one_and_twins_are_not() {
    let mut catalog = Catalog::default();
    let (first, second) = (epoch(1, 10, 1), epoch(2, 20, 1));
    let old = catalog.intern_epoch(&first);
    catalog.advance(old, 0, 1, Some(at(30)), &History::default());
    assert_eq!(catalog.newer_epoch(&first), None);
    let new = catalog.intern_epoch(&second);
    catalog.advance(new, 0, 1, Some(at(50)), &History::default());
    assert_eq!((catalog.newer_epoch(&first), catalog.newer_epoch(&second)), (Some(2), None));
    catalog.set_open(new, true);
    assert_eq!(catalog.newer_epoch(&first), None, "it delivers for itself");
    catalog.set_open(new, false);
    catalog.dirty = Dirty::default();
    catalog.advance(old, 0, 2, Some(at(40)), &History::default());
    assert_eq!(catalog.newer_epoch(&first), None);
    assert!(catalog.dirty.epochs.contains(&old), "even after a restart");
    assert_eq!(catalog.newer_epoch(&epoch(3, 5, 1)), None, "an epoch that has delivered nothing");

    // It has a stream when the newer one begins, and need not have anything to deliver.
    let mut catalog = Catalog::default();
    let old = catalog.intern_epoch(&first);
    catalog.set_open(old, true);
    catalog.intern_epoch(&second);
    catalog.set_open(old, false);
    assert_eq!(catalog.newer_epoch(&first), None);
}

#[test]
fn a_changed_number_of_shards_is_followed() {
    let mut catalog = Catalog::default();
    let number = catalog.intern_epoch(&epoch(1, 10, 2));
    catalog.advance(number, 0, 1, Some(at(50)), &History::default());
    assert_eq!(watermark(&catalog), None);
    assert_eq!(catalog.intern_epoch(&epoch(1, 10, 1)), number);
    assert_eq!(watermark(&catalog), Some(at(50)));
}

#[test]
fn series_are_bounded_and_their_numbers_never_reused() {
    let mut catalog = Catalog::default();
    let a = catalog.intern_series(0, &key("a"), window(0), true).unwrap();
    let b = catalog.intern_series(0, &key("b"), window(0), true).unwrap();
    assert_eq!(catalog.intern_series(0, &key("c"), window(0), false), None);
    assert_eq!(
        catalog.intern_series(0, &key("a"), window(0), false),
        Some(a),
        "a known series is not a new one"
    );
    let (cached, mut other) = (key("a"), Catalog::default());
    assert_eq!(catalog.intern_series(0, &cached, window(0), true), Some(a));
    assert_eq!(catalog.intern_series(0, &cached, window(0), true), Some(a), "by its cached identifier");
    other.intern_series(0, &key("b"), window(0), true).unwrap();
    assert_eq!(
        other.intern_series(0, &cached, window(0), true),
        Some(1),
        "the cached identifier belongs to another catalog"
    );
    assert_eq!(other.intern_series(1, &cached, window(0), true), Some(2), "the same name at another gateway");
    let cached = key("b");
    assert_eq!(catalog.intern_series(0, &cached, window(0), true), Some(b));
    catalog.remove_series(b);
    let c = catalog.intern_series(0, &key("c"), window(0), true).unwrap();
    assert!(c > b);
    assert_eq!(catalog.intern_series(0, &cached, window(0), false), None, "its cached identifier is gone");
    let restored = Catalog::restore(Vec::new(), Vec::new(), AllSeries::default(), catalog.next_series);
    assert_eq!(restored.next_series, c + 1);
}
