//! One value alone, as devices publish it: `23.4`, `true`, `ON`.
//!
//! * A number as JSON writes it, and also with a leading `+`, without digits before or behind the point (`.5`, `5.`),
//!   as `printf` and spreadsheets write them. Finite, the nearest double where there is no equal one.
//! * `true`, `false`, `on`, `off` in any mix of cases, as ESPHome, Tasmota and Shelly publish switches: 1 and 0.
//! * ASCII white space around it is ignored, and so are NUL bytes (the end of a text of C) and byte order marks; all in
//!   all at most [`BYTES_MAX`] bytes.
//! * The metric's name, which may be a level of a topic, is mapped as all names are (`names`).
//!
//! The time is the gateway's: there is none in the payload.

use super::{excerpt, lines, names::identifier, sink::Sink};
use crate::intake::Reason;

/// Longest payload: a double with all its digits has 24 bytes, so that this leaves room for white space.
pub(crate) const BYTES_MAX: usize = 64;

/// Decodes a payload into a reading of the metric, with the labels of the sink.
pub(crate) fn decode(payload: &[u8], metric: &str, sink: &mut Sink<'_>) {
    // Not a number like another one: brokers mean by it that a kept message is deleted.
    if payload.is_empty() {
        return sink
            .refuse(Reason::Malformed, 1, || "empty payload: expected a number, true or false".to_owned());
    }
    match number(payload) {
        Ok(value) => {
            let (labels, now) = (sink.base().clone(), sink.rules.now);
            if sink.admit(1) == 1 {
                let _series = sink.take_mapped(metric, &identifier(metric), &labels, now, value);
            }
        }
        Err(kind) => sink.refuse(Reason::NotANumber, 1, || {
            let given = payload.get(..BYTES_MAX).unwrap_or(payload);
            let given = String::from_utf8_lossy(given);
            format!(
                "{:?} is {kind}; the payload is one finite number, true or false (on or off)",
                excerpt(&given)
            )
        }),
    }
}

/// The value, or what the payload is instead.
pub(super) fn number(payload: &[u8]) -> Result<f64, &'static str> {
    const NO_NUMBER: &str = "no number";
    if payload.len() > BYTES_MAX {
        return Err("too long");
    }
    let text = std::str::from_utf8(payload).map_or(payload, |text| lines::trim(text).as_bytes());
    if text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"on") {
        return Ok(1.0);
    }
    if text.eq_ignore_ascii_case(b"false") || text.eq_ignore_ascii_case(b"off") {
        return Ok(0.0);
    }
    // Keeps out the `inf` and `nan` of Rust's own grammar.
    if !text.iter().all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err(NO_NUMBER);
    }
    let value: f64 = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NO_NUMBER)?;
    if value.is_finite() { Ok(value) } else { Err("beyond the range of numbers") }
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
            assert_eq!(number(payload.as_bytes()), Ok(*value), "{payload:?}");
        }
        assert_eq!(number(format!("1{}", " ".repeat(63)).as_bytes()), Ok(1.0));
    }

    #[test]
    fn anything_else_is_no_number() {
        let cases: &[&[u8]] = &[
            b"",
            b" ",
            b".",
            b"-",
            b"+",
            b"e",
            b"1e",
            b"1 2",
            b"--1",
            b"0x10",
            b"1,5",
            b"NaN",
            b"nan",
            b"inf",
            b"-Infinity",
            b"null",
            b"\"1\"",
            b"[1]",
            b"{}",
            b"1i",
            b"t",
            b"yes",
            b"open",
            b"23.4 C",
            b"\xff",
            b"1\x002",
            b"\xef\xbc\x91",
        ];
        for payload in cases {
            assert_eq!(number(payload), Err("no number"), "{:?}", String::from_utf8_lossy(payload));
        }
        for payload in ["1e400", "-1e400"] {
            assert_eq!(number(payload.as_bytes()), Err("beyond the range of numbers"));
        }
        for payload in ["9".repeat(65), "9".repeat(400), format!("1{}", " ".repeat(64))] {
            assert_eq!(number(payload.as_bytes()), Err("too long"));
        }
    }
}
