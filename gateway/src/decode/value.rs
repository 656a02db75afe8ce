//! One value alone, as devices publish it: `23.4`, `true`, `ON`.
//!
//! * A number as JSON writes it, and also with a leading `+`, without digits before or behind the point (`.5`, `5.`),
//!   as `printf` and spreadsheets write them. Finite, the nearest double where there is no equal one.
//! * `true`, `false`, `on`, `off` in any mix of cases, as ESPHome, Tasmota and Shelly publish switches: 1 and 0, and
//!   beside it the state as it is written.
//! * Any other text that does not begin as a number does is a state. Words that say that there is no number (`nan`,
//!   `null`, `None`) and JSON are refused: they are a number's place, or another payload's.
//! * ASCII white space around it is ignored, and so are NUL bytes (the end of a text of C) and byte order marks. A
//!   number has at most [`BYTES_MAX`] bytes with them.
//! * The metric's name, which may be a level of a topic, is mapped as all names are (`names`).
//!
//! The time is the gateway's: there is none in the payload.

use super::{
    excerpt,
    json::tokens,
    lines,
    names::identifier,
    sink::{Sink, bad_state},
};
use crate::intake::{Reason, Value};

/// Longest number: a double with all its digits has 24 bytes, so that this leaves room for white space.
pub(crate) const BYTES_MAX: usize = 64;

/// Decodes a payload into a reading of the metric, with the labels of the sink.
pub(crate) fn decode(payload: &[u8], metric: &str, sink: &mut Sink<'_>) {
    // Not a number like another one: brokers mean by it that a kept message is deleted.
    if payload.is_empty() {
        return sink.refuse(Reason::Malformed, 1, || {
            "empty payload: expected a number, true, false or a text".to_owned()
        });
    }
    let Ok(text) = std::str::from_utf8(payload) else {
        return sink.refuse(Reason::BadState, 1, || bad_state("the payload", "no UTF-8"));
    };
    match value(text) {
        Ok(value) => {
            let (labels, now) = (sink.base().clone(), sink.rules.now);
            if sink.admit(1) == 1 {
                let _series = sink.take_mapped(metric, &identifier(metric), &labels, now, value);
            }
        }
        Err(kind) => sink.refuse(Reason::NotANumber, 1, || {
            let given = excerpt(text);
            format!(
                "{given:?} is {kind}; the payload is one finite number, true or false (on or off) or a text"
            )
        }),
    }
}

/// The value, or what the text is instead. Whether a state keeps the rules is checked later.
fn value(text: &str) -> Result<Value<'_>, &'static str> {
    let trimmed = lines::trim(text);
    match trimmed.as_bytes().first() {
        None => return Err("empty"),
        Some(b'0'..=b'9' | b'+' | b'-' | b'.') => {}
        Some(b'{' | b'[' | b'"') => return Err("JSON, which is for the topic telemetry"),
        Some(_) if tokens::is_word(trimmed) || trimmed == "null" => {}
        Some(_) => return number(text).or(Ok(Value::State(trimmed))),
    }
    number(text)
}

/// The number or boolean, or what the text is instead.
pub(super) fn number(text: &str) -> Result<Value<'_>, &'static str> {
    const NO_NUMBER: &str = "no number";
    if text.len() > BYTES_MAX {
        return Err("too long");
    }
    let text = lines::trim(text);
    let is = |words: [&str; 2]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["true", "on"]) {
        return Ok(Value::Boolean(1.0, text));
    }
    if is(["false", "off"]) {
        return Ok(Value::Boolean(0.0, text));
    }
    // Keeps out the `inf` and `nan` of Rust's own grammar.
    if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err(NO_NUMBER);
    }
    let value: f64 = text.parse().map_err(|_| NO_NUMBER)?;
    if value.is_finite() { Ok(Value::Number(value)) } else { Err("beyond the range of numbers") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_devices_publish_is_read() {
        let cases: &[(&str, f64)] = &[
            ("23.4", 23.4),
            (" 23.4\r\n", 23.4),
            ("\t-0", 0.0),
            ("+5", 5.0),
            ("5.", 5.0),
            (".5", 0.5),
            ("-.5e-3", -0.0005),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("007", 7.0),
            ("1e-999", 0.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("true", 1.0),
            ("False", 0.0),
            ("ON", 1.0),
            ("off", 0.0),
            ("1\0", 1.0),
            ("\u{feff}1\r\n\0\0", 1.0),
        ];
        for (payload, value) in cases {
            assert_eq!(super::value(payload).map(Value::number), Ok(Some(*value)), "{payload:?}");
        }
        let padded = format!("1{}", " ".repeat(63));
        assert_eq!(value(&padded), Ok(Value::Number(1.0)));
        for (payload, number, state) in [(" ON\r\n", 1.0, "ON"), ("oFF", 0.0, "oFF"), ("True", 1.0, "True")] {
            assert_eq!(value(payload), Ok(Value::Boolean(number, state)));
        }
    }

    #[test]
    fn a_text_that_does_not_begin_as_a_number_does_is_a_state() {
        for (payload, state) in [
            (" auto\n", "auto"),
            ("yes", "yes"),
            ("open", "open"),
            ("t", "t"),
            ("e", "e"),
            ("nano", "nano"),
            ("off-peak 2", "off-peak 2"),
            ("\u{ff11}", "\u{ff11}"),
        ] {
            assert_eq!(value(payload), Ok(Value::State(state)), "{payload:?}");
        }
        let long = "x".repeat(100);
        assert_eq!(value(&long), Ok(Value::State(&long)), "its length is checked with the other rules");
    }

    #[test]
    fn anything_else_is_no_number() {
        let cases = [
            " ",
            ".",
            "-",
            "+",
            "1e",
            "1 2",
            "--1",
            "0x10",
            "1,5",
            "NaN",
            "nan",
            "inf",
            "-Infinity",
            "null",
            "None",
            "\"1\"",
            "[1]",
            "{}",
            "1i",
            "23.4 C",
            "1\x002",
            "2023-11-14",
        ];
        for payload in cases {
            assert!(value(payload).is_err(), "{payload:?}");
        }
        for payload in ["1e400", "-1e400"] {
            assert_eq!(value(payload), Err("beyond the range of numbers"));
        }
        for payload in ["9".repeat(65), "9".repeat(400), format!("1{}", " ".repeat(64))] {
            assert_eq!(value(&payload), Err("too long"));
        }
    }
}
