//! Rows, ranges, resolutions, lists.

use catchment_partial::{Timestamp, Width, Window};

use super::{Subject, content, model, points, put, request, rows};
use crate::selector::Selector;
use crate::store::{
    Cursor, Merged, ReadAll as _, RowRequest, SeriesId, Steps,
    testing::{at, batch, entry, epoch, report_of, window},
};

pub(super) async fn a_range_holds_the_windows_that_start_in_it(subject: &dyn Subject) {
    let g = epoch("g", 1);
    // Two hours and two days, and before the epoch.
    let indices = [-8_641, -2, -1, 0, 1, 2, 359, 360, 361, 8_639, 8_640, 8_641];
    let entries =
        indices.iter().enumerate().map(|(part, index)| entry(0, *index, part as u64 + 1, part as u64 + 1));
    put(subject, &g, batch(0, 1, entries.collect())).await;
    let store = subject.store();
    let id = store.all_series()[0].id;
    let edges = |index: i64| [window(index).start(), window(index).start().saturating_add_nanos(1)];
    for from in [-1, 0, 1, 360, 8_640].into_iter().flat_map(edges) {
        for to in [-1, 0, 2, 361, 8_641].into_iter().flat_map(edges) {
            let found = rows(store, &request(id, from, to));
            let found: Vec<_> = found.iter().map(|(window, _)| window.index()).collect();
            let start = |index: &&i64| (from..to).contains(&window(**index).start());
            let expected: Vec<_> = indices.iter().filter(start).copied().collect();
            assert_eq!(found, expected, "from {from:?} to {to:?}");
        }
    }
    let entry = &store.all_series()[0];
    assert_eq!(entry.windows, (window(-8_641).start(), window(8_641).start()));
}

pub(super) async fn late_parts_are_read_in_the_place_of_their_window(subject: &dyn Subject) {
    let g = epoch("g", 1);
    let batches = [
        batch(0, 1, vec![entry(0, 5, 1, 1), entry(0, 900, 2, 2)]),
        batch(0, 2, vec![entry(0, 5, 3, 3), entry(0, 4, 4, 4)]),
        batch(0, 3, vec![entry(0, 20_000, 5, 5), entry(0, 5, 6, 6)]),
        batch(0, 4, vec![entry(0, 899, 7, 7)]),
    ];
    for batch in &batches {
        put(subject, &g, batch.clone()).await;
    }
    let store = subject.store();
    assert_eq!(content(store), model(&g, &batches));
    let id = store.all_series()[0].id;
    let found = rows(store, &request(id, Timestamp::MIN, Timestamp::MAX));
    let found: Vec<_> = found.iter().map(|(window, _)| window.index()).collect();
    assert_eq!(found, [4, 5, 5, 5, 899, 900, 20_000]);
}

pub(super) async fn merged_rows_change_no_answer(subject: &dyn Subject) {
    let g = epoch("g", 1);
    let days = 2 * 8_640;
    // Windows of two days with holes, delivered in an order of their own, some of them later in parts.
    for number in 1..=20_i64 {
        let indices = (0..400).map(|n| (n * 7_919 + number * 104_729) % days - 5_000);
        let entries = indices.enumerate().map(|(n, index)| {
            let part = (number * 1_000 + n as i64) as u64;
            entry(0, index, part, part)
        });
        put(subject, &g, batch(0, number as u64, entries.collect())).await;
    }
    let store = subject.store();
    let id = store.all_series()[0].id;
    let mut compared = 0;
    let multiples = [10_000, 30_000, 60_000, 900_000, 7_200_000, 86_400_000].map(Steps::Every);
    // Days of zones that are half an hour, an hour and ten seconds off, one of them an hour shorter.
    let days = [1_800, 3_600, 82_810].map(|offset| {
        Steps::At(
            (-3..5).map(|day| 1_000 * (offset + day * 86_400 - if day > 0 { 3_600 } else { 0 })).collect(),
        )
    });
    for steps in multiples.into_iter().chain(days).chain([Steps::Whole]) {
        for (from, to) in [(-100_000, 200_000), (0, 86_400), (-49_990, 86_390), (3_590, 7_210), (10, 20)] {
            let windows = RowRequest { steps: steps.clone(), ..request(id, at(from), at(to)) };
            let merged = RowRequest { resolution: Merged::Allowed, ..windows.clone() };
            let points = (points(store, &windows), points(store, &merged));
            assert_eq!(points.0, points.1, "steps {steps:?} from {from} s to {to} s");
            compared += points.0.len();
        }
    }
    assert!(compared > 1_000, "{compared}");
}

