//! Charts as text: what is drawn, what is not, and that no label breaks out.

use proptest::prelude::*;

use super::*;
use crate::query_result::{Completeness, Gap, Point, Value};

const MINUTE: i64 = 60_000;

fn request() -> QueryRequest {
    QueryRequest {
        selector: "temperature".to_owned(),
        from_ms: 0,
        to_ms: 100 * MINUTE,
        step_ms: Some(MINUTE),
        by: vec!["device".to_owned()],
        ..QueryRequest::default()
    }
}

fn series(device: &str, points: impl Iterator<Item = (i64, Vec<Option<f64>>)>) -> ResultSeries {
    let points = points.map(|(start_ms, values)| Point {
        start_ms,
        values: values.into_iter().map(|value| value.map(Value::Number)).collect(),
    });
    ResultSeries {
        labels: [("device".to_owned(), device.to_owned())].into(),
        points: points.collect(),
        ..ResultSeries::default()
    }
}

fn result(aggregates: &[&str], series: Vec<ResultSeries>) -> QueryResult {
    let aggregates = aggregates.iter().map(|&name| name.to_owned()).collect();
    QueryResult { aggregates, series, complete_until_ms: Some(100 * MINUTE), ..QueryResult::default() }
}

/// The values of an attribute of all elements whose class begins so.
fn paths<'a>(svg: &'a str, class: &str) -> Vec<&'a str> {
    let element = format!("<path class=\"{class}");
    let after = svg.split(&element).skip(1);
    after.filter_map(|rest| rest.split_once(" d=\"")?.1.split_once('"').map(|(path, _)| path)).collect()
}

#[test]
fn gaps_stay_empty_and_lone_points_are_dots() {
    let at = |minutes: [i64; 6]| minutes.into_iter().map(|minute| (minute * MINUTE, vec![Some(1.0)]));
    let chart = draw(&request(), &result(&["mean"], vec![series("a", at([0, 1, 2, 50, 51, 80]))])).unwrap();
    // The last one is that of the legend.
    let lines = paths(&chart.svg, "line s0 d0");
    assert_eq!(
        (lines.len(), lines[0].matches('M').count(), lines[0].matches('L').count()),
        (2, 2, 3),
        "{lines:?}"
    );
    assert_eq!(chart.svg.matches("<circle").count(), 1);
    // A value that is missing is a gap too, and so is one that no axis has.
    for none in [None, Some(f64::INFINITY)] {
        let points = [
            (0, vec![Some(1.0)]),
            (1, vec![Some(2.0)]),
            (2, vec![none]),
            (3, vec![Some(1.0)]),
            (4, vec![Some(2.0)]),
        ];
        let points = points.into_iter().map(|(minute, values)| (minute * MINUTE, values));
        let chart = draw(&request(), &result(&["mean"], vec![series("a", points)])).unwrap();
        assert_eq!(paths(&chart.svg, "line s0 d0")[0].matches('M').count(), 2);
    }
}

#[test]
fn percentiles_are_a_band_and_counts_have_a_scale_of_their_own() {
    let values = |minute: i64| (minute * MINUTE, vec![Some(500.0), Some(21.0), Some(20.0), Some(25.0)]);
    let chart =
        draw(&request(), &result(&["count", "mean", "p50", "p99"], vec![series("a", (0..9).map(values))]))
            .unwrap();
    assert_eq!(paths(&chart.svg, "band s0").len(), 1);
    assert!(paths(&chart.svg, "band s0")[0].ends_with('Z'));
    assert_eq!(paths(&chart.svg, "line s0").len(), 3, "count, mean and the legend");
    assert!(
        chart.svg.contains(">mean (line), p50 to p99 (band)<") && chart.svg.contains(">count<"),
        "{}",
        chart.svg
    );
}

