//! Each form of a line, and what is refused before it is sent.

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
fn a_time_and_labels_stay_and_a_number_goes() {
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
fn what_is_no_message_is_refused() {
    assert!(matches!(one("{\"a\":}"), Err(LineError::Json(_))));
    assert!(matches!(one("[{\"a\":1}"), Err(LineError::Json(_))));
    assert!(matches!(one("temperature=21.5"), Err(LineError::Json(_))));
    assert_eq!(one("21.5"), Err(LineError::NotAnObject));
    assert_eq!(one(r#"{"hello":{"epoch":"x"}}"#), Err(LineError::Hello));
    // Deep nesting is no way to exhaust the stack.
    assert!(one(&format!("{{\"a\":{}1", "[".repeat(1 << 20))).is_err());
}

#[test]
fn what_a_gateway_keeps_is_sent() {
    for word in ["nan", "-nan", "NaN", "inf", "-Infinity", "1.#QNAN", "nan(0x1)"] {
        let line = format!(r#"{{"ts":1,"values":{{"a":{word},"b":"x:nan,"}}}}"#);
        let members = format!(r#""ts":1,"values":{{"a":{word},"b":"x:nan,"}}"#);
        assert_eq!(messages(&line, 5), [Ok(members)]);
        let line = format!(r#"[{{"ts":1,"a":{word}}},{{"ts":2,"b":3}}]"#);
        let elements = [Ok(format!(r#""ts":1,"a":{word}"#)), Ok(r#""ts":2,"b":3"#.to_owned())];
        assert_eq!(messages(&line, 5), elements);
    }
    // What stands around a line is not its.
    assert_eq!(messages("\u{feff}{\"ts\":1,\"a\":2}\0\r", 5), [Ok(r#""ts":1,"a":2"#.to_owned())]);
    for line in [r#"{"a":nano}"#, "nan", r#"{"a":nan"#, "\u{a0}{\"a\":1}"] {
        assert!(matches!(&*messages(line, 5), [Err(LineError::Json(_))]), "{line}");
    }
}