pub(super) async fn a_call_visits_a_bounded_number_of_rows(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    // Windows in no order, many parts of one of them, and windows of seven seconds, which no minute, hour or day holds.
    let windows = (0..10_000).map(|n| entry(0, n * 7_919 % 10_000, n as u64 + 1, n as u64 + 1));
    put(subject, &g, batch(0, 1, windows.collect())).await;
    let parts = (20_000..25_000).map(|part| entry(0, 500, part, part));
    put(subject, &g, batch(0, 2, parts.collect())).await;
    let width = Width::from_millis(7_000).unwrap();
    let mut sevens = batch(0, 3, (0..10_000).map(|index| entry(1, index, 1, 1)).collect());
    sevens.width = width;
    for entry in &mut sevens.entries {
        entry.window = Window::from_index(entry.window.index(), width).unwrap();
    }
    put(subject, &g, sevens).await;
    let series = store.all_series();
    let whole = |id| request(id, Timestamp::MIN, Timestamp::MAX);
    assert_eq!(rows(store, &whole(series[0].id)).len(), 15_000);
    assert_eq!(rows(store, &whole(series[1].id)).len(), 10_000);
    for entry in &series {
        for steps in [Steps::Whole, Steps::Every(60_000), Steps::Every(10_000)] {
            let windows = RowRequest { steps, ..whole(entry.id) };
            let merged = RowRequest { resolution: Merged::Allowed, ..windows.clone() };
            assert_eq!(points(store, &merged), points(store, &windows));
        }
    }
}

pub(super) async fn pages_hold_every_series_once_in_order(subject: &dyn Subject) {
    let store = subject.store();
    for gateway in ["g", "h", "i"] {
        let entries = (0..3).map(|series| entry(series, 1, 1, 1)).collect();
        put(subject, &epoch(gateway, 1), batch(0, 1, entries)).await;
    }
    let series = store.all_series();
    let ids: Vec<_> = series.iter().map(|entry| entry.id).collect();
    let mut names: Vec<_> = series.iter().map(|entry| (&entry.gateway, &entry.key)).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    names.sort();
    names.dedup();
    assert_eq!((ids.len(), names.len()), (9, 9));
    let gateways: Vec<_> =
        store.gateways().iter().map(|entry| entry.epoch.gateway.name.to_string()).collect();
    assert_eq!(gateways.len(), 3, "{gateways:?}");
    for entry in &series {
        let known = store.series(entry.id).map(|known| (known.id, known.gateway, known.key));
        assert_eq!(known, Some((entry.id, entry.gateway.clone(), entry.key.clone())));
    }
    for none in [ids[8].number() + 1, u64::from(u32::MAX) + ids[0].number() + 1, u64::MAX] {
        assert!(store.series(SeriesId::new(none)).is_none(), "{none}");
    }
    assert!(store.gateways_page(Cursor::new(u64::MAX)).entries.is_empty());
}

