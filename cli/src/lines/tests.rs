//! Each form of a line, and refusals before sending.

use catchment_gateway::{
    decode::{DecodeLimits, Lines, Next, json},
    intake::{Intake, SeriesTable, TimeRules},
};
use catchment_partial::Timestamp;

use super::*;

fn one(line: &str) -> Element {
    let mut elements = messages(line, 7);
    assert_eq!(elements.len(), 1, "{line}");
    elements.remove(0)
}

#[test]
fn readings_without_a_time_get_one() {
    assert_eq!(one(r#"{"temperature":21.50}"#), Ok(r#""ts":7,"temperature":21.50"#.to_owned()));
    assert_eq!(one(r#" {"values":{"a":1}} "#), Ok(r#""ts":7,"values":{"a":1}"#.to_owned()));
}

#[test]
fn time_and_labels_are_kept_and_seq_is_dropped() {
    assert_eq!(one(r#"{"ts":5,"a":1,"seq":3}"#), Ok(r#""ts":5,"a":1"#.to_owned()));
    let line = r#"{"seq":9,"ts":1700000000000,"values":{"a":1},"labels":{"room":"3"}}"#;
    assert_eq!(one(line), Ok(r#""ts":1700000000000,"values":{"a":1},"labels":{"room":"3"}"#.to_owned()));
}

#[test]
fn numbers_keep_their_text() {
    let line = r#"{"a":0.1000000000000000055511151231257827,"b":1e999,"c":{"d":12345678901234567890123}}"#;
    assert_eq!(one(line), Ok(format!(r#""ts":7,{}"#, line.trim_matches(['{', '}']).to_owned() + "}")));
}

#[test]
fn each_element_of_an_array_is_a_message() {
    let elements = messages(r#"[{"a":1},{"ts":5,"values":{"a":2}},3]"#, 7);
    let expected = [
        Ok(r#""ts":7,"a":1"#.to_owned()),
        Ok(r#""ts":5,"values":{"a":2}"#.to_owned()),
        Err(LineError::NotAnObject),
    ];
    assert_eq!(elements, expected);
    assert_eq!(messages("[]", 7), []);
}

#[test]
fn a_line_that_is_not_a_message_is_refused() {
    assert!(matches!(one("{\"a\":}"), Err(LineError::Json(_))));
    assert!(matches!(one("[{\"a\":1}"), Err(LineError::Json(_))));
    assert!(matches!(one("temperature=21.5"), Err(LineError::Json(_))));
    assert_eq!(one("21.5"), Err(LineError::NotAnObject));
    assert_eq!(one(r#"{"hello":{"epoch":"x"}}"#), Err(LineError::Hello));
    // Deep nesting cannot exhaust the stack.
    assert!(one(&format!("{{\"a\":{}1", "[".repeat(1 << 20))).is_err());
}

#[test]
fn readings_that_a_gateway_keeps_are_sent() {
    for word in ["nan", "-nan", "NaN", "inf", "-Infinity", "1.#QNAN", "nan(0x1)"] {
        let line = format!(r#"{{"ts":1,"values":{{"a":{word},"b":"x:nan,"}}}}"#);
        let members = format!(r#""ts":1,"values":{{"a":{word},"b":"x:nan,"}}"#);
        assert_eq!(messages(&line, 5), [Ok(members)]);
        let line = format!(r#"[{{"ts":1,"a":{word}}},{{"ts":2,"b":3}}]"#);
        let elements = [Ok(format!(r#""ts":1,"a":{word}"#)), Ok(r#""ts":2,"b":3"#.to_owned())];
        assert_eq!(messages(&line, 5), elements);
    }
    // A byte order mark and trailing control characters are not part of a line.
    assert_eq!(messages("\u{feff}{\"ts\":1,\"a\":2}\0\r", 5), [Ok(r#""ts":1,"a":2"#.to_owned())]);
    for line in [r#"{"a":nano}"#, "nan", r#"{"a":nan"#, "\u{a0}{\"a\":1}"] {
        assert!(matches!(&*messages(line, 5), [Err(LineError::Json(_))]), "{line}");
    }
}

/// The values that a gateway keeps of lines, as it reads them from a socket.
fn kept(text: &str) -> Vec<f64> {
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    let rules = TimeRules { now: time(7), oldest: time(0), newest: time(1_000) };
    let (limits, options) = (DecodeLimits::default(), json::Options::default());
    let (mut lines, mut table, mut intake) = (Lines::json(1 << 20), SeriesTable::new(100), Intake::default());
    let mut rest = text;
    while let Next::Line { line, consumed } = lines.finish(rest.as_bytes()) {
        json::decode_line(line, &options, 1, &mut table, &rules, &limits, &mut intake);
        rest = &rest[consumed..];
    }
    intake.readings.iter().map(|reading| reading.value).collect()
}

#[test]
fn a_sent_line_yields_the_values_of_the_line_itself() {
    let blanks =
        ["", " ", "\t", "\r", "\u{c}", "\u{b}", "\0", "\u{feff}", "\u{85}", "\u{a0}", "\u{200b}", "\u{1}"];
    let bodies = [
        ["{", "\"a\":1", "}"],
        ["[{", "\"a\":1},{\"b\":2", "}]"],
        ["{", "\"a\":nan,\"b\":2", "}"],
        ["", "", ""],
    ];
    for [begin, middle, end] in bodies {
        for (one, other) in blanks.iter().flat_map(|one| blanks.iter().map(move |other| (one, other))) {
            for line in [
                format!("{one}{other}{begin}{middle}{end}"),
                format!("{one}{begin}{middle}{end}{other}"),
                format!("{begin}{one}{middle}{end}{other}"),
                format!("{begin}{middle}{one}{end}{other}"),
                format!("{begin}{middle}{end}{one}{other}"),
            ] {
                let sent = |element: Element| element.map(|members| format!("{{\"seq\":1,{members}}}\n"));
                let sent: String = messages(&line, 7).into_iter().filter_map(|e| sent(e).ok()).collect();
                assert_eq!(kept(&sent), kept(&line), "{line:?}");
            }
        }
    }
}
