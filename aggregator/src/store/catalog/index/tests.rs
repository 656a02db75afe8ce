use catchment_partial::{Timestamp, Width, Window};
use catchment_proto::{GatewayId, Labels, MetricName, Name, SeriesKey};
use proptest::prelude::*;

use super::{selection::IndexSelection, *};
use crate::{
    selector::Selector,
    store::{GatewayEpoch, Selection, boundary::selection::Walk},
};

fn window() -> Window {
    Window::containing(Timestamp::from_nanos(0), Width::from_millis(10_000).unwrap())
}

/// Site, gateway, device, metric and labels of a series.
type Described = (&'static str, &'static str, String, String, Vec<(&'static str, String)>);

/// Adds a series; false if it is there already.
fn add(state: &RwLock<StoreState>, series: &Described) -> bool {
    let (site, name, device, metric, labels) = series;
    let gateway = GatewayId { site: Name::new(site).unwrap(), name: Name::new(name).unwrap() };
    let epoch =
        GatewayEpoch { gateway, id: 1, created_ms: 1, shards: 1, run: 0, previous_runs: Default::default() };
    let key = SeriesKey {
        device: Name::new(device).unwrap(),
        metric: MetricName::new(metric).unwrap(),
        labels: Labels::new(labels.iter().map(|(name, value)| (*name, value.as_str()))).unwrap(),
    };
    let catalog = &mut state.write().unwrap().catalog;
    let before = catalog.next_series;
    let number = catalog.intern_epoch(&epoch);
    let gateway = catalog.epoch(number).unwrap().gateway;
    catalog.intern_series(gateway, &key.into(), window(), true).unwrap();
    catalog.next_series > before
}

/// The ids that a selection gives, which must ascend.
fn ids(mut selection: impl Selection) -> Vec<u32> {
    let mut ids: Vec<u32> = Vec::new();
    while let Some(page) = selection.next_page() {
        assert!(page.len() <= 544, "{}", page.len());
        ids.extend(page.iter().map(|entry| number_of(entry.id)));
    }
    assert!(ids.is_sorted());
    ids
}

fn selected(state: &RwLock<StoreState>, selector: &Selector) -> Vec<u32> {
    ids(IndexSelection::new(state, selector))
}

fn walked(state: &RwLock<StoreState>, selector: &Selector) -> Vec<u32> {
    ids(Walk::new(selector, 0, |from: u32| read(state).catalog.entries_from(from)))
}

/// Indexes the series with ids below each of `cuts`, a part each; merged where neighbours are if `merges`.
fn index_in_parts(state: &RwLock<StoreState>, cuts: &[u32], merges: bool) {
    let mut parts = Parts::default();
    for cut in cuts {
        let (mut series, _) = series_from(state, parts.to);
        series.retain(|entry| number_of(entry.id) < *cut);
        let part = Arc::new(build(&series));
        if merges {
            parts.push(part)
        } else {
            parts.all.push(part)
        }
        parts.to = parts.to.max(*cut);
    }
    read(state).catalog.index.publish(parts);
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab0]{0,3}",
        "(press|prep)-[0-3]{1,2}",
        "[aé\n. ]{0,4}",
        Just("a".repeat(255)),
        Just("a".repeat(256))
    ]
}

fn described() -> impl Strategy<Value = Described> {
    let labels = (prop::option::of(value()), prop::option::of(value()), prop::option::of("[ab]{0,2}"));
    let names = (prop_oneof![Just("s"), Just("t")], prop_oneof![Just("g"), Just("h")]);
    (names, "[ab][ab0-]{0,3}", "[m-n]{1,2}", labels).prop_map(|((site, name), device, metric, (x, y, z))| {
        let labels =
            [("x", x), ("y", y), ("zone", z)].into_iter().filter_map(|(name, value)| Some((name, value?)));
        (site, name, device, metric, labels.collect())
    })
}