pub(super) async fn a_reader_finds_nothing_where_nothing_is(subject: &dyn Subject) {
    let store = subject.store();
    assert!(rows(store, &request(SeriesId::new(0), Timestamp::MIN, Timestamp::MAX)).is_empty());
    put(subject, &epoch("g", 1), batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    let id = store.all_series()[0].id;
    for (from, to) in [(20, 1_000_000), (-1_000_000, 10), (15, 15), (20, 10)] {
        let request = request(id, at(from), at(to));
        let mut reader = store.rows(&request).unwrap();
        while reader.advance(&mut |window, _| panic!("{window:?}")).unwrap() {}
    }
    assert!(rows(store, &request(SeriesId::new(id.number() + 1), Timestamp::MIN, Timestamp::MAX)).is_empty());
}

pub(super) async fn no_row_starts_before_the_listed_time(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    for (number, index) in [(1, 9_000), (2, 30_000), (3, -20)] {
        put(subject, &g, batch(0, number, vec![entry(0, index, number, number)])).await;
        let entry = &store.all_series()[0];
        assert!(entry.rows_from <= entry.windows.0, "{entry:?}");
        assert!(entry.last_reading >= entry.windows.1, "{entry:?}");
        for steps in [Steps::Whole, Steps::Every(60_000), Steps::Every(86_400_000)] {
            let request = request(entry.id, Timestamp::MIN, Timestamp::MAX);
            let found = rows(store, &RowRequest { steps, resolution: Merged::Allowed, ..request });
            let first = found.first().map(|(window, _)| window.start());
            assert!(first.is_some_and(|first| first >= entry.rows_from), "{found:?} {entry:?}");
        }
    }
}

pub(super) async fn a_selection_holds_what_its_selector_matches(subject: &dyn Subject) {
    let store = subject.store();
    for gateway in ["g", "h", "press-1", "press-2"] {
        let entries = (0..3).map(|series| entry(series, 1, 1, 1)).collect();
        put(subject, &epoch(gateway, 1), batch(0, 1, entries)).await;
    }
    for (text, count) in [
        ("", 12),
        ("a", 4),
        (r#"{gateway="g"}"#, 3),
        (r#"b{gateway!="g"}"#, 3),
        (r#"{gateway=~"press-.*"}"#, 6),
        (r#"{gateway=~"press-1|h",__name__!~"a|b"}"#, 2),
        (r#"c{room=""}"#, 4),
        (r#"c{room!=""}"#, 0),
        (r#"{site="munich"}"#, 0),
    ] {
        let selector = Selector::parse_or_all(text).unwrap();
        let selected = store.selected(&selector);
        assert!(selected.is_sorted_by(|a, b| a.id < b.id), "{text}: {selected:?}");
        assert!(selected.iter().all(|entry| selector.matches(&entry.gateway, &entry.key)), "{text}");
        assert_eq!(selected.len(), count, "{text}");
    }
}

pub(super) async fn pages_list_all_series_from_an_id_on(subject: &dyn Subject) {
    let store = subject.store();
    for gateway in ["g", "h"] {
        let entries = (0..3).map(|series| entry(series, 1, 1, 1)).collect();
        put(subject, &epoch(gateway, 1), batch(0, 1, entries)).await;
    }
    let all: Vec<_> = store.all_series().into_iter().map(|entry| entry.id).collect();
    for (skipped, first) in all.iter().enumerate() {
        let (mut listed, mut next) = (Vec::new(), Some(*first));
        while let Some(from) = next {
            let page = store.series_page(from);
            assert!(page.next.is_none_or(|next| next > from), "{page:?}");
            listed.extend(page.entries.into_iter().map(|entry| entry.id));
            next = page.next;
        }
        assert_eq!(listed, all[skipped..]);
    }
    let after = SeriesId::new(all[5].number() + 1);
    assert!(store.series_page(after).entries.is_empty());
}

pub(super) async fn watermarks_never_go_back(subject: &dyn Subject) {
    let (store, g) = (subject.store(), epoch("g", 1));
    put(subject, &g, batch(0, 1, vec![entry(0, 1, 1, 1)])).await;
    let mark = || store.gateways()[0].watermark;
    assert_eq!(mark(), None);
    // Each shard has closed up to its own; the gateway up to the least.
    store.progress(&g, &report_of(0, Some(at(100)), 1)).unwrap();
    store.progress(&g, &report_of(1, Some(at(50)), 0)).unwrap();
    assert_eq!(mark(), Some(at(50)));
    store.progress(&g, &report_of(1, Some(at(40)), 0)).unwrap();
    assert_eq!(mark(), Some(at(50)));
    store.progress(&g, &report_of(1, Some(at(200)), 0)).unwrap();
    assert_eq!(mark(), Some(at(100)));
}
