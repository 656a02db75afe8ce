//! The state, and pictures of it in ratatui's test terminal.

mod pages;

use std::{collections::HashMap, sync::Arc};

use catchment_proto::wire;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
};

use super::{
    draw::{draw, page},
    rows::{Collector, Key, Rows, of_gateways, of_sites, short_number, short_span},
    spark::{POINTS, Spark, add, request},
    state::{Next, Sort},
    *,
};
use crate::{
    args::View,
    query_result::{Point, QueryResult, ResultSeries, Value},
};

const NOW: i64 = 1_795_341_600_000;
const UNICODE: Look = Look { glyphs: Glyphs::Unicode, colours: true };
const ASCII: Look = Look { glyphs: Glyphs::Ascii, colours: false };

fn gateway(site: &str, gateway: &str, lag_ms: i64) -> wire::Gateway {
    let (site, gateway) = (site.to_owned(), gateway.to_owned());
    wire::Gateway {
        site,
        gateway,
        connected: true,
        lag_ms: Some(lag_ms),
        devices: 3,
        series: 9,
        ..Default::default()
    }
}

fn devices(names: &[(&str, i64)]) -> Rows {
    let mut collector = Collector::default();
    for (device, age_ms) in names {
        let (site, gateway) = ("berlin".to_owned(), "gw-1".to_owned());
        let last_seen_ms = NOW - age_ms;
        assert!(collector.device(wire::Device {
            site,
            gateway,
            device: (*device).to_owned(),
            series: 2,
            last_seen_ms,
            ..Default::default()
        }));
    }
    collector.finish()
}

fn data(view: View, rows: Rows) -> Data {
    Data { view, rows: Some(Arc::new(rows)), at_ms: NOW - 3000, ..Data::default() }
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        assert_eq!(state.key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)), Next::Continue);
    }
}

fn key(state: &mut State, code: KeyCode) -> Next {
    state.key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn names(state: &State) -> Vec<String> {
    state.shown().map(|row| row.key.last().cloned().unwrap_or_default()).collect()
}

/// The screen as lines of text, and whether it has colours.
fn picture(state: &State, look: Look, width: u16, height: u16) -> (Vec<String>, bool) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, look, "https://centre.example:7700", NOW)).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content().chunks(usize::from(width));
    let lines =
        cells.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned());
    (lines.collect(), buffer.content().iter().any(|cell| cell.fg != Color::Reset))
}

#[test]
fn eighty_columns_show_all_of_a_device() {
    let mut state = State::new(View::Devices, "");
    let mut shown = data(View::Devices, devices(&[("press-17", 4000), ("oven-3", 7_200_000)]));
    let mut spark = Spark::default();
    for (minute, value) in [(0, 0.0), (1, 30.0), (14, 60.0)] {
        spark.0[minute] = Some(value);
    }
    let key = ["berlin", "gw-1", "press-17"].map(str::to_owned).to_vec();
    shown.sparks = Arc::new([(key, spark)].into());
    state.take(shown);
    let (lines, coloured) = picture(&state, UNICODE, 80, 8);
    assert!(
        lines[0].contains(" 1 sites  2 gateways  3 devices  4 metrics ")
            && lines[0].contains("centre.example")
    );
    assert_eq!(lines[1], "2 devices, sort: name, 3s old");
    assert!(lines[2].starts_with("site") && lines[2].ends_with("last 15 min"), "{lines:#?}");
    assert!(
        lines[4].contains("press-17") && lines[4].contains("4s") && lines[4].ends_with("60 ▁▅············█"),
        "{lines:#?}"
    );
    assert!(lines[3].contains("oven-3") && lines[3].contains("2h"), "{lines:#?}");
    assert!(coloured);
    let (lines, coloured) = picture(&state, ASCII, 80, 8);
    assert!(lines.iter().all(|line| line.is_ascii()) && !coloured, "{lines:#?}");
    assert!(lines[4].ends_with("60 _=............#"), "{lines:#?}");
    // Whatever the size is.
    for (width, height) in [(1, 1), (20, 3), (300, 100)] {
        picture(&state, UNICODE, width, height);
    }
}

#[test]
fn rows_keep_their_places_until_they_are_sorted_anew() {
    let mut state = State::new(View::Devices, "");
    state.take(data(View::Devices, devices(&[("a", 1000), ("b", 9000), ("c", 5000)])));
    press(&mut state, "s");
    assert_eq!((state.sort(), names(&state)), (Sort::Worst, ["b", "c", "a"].map(str::to_owned).to_vec()));
    key(&mut state, KeyCode::Down);
    // Values change, one row goes and two come.
    state.take(data(View::Devices, devices(&[("a", 90_000), ("c", 1000), ("d", 99_000), ("aa", 99_000)])));
    assert_eq!(names(&state), ["c", "a", "aa", "d"]);
    assert_eq!(state.selected(), 0, "the selection follows its row");
    press(&mut state, "r");
    assert_eq!(names(&state), ["aa", "d", "a", "c"]);
    assert_eq!((state.selected(), state.wanted(10).asked.refreshes), (3, 1));
    press(&mut state, "ss");
    assert_eq!(
        (state.sort(), names(&state)),
        (Sort::Name, ["a", "aa", "c", "d"].map(str::to_owned).to_vec())
    );
}

