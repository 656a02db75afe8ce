mod hostile;
mod states;
mod words;

use proptest::prelude::*;

use super::*;
use crate::decode::{Next, fixture::Fixture};
use Reason::*;

/// Line, readings, refusals.
type Case = (&'static str, &'static [&'static str], &'static [(Reason, u32)]);

const READINGS: &[Case] = &[
    (r#"{"temperature":21.5,"door_open":true}"#, &["temperature=21.5", "door_open=1.0/true"], &[]),
    (" \t{ \"a\" : 1 }\r", &["a=1.0"], &[]),
    (r#"{"ts":1700000001000,"values":{"a":1,"b":false}}"#, &["a=1.0@1000.0", "b=0.0/false@1000.0"], &[]),
    // The order of members does not matter.
    (
        r#"{"values":{"a":1},"seq":4,"labels":{"room":"3","b":""},"ts":1699999999000}"#,
        &["a{room=3}=1.0@-1000.0"],
        &[],
    ),
    (r#"{"a":1,"ts":1700000000001,"labels":{"room":"3"}}"#, &["a{room=3}=1.0@1.0"], &[]),
    // Fractions of a millisecond are exact.
    (r#"{"ts":1700000000000.25,"a":1}"#, &["a=1.0@0.25"], &[]),
    (r#"{"ts":1700000000000.000001,"a":1}"#, &["a=1.0@1e-6"], &[]),
    (r#"{"ts":1.7e12,"a":1}"#, &["a=1.0"], &[]),
    // Nested objects.
    (r#"{"a":{"b":{"c":1},"d":2},"e":{},"values":3}"#, &["a_b_c=1.0", "a_d=2.0", "values=3.0"], &[]),
    (r#"{"values":{"ts":5,"seq":{"x":1}}}"#, &["ts=5.0", "seq_x=1.0"], &[]),
    (r#"{"t\u0061":1}"#, &["ta=1.0"], &[]),
    // Values.
    (
        r#"{"a":-0.0,"b":9007199254740993,"c":1e-999,"d":123456789012345678901234567890,"e":-1E+2}"#,
        &["a=0.0", "b=9007199254740992.0", "c=0.0", "d=1.2345678901234568e29", "e=-100.0"],
        &[],
    ),
    (
        r#"{"a":null,"b":"on","c":[1],"d":1e999,"e":-1e999,"f":2}"#,
        &["b=on", "f=2.0"],
        &[(NotANumber, 1), (NotANumber, 1), (NotANumber, 1), (NotANumber, 1)],
    ),
    (
        r#"{"a":NaN,"b":1,"c":-Infinity,"d":Infinity,"NaN":2,"e":"NaN \" NaN"}"#,
        &["b=1.0", "NaN=2.0", "e=NaN \" NaN"],
        &[(NotANumber, 1), (NotANumber, 1), (NotANumber, 1)],
    ),
    // States.
    (r#"{"mode":"auto","a":{"b":"\u00e4\"\\"},"values":" "}"#, &["mode=auto", "a_b=ä\"\\", "values= "], &[]),
    (r#"{"ts":1700000000001,"values":{"mode":"off"},"labels":{"room":"3"}}"#, &["mode{room=3}=off@1.0"], &[]),
    (
        r#"{"a":"","b":"x\ny","c":"\u0000","d":"\ud800","e":"12345678901234567890123456789012345678901234567890123456789012345"}"#,
        &[],
        &[(BadState, 1), (BadState, 1), (BadState, 1), (BadState, 1), (BadState, 1)],
    ),
    // Names.
    (
        r#"{"PM2.5":1,"":2,"ä":3,"9":4,"c":5,"DS18B20-1":{"t °C":6},"MQ-135":null}"#,
        &["PM2_5=1.0", "_=3.0", "_9=4.0", "c=5.0", "DS18B20_1_t__C=6.0"],
        &[(BadMetric, 1), (NotANumber, 1)],
    ),
    (
        r#"{"a.b":1,"a_b":2,"a":{"b":3},"a-b":4,"a.b":5}"#,
        &["a_b=1.0"],
        &[(BadMetric, 1), (BadMetric, 1), (BadMetric, 1), (Malformed, 1)],
    ),
    (r#"{"labels":{"room no":"3"},"a":1}"#, &["a{room_no=3}=1.0"], &[]),
    (r#"{"labels":{"a.b":"3","a_b":"4"},"a":1}"#, &[], &[(BadLabel, 1)]),
    // What stands around it.
    ("\u{feff}{\"a\":1}", &["a=1.0"], &[]),
    ("\0\0{\"a\":1}\0\r", &["a=1.0"], &[]),
    ("\u{feff}{\"a\":nan,\"b\":2}\0", &["b=2.0"], &[(NotANumber, 1)]),
    (r#"{"a":1,"a":2,"a_b":3,"a":{"b":4}}"#, &["a=1.0", "a_b=3.0"], &[(Malformed, 1), (Malformed, 1)]),
    (r#"{"a":"x","a":2}"#, &["a=x"], &[(Malformed, 1)]),
    (r#"{"a":"","a":2}"#, &["a=2.0"], &[(BadState, 1)]),
    // What the readings have in common.
    (r#"{"ts":1600000000000,"values":{"a":1,"b":{"c":2}}}"#, &[], &[(TooOld, 2)]),
    (r#"{"ts":-1,"a":1}"#, &[], &[(TooOld, 1)]),
    (r#"{"ts":1700000060001,"a":1,"b":1}"#, &[], &[(TooFarAhead, 2)]),
    (r#"{"ts":99999999999999999999999,"a":1}"#, &[], &[(TooFarAhead, 1)]),
    (r#"{"ts":1e300,"a":1}"#, &[], &[(TooFarAhead, 1)]),
    (r#"{"ts":"2023-11-14","a":1,"b":2}"#, &[], &[(Malformed, 2)]),
    (r#"{"ts":1700000000000,"ts":1700000000001,"a":1}"#, &[], &[(Malformed, 1)]),
    (r#"{"labels":{"site":"x"},"a":1,"b":2}"#, &[], &[(BadLabel, 2)]),
    (r#"{"labels":{"room":3},"values":{"a":1}}"#, &[], &[(BadLabel, 1)]),
    (r#"{"labels":"x","a":1}"#, &[], &[(BadLabel, 1)]),
    (r#"{"labels":{"a":"1","a":"2"},"a":1}"#, &[], &[(BadLabel, 1)]),
    (r#"{"values":{"a":1},"b":2,"c":3}"#, &["a=1.0"], &[(Malformed, 2)]),
    // Empty messages.
    ("{}", &[], &[]),
    ("[]", &[], &[]),
    (r#"{"values":{}}"#, &[], &[]),
    // Arrays.
    (r#"[{"a":1},{"a":2},{"ts":1700000000001,"values":{"a":3}}]"#, &["a=1.0", "a=2.0", "a=3.0@1.0"], &[]),
    (r#"[1,{"a":1},[{"a":2}],{"a":[]}]"#, &["a=1.0"], &[(Malformed, 1), (Malformed, 1), (NotANumber, 1)]),
    (r#"[{"\ud800":1},{"a":{"\ud800":1}},{"a":2}]"#, &["a=2.0"], &[(Malformed, 1), (Malformed, 1)]),
];

#[test]
fn readings_are_taken_and_refused_one_by_one() {
    for (line, readings, refusals) in READINGS {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.json(line, 7), Decoded::Message, "{line}");
        fixture.check();
        assert_eq!(fixture.intake.messages.len(), 1, "{line}");
        assert_eq!(fixture.refusals(), *refusals, "{line}");
        assert_eq!(fixture.readings(), *readings, "{line}");
    }
}

#[test]
fn what_is_no_message_leaves_one_refusal_and_nothing_else() {
    let cases: &[&[u8]] = &[
        b"{",
        b"hello",
        b"21.5",
        b"null",
        br#"{"a":1}{"b":2}"#,
        br#"{"a":1,}"#,
        br#"{"a":1 "b":2}"#,
        br#"{"a":01}"#,
        br#"[{"a":1},{"b":2}"#,
        br#"[{"a":1},{"seq":2,"b":2},nonsense]"#,
        br#"[{"a":1}]]"#,
        br#"{"a":1,"b":{"\ud800":1}}"#,
        br#"{"a":NaN"#,
        b"{\"a\":1,\"b\xff\":2}",
        br#"[5]"#,
        br#"[{"hello":{"epoch":"x"}}]"#,
        br#"{"hello":{"epoch":""}}"#,
        br#"{"hello":{"epoch":7}}"#,
        br#"{"hello":{}}"#,
        br#"{"seq":0,"a":1}"#,
        br#"{"seq":-1,"a":1}"#,
        br#"{"seq":1.5,"a":1}"#,
        br#"{"seq":"1","a":1}"#,
        br#"{"seq":1,"seq":2,"a":1}"#,
        br#"{"seq":99999999999999999999,"a":1}"#,
    ];
    for line in cases {
        let text = String::from_utf8_lossy(line);
        let mut fixture = Fixture::new();
        assert_eq!(fixture.json(line, 7), Decoded::Refused, "{text}");
        assert_eq!((fixture.messages(), fixture.readings()), (vec![], vec![]), "{text}");
        assert_eq!(fixture.intake.refusals[0].ordinal, 7);
        assert_eq!(fixture.refusals(), [(Malformed, 1)], "{text}");
    }
}

#[test]
fn a_hello_stands_alone() {
    let mut fixture = Fixture::new();
    let epoch = "e".repeat(64);
    assert_eq!(fixture.json(format!(r#"{{"hello":{{"epoch":"{epoch}"}}}}"#), 1), Decoded::Hello { epoch });
    let later = Decoded::Hello { epoch: "ü".to_owned() };
    assert_eq!(fixture.json(r#"{ "hello" : {"version":2,"epoch":"\u00fc"}}"#, 1), later);
    assert!(fixture.intake.is_empty());
    assert_eq!(fixture.json(r#"{"hello":1}"#, 1), Decoded::Message);
    assert_eq!(fixture.json(r#"{"hello":{"epoch":1},"a":2}"#, 2), Decoded::Message);
    assert_eq!(fixture.readings(), ["hello=1.0", "hello_epoch=1.0", "a=2.0"]);
    let long = format!(r#"{{"hello":{{"epoch":"{}"}}}}"#, "e".repeat(65));
    assert_eq!(fixture.json(long, 1), Decoded::Refused);
}

#[test]
fn sequence_numbers_make_messages() {
    let mut fixture = Fixture::new();
    fixture.json(r#"{"a":1,"seq":9,"b":null}"#, 1);
    assert_eq!(fixture.intake.refusals[0].seq, Some(9));
    fixture.json(r#"{"seq":18446744073709551615,"values":{"a":null}}"#, 2);
    fixture.json(
        r#"[{"a":1},{"a":2},{"seq":3,"a":3},{"seq":4,"values":{"a":4,"b":4}},{"seq":"x","c":1},{"a":5}]"#,
        3,
    );
    fixture.check();
    let messages = [
        (Some(9), 1, 1),
        (Some(u64::MAX), 2, 1),
        (None, 3, 3),
        (Some(3), 3, 4),
        (Some(4), 3, 6),
        (None, 3, 7),
    ];
    assert_eq!(fixture.messages(), messages);
    assert_eq!(fixture.readings(), ["a=1.0", "a=1.0", "a=2.0", "a=3.0", "a=4.0", "b=4.0", "a=5.0"]);
    assert_eq!(fixture.refusals(), [(NotANumber, 1), (NotANumber, 1), (Malformed, 1)]);
}

#[test]
fn readings_and_depth_are_bounded() {
    let mut fixture = Fixture::new();
    fixture.limits.readings_max = 3;
    fixture.json(r#"[{"a":1,"b":null},{"a":2,"b":3,"c":4}]"#, 1);
    assert_eq!(fixture.readings(), ["a=1.0", "a=2.0"]);
    assert_eq!(fixture.refusals(), [(NotANumber, 1), (TooManyReadings, 1), (TooManyReadings, 1)]);

    let mut fixture = Fixture::new();
    fixture.limits.depth_max = 2;
    fixture.json(r#"{"a":{"b":1,"c":{"d":2}},"e":3}"#, 1);
    assert_eq!(fixture.readings(), ["a_b=1.0", "e=3.0"]);
    assert_eq!(fixture.refusals(), [(Malformed, 1)]);
}

#[test]
fn every_refused_reading_is_counted_in_a_short_list() {
    let mut fixture = Fixture::new();
    let long = "l".repeat(201);
    let members: Vec<_> = (0..1000).map(|n| format!(r#""m{n}":null,"{n}{long}":1,"k{n}":2"#)).collect();
    fixture.json(format!("{{{}}}", members.join(",")), 1);
    assert_eq!(fixture.readings().len(), 1000);
    let refusals = fixture.refusals();
    assert_eq!(refusals.len(), 18);
    let sum = |reason| refusals.iter().filter(|r| r.0 == reason).map(|r| r.1).sum::<u32>();
    assert_eq!((sum(NotANumber), sum(BadMetric)), (1000, 1000));
}

#[test]
fn a_name_given_twice_is_found_among_many() {
    let mut fixture = Fixture::new();
    fixture.table = SeriesTable::new(1000);
    let members: Vec<_> = (0..200).map(|n| format!(r#""m{}":1"#, n % 100)).collect();
    fixture.json(format!("[{{{0}}},{{{0}}}]", members.join(",")), 1);
    assert_eq!(fixture.readings().len(), 200);
    assert_eq!(fixture.refusals().iter().map(|r| r.1).sum::<u32>(), 200);
}

#[test]
fn hostile_lines_end_soon() {
    let mega = 1 << 20;
    let long = "x".repeat(100_000);
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let cases = [
        ("[".repeat(mega), Decoded::Refused),
        (deep("[", "]", mega / 2), Decoded::Refused),
        (format!("{{\"a\":{}}}", deep("[", "]", mega / 4)), Decoded::Message),
        ("{\"a\":".repeat(mega / 5), Decoded::Refused),
        (format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)), Decoded::Message),
        (format!("{{\"a\":{}}}", "9".repeat(mega / 2)), Decoded::Message),
        (format!("{{\"a\":0.{}}}", "9".repeat(mega / 2)), Decoded::Message),
        (format!("{{\"ts\":1.{},\"a\":1}}", "9".repeat(mega / 2)), Decoded::Message),
        // Long names inside of long names.
        (format!("{{\"{long}\":{{\"{long}\":{{{}\"b\":1}}}}}}", "\"c\":1,".repeat(9000)), Decoded::Message),
        (format!("{{{}\"b\":1}}", "\"ts\":1,".repeat(100_000)), Decoded::Message),
        (format!("{{\"labels\":\"{long}\",\"a\":1}}"), Decoded::Message),
        (
            format!("{{\"labels\":{{{}\"b\":\"1\"}},\"a\":1}}", "\"a\":\"1\",".repeat(50_000)),
            Decoded::Message,
        ),
    ];
    for (line, expected) in cases {
        let mut fixture = Fixture::new();
        fixture.limits.message_bytes_max = 2 * mega;
        assert_eq!(fixture.json(&line, 1), expected, "{}", &line[..20]);
        fixture.check();
        assert!(fixture.intake.readings.len() <= 1);
    }
    let mut fixture = Fixture::new();
    fixture.limits.message_bytes_max = 10;
    assert_eq!(fixture.json(r#"{"abcd":12}"#, 1), Decoded::Refused);
    assert_eq!(fixture.refusals(), [(TooLong, 1)]);
}

/// Text that is JSON, or nearly.
fn nearly_json() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"seq\"",
        "\"ts\"",
        "\"values\"",
        "\"labels\"",
        "\"hello\"",
        "{\"epoch\":\"x\"}",
        "1",
        "-2.5",
        "1e999",
        "1700000000000",
        "null",
        "true",
        "NaN",
        "\"\\ud800\"",
        "\"",
        "\\",
        " ",
        "-Infinity",
        "\"a\":1",
        "{\"a\":1}",
        "{\"seq\":2,\"a\":1}",
        "é",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30).prop_map(|words| words.concat())
}

fn holds(line: &[u8]) {
    let mut fixture = Fixture::new();
    let decoded = fixture.json(line, 1);
    fixture.check();
    match decoded {
        Decoded::Message => assert!(!fixture.intake.messages.is_empty()),
        Decoded::Hello { .. } => assert!(fixture.intake.is_empty()),
        Decoded::Refused => {
            assert!(fixture.intake.messages.is_empty() && !fixture.intake.refusals.is_empty());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&bytes);
    }

    #[test]
    fn nearly_json_is_decoded_or_refused(text in nearly_json()) {
        holds(text.as_bytes());
        // Whatever is JSON is no syntax error here, and the other way round (but for NaN).
        let json = serde_json::from_str::<&RawValue>(&text).is_ok();
        let mut fixture = Fixture::new();
        if fixture.json(&text, 1) == Decoded::Message && !text.contains("NaN") && !text.contains("Infinity") {
            prop_assert!(json);
        }
        let syntax = |refusal: &crate::intake::Refusal| refusal.message.starts_with("not JSON");
        if json && !text.contains("\\ud800") {
            prop_assert!(!fixture.intake.refusals.iter().any(syntax));
        }
    }

    #[test]
    fn every_number_comes_through(value in any::<f64>().prop_filter("finite", |v| v.is_finite()), millis in 0..86_400_000_i64) {
        let mut fixture = Fixture::new();
        let ts = crate::decode::fixture::NOW_MS - millis;
        fixture.json(format!(r#"{{"ts":{ts},"values":{{"a":{value:?}}}}}"#), 1);
        prop_assert_eq!(fixture.intake.readings[0].value, value);
        prop_assert_eq!(fixture.intake.readings[0].time, crate::decode::fixture::at(ts));
    }

    #[test]
    fn lines_split_anywhere_give_the_same(cut in 0..200_usize, step in 1..20_usize) {
        let stream = b"\n{\"a\":1}\r\n \n{\"toolong\":1234567890123456789012345678}\n{\"b\":2}\n[1,\n{\"c\":3}".as_slice();
        let whole = lines(stream, stream.len());
        prop_assert_eq!(&whole, &["{\"a\":1}\r", "TOO LONG", "{\"b\":2}", "[1,", "{\"c\":3}"]);
        prop_assert_eq!(&lines(stream, step), &whole);
        let cut = cut.min(stream.len());
        prop_assert_eq!(&lines(stream, cut.max(1)), &whole);
    }
}

fn lines(stream: &[u8], step: usize) -> Vec<String> {
    lines::tests::split_lines(crate::decode::Lines::json(30), stream, step)
}

#[test]
fn a_line_of_exactly_the_bound_is_taken() {
    let mut lines = crate::decode::Lines::json(7);
    assert_eq!(lines.next(b"{\"a\":1}"), Next::More { consumed: 0 });
    assert_eq!(lines.next(b"{\"a\":1}\n"), Next::Line { line: b"{\"a\":1}", consumed: 8 });
    assert_eq!(lines.next(b"{\"a\":12}"), Next::TooLong { consumed: 7 });
    assert_eq!(lines.next(b"}"), Next::More { consumed: 1 });
    assert_eq!(lines.next(b"\n\n{}\n"), Next::Line { line: b"{}", consumed: 5 });
}
