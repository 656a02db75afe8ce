//! JSON lines as an attacker or a broken device sends them: one case for each way that is known to break decoders.

use super::*;

/// A number of 400 digits, which no double holds.
fn digits() -> String {
    "9".repeat(400)
}

#[test]
fn numbers_beyond_the_range_are_refused_one_by_one() {
    for number in [
        "1e400".to_owned(),
        "-1e400".to_owned(),
        "1E+4000000000".to_owned(),
        digits(),
        format!("-{}", digits()),
    ] {
        let mut fixture = Fixture::new();
        let line = format!(r#"{{"a":{number},"b":1,"c":{{"d":{number}}}}}"#);
        assert_eq!(fixture.json(&line, 1), Decoded::Message, "{line}");
        assert_eq!(fixture.readings(), ["b=1.0"], "{line}");
        assert_eq!(fixture.refusals(), [(NotANumber, 1), (NotANumber, 1)], "{line}");
    }
    // What a double can say comes through, however it is written.
    for (number, value) in [
        (format!("0.{}1", "0".repeat(400)), 0.0),
        ("1e-400".to_owned(), 0.0),
        (format!("{}e-400", digits()), 1.0),
        (format!("1{}", "0".repeat(308)), 1e308),
    ] {
        let mut fixture = Fixture::new();
        fixture.json(format!(r#"{{"a":{number}}}"#), 1);
        assert_eq!(fixture.intake.readings[0].value, value, "{number}");
    }
    for (member, reason) in [("ts", TooFarAhead), ("seq", Malformed)] {
        let mut fixture = Fixture::new();
        fixture.json(format!(r#"{{"{member}":{},"a":1}}"#, digits()), 1);
        assert_eq!((fixture.readings(), fixture.refusals()), (vec![], vec![(reason, 1)]), "{member}");
    }
}

#[test]
fn members_given_twice_are_found_wherever_they_stand() {
    let cases: &[(&str, &[&str], Reason)] = &[
        (r#"{"a":1,"\u0061":2}"#, &["a=1.0"], Malformed),
        (r#"{"values":{"a":1,"a":2}}"#, &["a=1.0"], Malformed),
        (r#"{"a":{"b":1,"b":2}}"#, &["a_b=1.0"], Malformed),
        (r#"{"a":{"b":1},"a":{"b":2}}"#, &["a_b=1.0"], Malformed),
        (r#"{"values":{"a":1},"values":{"b":2}}"#, &[], Malformed),
        (r#"{"labels":{"x":"1"},"labels":{"x":"2"},"a":1}"#, &[], Malformed),
        (r#"{"labels":{"x":"1","\u0078":"2"},"a":1}"#, &[], BadLabel),
    ];
    for (line, readings, reason) in cases {
        let mut fixture = Fixture::new();
        fixture.json(line, 1);
        assert_eq!(fixture.readings(), *readings, "{line}");
        assert_eq!(fixture.refusals(), [(*reason, 1)], "{line}");
    }
    let mut fixture = Fixture::new();
    let twice = r#"{"hello":{"epoch":"a"},"hello":{"epoch":"b"}}"#;
    assert_eq!(fixture.json(twice, 1), Decoded::Message, "two hellos are none");
    assert_eq!(fixture.json(r#"{"hello":{"epoch":"a","epoch":"b"}}"#, 1), Decoded::Refused);
}

#[test]
fn bytes_that_are_no_utf8_refuse_the_line_wherever_they_stand() {
    let wrong: &[&[u8]] = &[
        b"\xff",
        b"\x80",
        b"\xc3",
        // Overlong: NUL, slash and quotation mark in more bytes than they need.
        b"\xc0\x80",
        b"\xc0\xaf",
        b"\xe0\x80\xa2",
        b"\xf0\x80\x80\xa2",
        // Halves of surrogate pairs, and a pair of them.
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\xbd\xed\xb8\x80",
        // Beyond the last character, and cut short.
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98",
    ];
    for bytes in wrong {
        for (before, after) in [
            (r#"{"a":1,"b"#, r#"":2}"#),
            (r#"{"a":1,"b":""#, r#""}"#),
            (r#"{"a":1"#, "}"),
            (r#"{"a":1}"#, ""),
        ] {
            let line = [before.as_bytes(), bytes, after.as_bytes()].concat();
            let mut fixture = Fixture::new();
            assert_eq!(fixture.json(&line, 1), Decoded::Refused, "{line:?}");
            assert_eq!((fixture.readings(), fixture.refusals()), (vec![], vec![(Malformed, 1)]), "{line:?}");
        }
    }
    // As escapes they are JSON's syntax, but no text.
    for name in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\ud83d\u0061"] {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.json(format!(r#"{{"a":1,"{name}":2}}"#), 1), Decoded::Refused, "{name}");
        assert!(fixture.readings().is_empty());
    }
}

#[test]
fn a_stream_gives_the_same_wherever_it_is_split() {
    let long = format!("{{\"long\":{}}}", "1".repeat(40));
    let stream = format!(
        "{{\"t\u{fc}r\":true}}\r\n{{\"a\":1.5,\"b\":\"\u{1f600}\\n\"}}\n\n{long}\n[{{\"a\":2}},\n{{\"c\":3}}"
    );
    let decode = |cuts: &[usize]| {
        let mut fixture = Fixture::new();
        let mut cutter = crate::decode::Lines::json(40);
        let (mut buffer, mut at, mut ordinal) = (Vec::new(), 0, 0);
        for (n, end) in cuts.iter().chain([&stream.len(), &stream.len()]).enumerate() {
            buffer.extend_from_slice(&stream.as_bytes()[at..*end]);
            at = *end;
            loop {
                let last = n == cuts.len() + 1;
                let consumed = match if last { cutter.finish(&buffer) } else { cutter.next(&buffer) } {
                    Next::Line { line, consumed } => {
                        ordinal += 1;
                        let line = line.to_vec();
                        fixture.json(&line, ordinal);
                        consumed
                    }
                    Next::TooLong { consumed } => {
                        ordinal += 1;
                        crate::decode::refuse_too_long(&fixture.limits, ordinal, &mut fixture.intake);
                        consumed
                    }
                    Next::More { consumed } => {
                        buffer.drain(..consumed);
                        break;
                    }
                };
                buffer.drain(..consumed);
            }
        }
        let reported: Vec<_> = fixture.intake.refusals.iter().map(|r| (r.reason, r.ordinal)).collect();
        (fixture.messages(), fixture.readings(), reported)
    };
    let whole = decode(&[]);
    assert_eq!(whole.1, ["t_r=1.0/true", "a=1.5", "c=3.0"]);
    assert_eq!(whole.2, [(BadState, 2), (TooLong, 3), (Malformed, 4)]);
    for first in 0..=stream.len() {
        assert_eq!(decode(&[first]), whole, "split at {first}");
        let second = (first + 5).min(stream.len());
        assert_eq!(decode(&[first, second]), whole, "split at {first} and {second}");
    }
}

#[test]
fn nesting_beyond_the_bound_refuses_the_member_alone() {
    let deep = |n: usize| format!("{}1{}", r#"{"x":"#.repeat(n), "}".repeat(n));
    for (depth, taken) in [(15, true), (16, false), (100, false), (127, false), (5_000, false)] {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.json(format!(r#"{{"a":{},"b":1}}"#, deep(depth)), 1), Decoded::Message, "{depth}");
        assert_eq!(fixture.readings().len(), 1 + usize::from(taken), "{depth}");
        assert_eq!(fixture.refusals().len(), usize::from(!taken), "{depth}");
    }
    // Arrays are no readings, however deep; the reading beside them is kept.
    let mut fixture = Fixture::new();
    fixture.json(format!(r#"{{"a":{}{},"b":1}}"#, "[".repeat(50_000), "]".repeat(50_000)), 1);
    assert_eq!((fixture.readings(), fixture.refusals()), (vec!["b=1.0".to_owned()], vec![(NotANumber, 1)]));
}