#[test]
fn a_filter_is_typed_kept_and_cleared() {
    let mut state = State::new(View::Devices, "PRESS");
    state.take(data(View::Devices, devices(&[("press-1", 0), ("press-2", 0), ("oven", 0)])));
    assert_eq!(names(&state), ["press-1", "press-2"]);
    press(&mut state, "/-2q");
    assert!(names(&state).is_empty() && state.typing);
    key(&mut state, KeyCode::Backspace);
    assert_eq!(names(&state), ["press-2"]);
    assert!(picture(&state, UNICODE, 80, 8).0[1].contains("1 with /PRESS-2_"));
    key(&mut state, KeyCode::Enter);
    // The same keys are commands again.
    assert_eq!(key(&mut state, KeyCode::Char('q')), Next::Quit);
    key(&mut state, KeyCode::Esc);
    assert_eq!(names(&state).len(), 3);
    assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Next::Quit);
}

#[test]
fn keys_move_within_the_rows_and_ask_for_those_on_the_screen() {
    let all: Vec<(String, i64)> = (0..100).map(|number| (format!("d{number:02}"), 0)).collect();
    let all: Vec<(&str, i64)> = all.iter().map(|(name, age)| (name.as_str(), *age)).collect();
    let mut state = State::new(View::Devices, "");
    state.take(data(View::Devices, devices(&all)));
    let first = |state: &mut State| {
        state.wanted(page(24)).visible.first().and_then(|key| key.last().cloned()).unwrap()
    };
    assert_eq!((first(&mut state).as_str(), state.wanted(page(24)).visible.len()), ("d00", 20));
    key(&mut state, KeyCode::End);
    assert_eq!((first(&mut state).as_str(), state.selected()), ("d80", 99));
    key(&mut state, KeyCode::PageUp);
    assert_eq!((first(&mut state).as_str(), state.selected()), ("d79", 79));
    // A screen of fewer lines shows the selected row too.
    assert!(state.wanted(3).visible.iter().any(|key| key[2] == "d79"));
    key(&mut state, KeyCode::Home);
    key(&mut state, KeyCode::Up);
    assert_eq!((first(&mut state).as_str(), state.selected()), ("d00", 0));
    press(&mut state, "2");
    assert_eq!((state.wanted(20).view, state.count()), (View::Gateways, 0));
    // An answer about the view before is no answer.
    state.take(data(View::Devices, devices(&all)));
    assert_eq!(state.count(), 0);
}

#[test]
fn an_outage_is_shown_above_the_last_values() {
    let mut state = State::new(View::Gateways, "");
    let rows = of_gateways(&[
        gateway("berlin", "gw-1", 2500),
        wire::Gateway { connected: false, ..gateway("lyon", "gw-2", 5) },
    ]);
    let trouble = Some((NOW - 12_000, "c:7700: connection refused\u{1b}[2J".to_owned()));
    state.take(Data { trouble, ..data(View::Gateways, rows) });
    let (lines, _) = picture(&state, UNICODE, 80, 8);
    assert!(lines[1].starts_with("NO ANSWER for 12s, retrying: c:7700: connection refused"), "{lines:#?}");
    assert!(
        !lines[1].contains('\u{1b}') && lines[3].contains("gw-1") && lines[4].contains("down"),
        "{lines:#?}"
    );
}

#[test]
fn sites_are_as_bad_as_their_worst_gateway() {
    let retired =
        wire::Gateway { retired: true, connected: false, lag_ms: None, ..gateway("berlin", "old", 0) };
    let rows = of_sites(&[
        gateway("berlin", "a", 2000),
        gateway("berlin", "b", 70_000),
        retired,
        wire::Gateway { lag_ms: None, ..gateway("lyon", "a", 0) },
        wire::Gateway { connected: false, ..gateway("oslo", "a", 100) },
    ]);
    let cells: Vec<Vec<String>> = rows.list.iter().map(|row| row.cells(NOW)).collect();
    assert_eq!(cells, [["2/2", "1m", "9", "27"], ["1/1", "never", "3", "9"], ["0/1", "0s", "3", "9"]]);
    let mut state = State::new(View::Sites, "");
    state.take(data(View::Sites, rows));
    press(&mut state, "s");
    assert_eq!(names(&state), ["oslo", "lyon", "berlin"]);
}

