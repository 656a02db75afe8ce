//! The three formats, against the documented example.

use super::*;

fn result_of_one_point() -> QueryResult {
    QueryResult {
        complete_until_ms: Some(1_795_342_500_000),
        completeness: None,
        gaps: Vec::new(),
        aggregates: ["count", "mean", "p99"].map(str::to_owned).into(),
        series: vec![ResultSeries {
            selector: 0,
            labels: [("device".to_owned(), "press-17".to_owned())].into(),
            points: vec![Point {
                start_ms: 1_795_341_600_000,
                values: numbers(&[Some(60.0), Some(21.4), Some(22.0)]),
            }],
        }],
        selectors: Vec::new(),
        nothing_selected: None,
    }
}

fn numbers(values: &[Option<f64>]) -> Vec<Option<Value>> {
    values.iter().map(|value| value.map(Value::Number)).collect()
}

fn by_device() -> Vec<String> {
    vec!["device".to_owned()]
}

#[test]
fn json_is_the_documented_example() {
    let expected = concat!(
        r#"{"complete_until":"2026-11-22T10:15:00Z","#,
        r#""series":[{"labels":{"device":"press-17"},"#,
        r#""points":[{"t":"2026-11-22T10:00:00Z","count":60,"mean":21.4,"p99":22.0}]}]}"#,
        "\n",
    );
    assert_eq!(result_json(&result_of_one_point()), expected);
}