#[test]
fn hostile_labels_are_text() {
    let hostile = "</text><script>alert('1')</script>&\"\u{1b}[31m\u{0}\u{ffff}";
    let mut request = request();
    request.selector = format!("{{device=\"{hostile}\"}}");
    let mut result = result(&["mean"], vec![series(hostile, [(0, vec![Some(1.0)])].into_iter())]);
    result.gaps.push(Gap { site: hostile.to_owned(), to_ms: MINUTE, ..Gap::default() });
    let chart = draw(&request, &result).unwrap();
    assert!(!chart.svg.contains("<script") && chart.svg.contains("&lt;script&gt;"), "{}", chart.svg);
    assert!(!chart.svg.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{ffff}')));
    // All begins and ends as it should: as many elements as ends.
    let ends = chart.svg.matches("</").count() + chart.svg.matches("/>").count();
    assert_eq!(chart.svg.matches('<').count() - chart.svg.matches("</").count(), ends);
}

#[test]
fn the_size_is_bounded_and_what_is_left_out_is_noted() {
    let long = |index: i64| {
        series(
            &"x".repeat(5000),
            (0..20_000).map(move |n| (n * 300, vec![Some(((n * 7919) % 1000 + index) as f64)])),
        )
    };
    let chart = draw(&request(), &result(&["mean"], (0..23).map(long).collect())).unwrap();
    assert!(chart.svg.len() < 2 << 20, "{}", chart.svg.len());
    assert_eq!(chart.notes, ["3 more series are not drawn: choose with --top 20 --order NAME"]);
    assert!(chart.svg.contains("3 more series"));
    assert_eq!(paths(&chart.svg, "line s3 d2").len(), 2, "colours repeat with dashes");
    let names: Vec<String> = (0..15).map(|n| format!("below({n})")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let chart = draw(&request(), &result(&names, Vec::new())).unwrap();
    assert_eq!(chart.notes, ["3 more aggregates are not drawn: ask for fewer with --agg"]);
}

#[test]
fn texts_are_refused_alone_and_noted_beside_numbers() {
    let state =
        Point { start_ms: 0, values: vec![Some(Value::Text("auto".to_owned())), Some(Value::Number(3.0))] };
    let series = ResultSeries { points: vec![state], ..ResultSeries::default() };
    let chart = draw(&request(), &result(&["last_state", "count"], vec![series.clone()])).unwrap();
    assert_eq!(chart.notes, ["last_state is no number and not drawn"]);
    let error = draw(&request(), &result(&["last_state"], vec![series])).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("last_state"), "{error}");
}

#[test]
fn what_is_not_complete_is_hatched() {
    let some = || vec![series("a", [(0, vec![Some(1.0)])].into_iter())];
    let hatched =
        |result: &QueryResult| draw(&request(), result).unwrap().svg.matches("class=\"hatch\"").count();
    assert_eq!(hatched(&result(&["mean"], some())), 0);
    let late = QueryResult { complete_until_ms: Some(90 * MINUTE), ..result(&["mean"], some()) };
    assert_eq!(hatched(&late), 1);
    let gap = Gap { from_ms: None, to_ms: MINUTE, ..Gap::default() };
    assert_eq!(hatched(&QueryResult { gaps: vec![gap], ..late }), 2);
    let never = QueryResult {
        complete_until_ms: None,
        completeness: Some(Completeness { expected: 1, ..Completeness::default() }),
        ..result(&["mean"], some())
    };
    assert_eq!(hatched(&never), 1);
}

#[test]
fn a_full_chart_becomes_a_bounded_png() {
    let names = ["count", "mean", "p50", "p99", "min", "max", "sum"];
    let one = |index: i64| {
        let values = move |minute: i64| {
            let value = 20.0 + (minute as f64 / 9.0 + index as f64).sin() * 4.0;
            let spread = [60.0, value, value - 0.5, value + 2.0, value - 2.0, value + 3.0, value * 60.0];
            (minute * MINUTE, spread.map(Some).to_vec())
        };
        let name = match index {
            0 => "</text><script>&\"\u{202e}\u{0}",
            1 => "温度",
            _ => "press-17-with-a-long-name-of-its-own-that-does-not-fit-into-a-column",
        };
        series(&format!("{name}{index}"), (0..100).filter(|minute| !(40..50).contains(minute)).map(values))
    };
    let mut result = result(&names, (0..20).map(one).collect());
    result.complete_until_ms = Some(90 * MINUTE);
    result.gaps.push(Gap { from_ms: Some(10 * MINUTE), to_ms: 15 * MINUTE, ..Gap::default() });
    let svg = draw(&request(), &result).unwrap().svg;
    let image = png(&svg).unwrap();
    assert!(svg.contains(">device=press-17-with-a-long-…-does-not-fit-into-a-column19<"), "{svg}");
    assert!(image.starts_with(b"\x89PNG\r\n") && image.len() < 4 << 20, "{}", image.len());
    // To look at it: CATCHMENT_PICTURE=/tmp/chart.png cargo nextest run -p catchment-cli bounded_png
    if let Some(path) = std::env::var_os("CATCHMENT_PICTURE") {
        std::fs::write(path, image).unwrap();
    }
}

#[test]
fn marks_of_large_values_differ() {
    for first in [12_345_678.0, 1_796_100_000.0, 9.1e11] {
        let points = (0..9).map(|at| (at * MINUTE, vec![Some(first + at as f64)]));
        let svg = draw(&request(), &result(&["mean"], vec![series("meter", points)])).unwrap().svg;
        let marks = svg.split("text-anchor=\"end\" class=\"tick\">").skip(1);
        let mut marks: Vec<&str> =
            marks.filter_map(|rest| rest.split_once('<')).map(|(mark, _)| mark).collect();
        let count = marks.len();
        marks.dedup();
        assert!(count >= 3 && marks.len() == count, "{marks:?}");
        assert!(
            marks.iter().all(|mark| mark.parse::<f64>().is_ok_and(|value| (value - first).abs() < 10.0)),
            "{marks:?}"
        );
    }
}

#[test]
fn the_last_mark_ends_within_the_image() {
    const DAY: i64 = 1_440 * MINUTE;
    let whole = QueryRequest { to_ms: DAY, step_ms: Some(60 * MINUTE), ..request() };
    let svg = draw(&whole, &result(&["mean"], Vec::new())).unwrap().svg;
    assert!(svg.contains("text-anchor=\"end\" class=\"tick\">1970-01-02<"), "{svg}");
}

#[test]
fn times_are_those_of_the_zone() {
    let zoned = QueryRequest { time_zone: "Asia/Kolkata".to_owned(), ..request() };
    let chart = draw(&zoned, &result(&["mean"], Vec::new())).unwrap();
    assert!(
        chart.svg.contains(">1970-01-01 05:30:00 to 1970-01-01 07:10:00 Asia/Kolkata, step 1m<"),
        "{}",
        chart.svg
    );
    assert!(chart.svg.contains(">05:30<") && chart.svg.contains("no points in this range"));
}

proptest! {
    #[test]
    fn any_numbers_are_drawn_within_the_image(
        values in proptest::collection::vec((any::<i64>(), any::<f64>(), any::<f64>()), 0..40),
        from_ms in any::<i64>(), to_ms in any::<i64>(), step_ms in proptest::option::of(1..i64::MAX),
    ) {
        let mut values = values;
        values.sort_by_key(|(ms, ..)| *ms);
        let points = values.into_iter().map(|(ms, low, high)| (ms, vec![Some(low.min(high)), Some(high.max(low)), Some(low)]));
        let request = QueryRequest { from_ms: from_ms.min(to_ms), to_ms: from_ms.max(to_ms), step_ms, ..request() };
        let svg = draw(&request, &result(&["min", "max", "sum"], vec![series("a", points)])).unwrap().svg;
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for path in ["band", "line"].into_iter().flat_map(|class| paths(&svg, class)) {
            for number in path.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).filter(|text| !text.is_empty()) {
                let number: f64 = number.parse().unwrap();
                prop_assert!((0.0..=1000.0).contains(&number), "{path}");
            }
        }
    }
}