#[test]
fn metrics_are_counted_by_their_series() {
    let mut collector = Collector::default();
    for (metric, last_window_ms) in [("b", NOW), ("a", NOW - 60_000), ("b", NOW - 5000)] {
        assert!(collector.series(wire::Series {
            metric: metric.to_owned(),
            last_window_ms,
            ..Default::default()
        }));
    }
    let rows = collector.finish();
    let cells: Vec<Vec<String>> = rows.list.iter().map(|row| row.cells(NOW)).collect();
    assert_eq!(cells, [["1m", "1"], ["0s", "2"]]);
}

#[test]
fn a_sparkline_query_selects_exactly_its_rows() {
    let keys = [["a.b", "g"], ["c\"", "g"]].map(|key| key.map(str::to_owned).to_vec());
    let (query, covered) = request(View::Gateways, &keys, NOW).unwrap();
    assert_eq!((query.selector.as_str(), covered), (r#"{site=~"a\\.b|c\"",gateway=~"g"}"#, 2));
    assert_eq!(
        (query.to_ms - query.from_ms, query.to_ms % 60_000, query.step_ms),
        (900_000, 0, Some(60_000))
    );
    assert!(query.to_ms <= NOW - 10_000);
    assert!(request(View::Sites, &[], NOW).is_none());
    // The aggregator takes selectors of 4,096 bytes: more rows are more queries.
    let keys: Vec<Key> = (0..200).map(|number| vec![format!("{number:060}")]).collect();
    let (query, covered) = request(View::Sites, &keys, NOW).unwrap();
    assert!(query.selector.len() < 4096 && (20..30).contains(&covered), "{covered}");
    assert_eq!(request(View::Metrics, &keys, NOW).unwrap().0.aggregates, ["mean"]);

    let point = |minute: i64, value: f64| Point {
        start_ms: query.from_ms + minute * 60_000,
        values: vec![Some(Value::Number(value))],
    };
    let labels = [("site".to_owned(), "x".to_owned())].into();
    // Points before and after the range do not count.
    let points = vec![point(-1, 9.0), point(0, 1.0), point(14, 4.0), point(15, 9.0)];
    let result = QueryResult {
        aggregates: query.aggregates.clone(),
        series: vec![ResultSeries { labels, points, ..Default::default() }],
        ..QueryResult::default()
    };
    let mut sparks = HashMap::new();
    add(&mut sparks, View::Sites, &query, &result);
    let spark = &sparks[&vec!["x".to_owned()]];
    assert_eq!((spark.0[0], spark.0[1], spark.latest()), (Some(1.0), None, Some(4.0)));
}

#[test]
fn sparklines_show_any_numbers() {
    let text = |values: [f64; 3], from_zero| {
        let mut spark = Spark([None; POINTS]);
        values.into_iter().enumerate().for_each(|(place, value)| spark.0[place] = Some(value));
        spark.text(Glyphs::Unicode, from_zero).chars().take(3).collect::<String>()
    };
    assert_eq!(text([0.0, 50.0, 100.0], true), "▁▅█");
    assert_eq!(text([20.0, 21.0, 22.0], false), "▁▅█");
    assert_eq!(text([7.0; 3], false), "▅▅▅");
    assert_eq!(text([0.0; 3], true), "▁▁▁");
    assert_eq!(text([f64::MIN, 0.0, f64::MAX], false), "▁▅█");
}

#[test]
fn numbers_and_times_are_short() {
    let spans = [-5, 59_999, 60_000, 7_200_000, 200_000_000].map(short_span);
    assert_eq!(spans, ["0s", "59s", "1m", "2h", "2d"]);
    let numbers = [0.0, 60.0, 21.456_7, 123.456, 12_345.0, 2.5e6, 1e-7, -3.0, f64::MAX].map(short_number);
    assert_eq!(numbers, ["0", "60", "21.457", "123.5", "12.3k", "2.5M", "1.0e-7", "-3", "1.8e308"]);
}

#[test]
fn the_locale_and_no_color_decide_how_it_looks() {
    let look = |ascii, variables: &[(&str, &str)]| {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        Look::new(ascii, |name| variables.get(name).map(OsString::from))
    };
    assert_eq!(look(false, &[("LANG", "de_DE.UTF-8")]), UNICODE);
    assert_eq!(look(true, &[("LC_CTYPE", "C.utf8"), ("NO_COLOR", "1")]), ASCII);
    assert_eq!(
        look(false, &[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8"), ("NO_COLOR", "")]).glyphs,
        Glyphs::Ascii
    );
    assert!(look(false, &[("NO_COLOR", "")]).colours);
}

#[test]
fn once_is_a_plain_table() {
    let mut state = State::new(View::Gateways, "gw");
    state.take(data(
        View::Gateways,
        of_gateways(&[gateway("berlin", "gw-1", 2500), gateway("berlin", "other", 1)]),
    ));
    let text = plain(&state, Glyphs::Ascii, NOW);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("gw-1") && text.contains("up") && text.is_ascii(), "{text}");
    let empty = State::new(View::Devices, "x");
    assert_eq!(plain(&empty, Glyphs::Ascii, NOW), "no devices with this filter\n");
}