#[test]
fn series_of_several_selectors_name_theirs() {
    let mut result = result_of_one_point();
    result.selectors = ["temperature", "{site=\"b\"}"].map(str::to_owned).into();
    result.series[0].selector = 1;
    let json = result_json(&result);
    assert!(json.contains(r#"[{"selector":"{site=\"b\"}","labels":{"device":"press-17"},"#), "{json}");
    let csv = result_csv(&result, &by_device());
    assert!(csv.starts_with("selector,device,t,count"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("\"{site=\"\"b\"\"}\",press-17,2026"), "{csv}");
    assert!(result_table(&result, &by_device()).trim_start().starts_with("selector"));
}

#[test]
fn arithmetic_is_a_plain_number() {
    assert_eq!(rounded("below(20)/count", Some(1.0)), "1");
    assert_eq!(rounded("last_time-first_time", Some(60.0)), "60");
    assert_eq!(exact("count/below(20)", Some(2.0)), "2");
    assert_eq!(whole("below(20)/count", 1.0), None);
}

#[test]
fn json_shows_missing_values_as_null_and_keeps_the_requested_order() {
    let mut result = result_of_one_point();
    result.complete_until_ms = None;
    result.aggregates = ["p99", "sum", "count"].map(str::to_owned).into();
    result.series[0].labels.clear();
    result.series[0].points[0] =
        Point { start_ms: 500, values: numbers(&[Some(0.1 + 0.2), None, Some(1e15)]) };
    let expected = concat!(
        r#"{"complete_until":null,"series":[{"labels":{},"points":[{"t":"1970-01-01T00:00:00.500Z","#,
        r#""p99":0.30000000000000004,"sum":null,"count":1000000000000000}]}]}"#,
        "\n",
    );
    assert_eq!(result_json(&result), expected);
    assert_eq!(result_json(&QueryResult::default()), "{\"complete_until\":null,\"series\":[]}\n");
}

#[test]
fn csv_has_a_header_and_quotes_cells_that_need_it() {
    let mut result = result_of_one_point();
    result.series[0].labels.insert("room".to_owned(), "3, left".to_owned());
    result.series[0].points[0].values[2] = None;
    let by = ["room", "device"].map(str::to_owned);
    let expected = "room,device,t,count,mean,p99\n\"3, left\",press-17,2026-11-22T10:00:00Z,60,21.4,\n";
    assert_eq!(result_text(&result, &by, ResultFormat::Csv), expected);
    let empty = QueryResult { aggregates: vec!["count".to_owned()], ..QueryResult::default() };
    assert_eq!(result_text(&empty, &by_device(), ResultFormat::Csv), "device,t,count\n");
}

#[test]
fn a_table_has_every_value_and_the_completeness() {
    let text = result_text(&result_of_one_point(), &by_device(), ResultFormat::Table);
    for part in [
        "device",
        "p99",
        "press-17",
        "2026-11-22T10:00:00Z",
        "60",
        "21.4",
        "complete until 2026-11-22T10:15:00Z",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let empty = result_text(&QueryResult::default(), &[], ResultFormat::Table);
    assert!(empty.starts_with("no readings\ncomplete until not known"), "{empty}");
}

#[test]
fn every_format_shows_gaps() {
    let gap = Gap {
        site: "berlin".to_owned(),
        gateway: "gw".to_owned(),
        from_ms: Some(1_795_341_600_000),
        to_ms: 1_795_341_660_000,
        batches: 6,
    };
    let from_the_beginning = Gap { from_ms: None, batches: 0, ..gap.clone() };
    let mut result = result_of_one_point();
    result.gaps = vec![gap];
    let json = result_json(&result);
    let expected = concat!(
        r#"{"complete_until":"2026-11-22T10:15:00Z","gaps":[{"site":"berlin","gateway":"gw","#,
        r#""from":"2026-11-22T10:00:00Z","to":"2026-11-22T10:01:00Z","batches":6}],"series":[{"#,
    );
    assert!(json.starts_with(expected), "{json}");
    let line =
        "incomplete: berlin/gw lost windows from 2026-11-22T10:00:00Z to 2026-11-22T10:01:00Z, 6 batches\n";
    assert!(result_text(&result, &[], ResultFormat::Table).ends_with(line));
    assert_eq!(gaps_text(&result), line);
    assert!(!result_text(&result, &[], ResultFormat::Csv).contains("incomplete"), "a table and nothing else");

    result.complete_until_ms = None;
    result.gaps = vec![from_the_beginning];
    assert!(result_json(&result).contains(r#""from":null"#));
    let text = result_text(&result, &[], ResultFormat::Table);
    assert!(text.contains("complete until not known: windows of the range are lost"), "{text}");
    assert!(
        text.contains("from the beginning to 2026-11-22T10:01:00Z, an unknown number of batches"),
        "{text}"
    );
}

#[test]
fn a_label_cannot_drive_the_terminal() {
    let mut result = result_of_one_point();
    result.series[0].labels.insert("room".to_owned(), "\u{1b}[2J".to_owned());
    assert!(!result_text(&result, &[], ResultFormat::Table).contains('\u{1b}'));
}

#[test]
fn numbers_for_people_are_short() {
    let shown = |value: f64| rounded("mean", Some(value));
    assert_eq!(shown(21.399_999_999), "21.4");
    assert_eq!(shown(0.0), "0");
    assert_eq!(shown(-0.000_123_456), "-0.00012");
    assert_eq!(shown(1_234_567.8), "1234568");
    assert_eq!(shown(100.0), "100");
    assert_eq!(shown(1e-9), "1.00000e-9");
    assert_eq!(shown(1e300), "1.00000e300");
    assert_eq!(rounded("count", Some(12.0)), "12");
    assert_eq!(rounded("p99", None), "-");
    assert_eq!(rounded("first_time", Some(1_795_341_600.5)), "2026-11-22T10:00:00.500Z");
}

#[test]
fn a_spreadsheet_evaluates_no_text() {
    for (text, cell) in [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@a", "'@a"),
        (" =a", "' =a"),
        ("-5", "-5"),
        ("+5.5e3", "+5.5e3"),
        ("-inf", "'-inf"),
        ("-1+2", "'-1+2"),
        ("\t=a", "\u{fffd}=a"),
        ("\r=a", "\u{fffd}=a"),
        ("a=b", "a=b"),
        ("x\u{202e}y", "x\u{fffd}y"),
        ("", ""),
    ] {
        assert_eq!(text_cell(text), cell, "{text:?}");
    }
    let mut result = result_of_one_point();
    result.series[0].labels = [("device".to_owned(), "=cmd".to_owned())].into();
    result.series[0].points[0].values = numbers(&vec![Some(-5.0); result.aggregates.len()]);
    let text = result_text(&result, &by_device(), ResultFormat::Csv);
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with("'=cmd,") && line.contains(",-5"), "numbers stay numbers: {line}");
}

#[test]
fn no_format_prints_bidi_controls_and_json_keeps_the_value() {
    let mut result = result_of_one_point();
    let value = "a\u{202e}b\u{7f}\u{feff}é".to_owned();
    result.series[0].labels = [("device".to_owned(), value.clone())].into();
    for format in [ResultFormat::Table, ResultFormat::Csv, ResultFormat::Json] {
        let text = result_text(&result, &by_device(), format);
        assert!(!text.replace('\n', "").contains(is_unprintable), "{text:?}");
    }
    let json: serde_json::Value = serde_json::from_str(&result_json(&result)).unwrap();
    assert_eq!(json["series"][0]["labels"]["device"], value);
}

#[test]
fn nothing_selected_differs_from_nothing_delivered() {
    let result =
        QueryResult { nothing_selected: Some("no series is selected".to_owned()), ..QueryResult::default() };
    let text = result_text(&result, &[], ResultFormat::Table);
    assert_eq!(text, "no readings\nno series is selected\n");
}

/// One point with a text and with states, some of them hostile.
fn result_of_states() -> QueryResult {
    let mut result = result_of_one_point();
    result.aggregates = ["last_state", "state_times", "transitions", "below(2.5)"].map(str::to_owned).into();
    let times = [("=cmd", 0.5), ("a b", 1.0), ("auto", 3600.0), ("say \"x\"", 20.0)];
    result.series[0].points[0].values = vec![
        Some(Value::Text("-stop\u{1b}".to_owned())),
        Some(Value::States(times.map(|(state, time)| (state.to_owned(), time)).to_vec())),
        Some(Value::Number(3.0)),
        None,
    ];
    result
}

#[test]
fn texts_and_states_have_a_form_in_each_format() {
    let result = result_of_states();
    let json: serde_json::Value = serde_json::from_str(&result_json(&result)).unwrap();
    let expected = serde_json::json!({
        "t": "2026-11-22T10:00:00Z",
        "last_state": "-stop\u{1b}",
        "state_times": { "=cmd": 0.5, "a b": 1.0, "auto": 3600.0, "say \"x\"": 20.0 },
        "transitions": 3,
        "below(2.5)": null,
    });
    assert_eq!(json["series"][0]["points"][0], expected);
    assert!(result_json(&result).contains(r#""transitions":3,"#), "a whole number");
    let csv = result_text(&result, &by_device(), ResultFormat::Csv);
    let row = concat!(
        "press-17,2026-11-22T10:00:00Z,'-stop\u{fffd},",
        r#""""=cmd""=0.5 ""a b""=1 auto=3600 ""say \""x\""""=20",3,"#,
    );
    assert_eq!(csv.lines().nth(1), Some(row));
    let table = result_text(&result, &by_device(), ResultFormat::Table);
    assert!(table.contains(r#""=cmd"=0.5 "a b"=1 auto=3600 "say \"x\""=20"#), "{table}");
    assert!(!table.contains('\u{1b}') && table.contains("-stop"), "{table}");
}