/// A matcher: label, operator and value.
fn matcher() -> impl Strategy<Value = String> {
    let label =
        prop::sample::select(vec!["site", "gateway", "device", "__name__", "x", "y", "zone", "none", "w"]);
    let text = (prop_oneof![Just("="), Just("!=")], value());
    let pattern = prop_oneof![
        prop::sample::select(vec![
            "",
            ".*",
            ".+",
            "a.*",
            ".*a",
            ".*a.*",
            "a|b|",
            "|",
            "a||b",
            "()",
            "[^a]*",
            "press-1.*",
            "pre(ss|p)-[12]+",
            "(?i)A+",
            ".{3}",
            "..?",
            "a{0,2}",
            r"\w+",
            r"\bpress\b.*",
            "é.*",
            r"(?-s:.*)",
            "s|t",
            "g",
            "m.?",
            "(?s:.)*",
            "a{255}",
            "a{256}",
            "a{255}.*",
            ".*ab.*",
            "[ab].*b0",
            "press.*3",
            "[ab]|a[0b].*",
        ])
        .prop_map(str::to_owned),
        r"[ab0é.*+?|()\[\]-]{0,8}",
    ];
    let matching = (prop_oneof![Just("=~"), Just("!~")], pattern);
    (label, prop_oneof![text, matching]).prop_map(|(label, (op, value))| format!("{label}{op}{value:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_selects_what_a_walk_selects(
        series in prop::collection::vec(described(), 1..60),
        removed in prop::collection::vec(0_u32..60, 0..20),
        late_removed in prop::collection::vec(0_u32..60, 0..6),
        mut cuts in prop::collection::vec(0_u32..60, 0..4),
        merges: bool,
        purges: bool,
        selectors in prop::collection::vec(prop::collection::vec(matcher(), 0..4), 8),
    ) {
        let state = RwLock::new(StoreState::default());
        series.iter().for_each(|series| _ = add(&state, series));
        removed.iter().for_each(|id| state.write().unwrap().catalog.remove_series(*id));
        cuts.sort_unstable();
        let next = read(&state).catalog.next_series;
        cuts.retain(|cut| *cut <= next);
        index_in_parts(&state, &cuts, merges);
        late_removed.iter().for_each(|id| state.write().unwrap().catalog.remove_series(*id));
        if purges {
            let index = Arc::clone(&read(&state).catalog.index);
            index.publish(without_removed(&index.parts(), &state));
        }
        for matchers in selectors {
            let text = format!("{{site=\"any\",{}}}", matchers.join(","));
            // Some of the patterns are invalid.
            let Ok(selector) = Selector::parse(&text).map(Selector::without_first) else { continue };
            prop_assert_eq!(selected(&state, &selector), walked(&state, &selector), "{}", text);
        }
    }
}

/// A store with `devices` devices of ten metrics each.
fn fleet(devices: u32) -> RwLock<StoreState> {
    let state = RwLock::new(StoreState::default());
    for device in 0..devices {
        for metric in 0..10 {
            let site = if device % 3 == 0 { "berlin" } else { "lyon" };
            let labels =
                vec![("room", (device / 100).to_string()), ("unit", ["C", "bar"][metric % 2].to_owned())];
            assert!(add(&state, &(site, "g", format!("press-{device:06}"), format!("m{metric}"), labels)));
        }
    }
    state
}

#[test]
fn it_catches_up_in_parts_whose_number_stays_small_and_forgets_the_removed() {
    let state = fleet(1_000);
    let index = Arc::clone(&read(&state).catalog.index);
    let stop = || false;
    index.catch_up(&state, &|| true);
    assert_eq!(index.parts().to, 0, "it stops when told");
    index.catch_up(&state, &stop);
    assert_eq!((index.parts().to, index.parts().series()), (10_000, 10_000));
    for round in 0..40 {
        for number in 0..TAIL_SERIES {
            add(&state, &("rome", "g", format!("d{round}"), format!("n{number}"), vec![]));
        }
        index.catch_up(&state, &stop);
        let parts = index.parts();
        assert_eq!(parts.to, 10_000 + (round + 1) * TAIL_SERIES);
        assert!(parts.all.len() <= 8, "{}", parts.all.len());
    }
    let rome = Selector::parse(r#"{site="rome",device=~"d[12]."}"#).unwrap();
    assert_eq!(selected(&state, &rome).len(), 20 * TAIL_SERIES as usize);
    let bytes = index.bytes();
    for id in selected(&state, &Selector::parse(r#"{site="rome"}"#).unwrap()) {
        state.write().unwrap().catalog.remove_series(id);
    }
    index.catch_up(&state, &stop);
    assert_eq!(index.parts().series(), 10_000);
    assert!(index.bytes() < bytes / 4, "{} of {bytes}", index.bytes());
    assert!(selected(&state, &rome).is_empty());
}

#[test]
fn a_series_takes_few_bytes() {
    let state = fleet(2_000);
    let index = Arc::clone(&read(&state).catalog.index);
    index.catch_up(&state, &|| false);
    assert!(index.bytes() < 20 * 20_000, "{}", index.bytes());
}

#[test]
fn steps_are_small_and_series_that_come_and_go_meanwhile_do_no_harm() {
    let state = fleet(5_000);
    for expression in ["press-.*7", ".*(0|1){3}.*", r"press-\d+", r"\bpress.*1\b"] {
        let selector = Selector::parse(&format!("{{device=~{expression:?}}}")).unwrap();
        let expected = walked(&state, &selector);
        let mut selection = IndexSelection::new(&state, &selector);
        let (mut found, mut steps) = (Vec::new(), 0);
        while let Some(page) = selection.next_page() {
            found.extend(page.iter().map(|entry| number_of(entry.id)));
            steps += 1;
            assert!(selection.memory() < 4 << 20, "{}", selection.memory());
            if steps == 3 {
                add(
                    &state,
                    &(
                        "rome",
                        "g",
                        "quench".to_owned(),
                        format!("{expression:?}").replace(|c: char| !c.is_alphanumeric(), "_"),
                        vec![],
                    ),
                );
            }
        }
        assert_eq!(found, expected, "{expression}");
        assert!(steps > 10, "{expression}: {steps}");
    }
    let all = Selector::default();
    let mut selection = IndexSelection::new(&state, &all);
    let first = loop {
        let page = selection.next_page().unwrap();
        if !page.is_empty() {
            break page;
        }
    };
    let gone: Vec<u32> = (first.len() as u32..first.len() as u32 + 100).collect();
    gone.iter().for_each(|id| state.write().unwrap().catalog.remove_series(*id));
    let rest = ids(selection);
    assert_eq!(first.len() + rest.len() + gone.len(), read(&state).catalog.next_series as usize);
    assert!(gone.iter().all(|id| !rest.contains(id)));
}
