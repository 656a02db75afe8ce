use proptest::prelude::*;

use super::*;
use crate::decode::fixture::{Fixture, NOW_MS};
use Reason::*;

fn options(text: &str) -> Options {
    toml::from_str::<JsonSettings>(text).unwrap().check().unwrap()
}

#[test]
fn texts_that_are_numbers_are_readings_where_that_is_said() {
    let line =
        r#"{"a":"21.5","b":" 7 ","c":"ON","d":"1.2.3","e":"","f":"nan","g":2,"h":"\u0031\r\n","i":nan}"#;
    let mut fixture = Fixture::new();
    fixture.json_with(line, &options("numeric_strings = true"), 1);
    assert_eq!(fixture.readings(), ["a=21.5", "b=7.0", "c=1.0/ON", "d=1.2.3", "g=2.0", "h=1.0"]);
    // Neither a word for no number nor an empty text is a state here.
    assert_eq!(fixture.refusals(), [(BadState, 1), (NotANumber, 1), (NotANumber, 1)]);
    let mut fixture = Fixture::new();
    fixture.json_with(line, &options("numeric_strings = true\nstrings = 'refuse'"), 1);
    assert_eq!(fixture.readings(), ["a=21.5", "b=7.0", "c=1.0/ON", "g=2.0", "h=1.0"]);
    assert_eq!(fixture.refusals(), [(NotANumber, 1); 4]);
    // The others are left out, and what is no text is refused as ever.
    let mut fixture = Fixture::new();
    fixture.json_with(line, &options("numeric_strings = true\nstrings = 'ignore'"), 1);
    assert_eq!(fixture.readings(), ["a=21.5", "b=7.0", "c=1.0/ON", "g=2.0", "h=1.0"]);
    assert_eq!(fixture.refusals(), [(NotANumber, 1)]);
    let mut fixture = Fixture::new();
    fixture.json_with(line, &options("strings = 'ignore'"), 1);
    assert_eq!((fixture.readings(), fixture.refusals()), (vec!["g=2.0".to_owned()], vec![(NotANumber, 1)]));
}

#[test]
fn named_members_are_left_out_without_a_refusal() {
    let with = options("ignore = ['fw.version', 'wifi', 'oil_age', 'mac']");
    for line in [
        r#"{"a":1,"fw.version":2,"wifi":{"ssid":"x","rssi":-60},"oil":{"age":[1],"t":80},"mac":nan}"#,
        r#"{"values":{"a":1,"fw_version":"2","wifi":null,"oil":{"t":80}},"mac":"x","wifi":7}"#,
    ] {
        for _ in 0..2 {
            let mut fixture = Fixture::new();
            fixture.json_with(line, &with, 1);
            fixture.json_with(line, &with, 2);
            assert_eq!(fixture.readings(), ["a=1.0", "oil_t=80.0", "a=1.0", "oil_t=80.0"], "{line}");
            assert_eq!(fixture.refusals(), [], "{line}");
        }
    }
    // Nor do they count where the others are refused.
    let mut fixture = Fixture::new();
    fixture.json_with(r#"{"ts":0,"a":1,"wifi":{"x":1},"mac":1}"#, &with, 1);
    assert_eq!(fixture.refusals(), [(TooOld, 1)]);
    let mut fixture = Fixture::new();
    fixture.json_with(r#"{"values":{"a":1},"note":"x"}"#, &options("strings = 'ignore'"), 1);
    assert_eq!((fixture.readings(), fixture.refusals()), (vec!["a=1.0".to_owned()], vec![]));
}

#[test]
fn the_time_may_stand_elsewhere_and_be_written_otherwise() {
    let s = NOW_MS / 1_000;
    for (format, time) in [
        ("s", format!("{s}")),
        ("s", format!("\"{s}\"")),
        ("s", format!("{s}.0")),
        ("s", "1.7e9".to_owned()),
        ("ms", format!("{NOW_MS}")),
        ("us", format!("{NOW_MS}000")),
        ("ns", format!("\"{NOW_MS}000000\"")),
        ("rfc3339", "\"2023-11-14T22:13:20Z\"".to_owned()),
        ("rfc3339", "\"2023-11-14t22:13:20.000z\"".to_owned()),
        ("rfc3339", "\"2023-11-15 00:13:20.0000000000001+02:00\"".to_owned()),
        ("rfc3339", "\"2023-11-14T17:13:20-05:00\"".to_owned()),
    ] {
        let with = options(&format!("time_key = 'time'\ntime_format = '{format}'"));
        for line in [
            format!(r#"{{"a":1,"time":{time}}}"#),
            format!(r#"{{"time":{time},"values":{{"a":1}}}}"#),
            format!(r#"[{{"time":{time},"a":1}}]"#),
            // What `catchment send` adds does not count beside it.
            format!(r#"{{"ts":{},"a":1,"time":{time}}}"#, NOW_MS - 5),
        ] {
            let mut fixture = Fixture::new();
            fixture.json_with(&line, &with, 1);
            assert_eq!(fixture.readings(), ["a=1.0"], "{line}");
            assert_eq!(fixture.refusals(), [], "{line}");
        }
    }
    let with = options("time_key = 'time'\ntime_format = 'rfc3339'");
    // Without it `ts` is the time.
    let mut fixture = Fixture::new();
    fixture.json_with(format!(r#"{{"ts":{},"a":1}}"#, NOW_MS - 5), &with, 1);
    assert_eq!(fixture.readings(), ["a=1.0@-5.0"]);
    for (time, reason) in [
        ("1700000000", Malformed),
        ("null", Malformed),
        ("nan", Malformed),
        ("\"\"", Malformed),
        ("\"2023-11-14\"", Malformed),
        ("\"2023-11-14T22:13:20\"", Malformed),
        ("\"2023-11-14T22:13Z\"", Malformed),
        ("\"2023-11-14T22:13:20.Z\"", Malformed),
        ("\"2023-11-14T22:13:20+0200\"", Malformed),
        ("\"2023-11-14T22:13:20Z[UTC]\"", Malformed),
        ("\"2023-02-30T22:13:20Z\"", Malformed),
        ("\"2023-11-14T24:13:20Z\"", Malformed),
        ("\"+002023-11-14T22:13:20Z\"", Malformed),
        ("\"0001-01-01T00:00:00Z\"", TooOld),
        ("\"9999-12-30T00:00:00Z\"", TooFarAhead),
        ("\"2023-11-13T00:00:00Z\"", TooOld),
        ("\"2023-11-14T22:23:20Z\"", TooFarAhead),
    ] {
        let mut fixture = Fixture::new();
        fixture.json_with(format!(r#"{{"a":1,"b":2,"time":{time}}}"#), &with, 1);
        assert!(fixture.intake.refusals[0].message.starts_with("time "));
        assert_eq!((fixture.readings(), fixture.refusals()), (vec![], vec![(reason, 2)]), "{time}");
    }
    // Given twice, it is none.
    let mut fixture = Fixture::new();
    let twice = r#"{"time":"2023-11-14T22:13:20Z","time":"2023-11-14T22:13:20Z","a":1}"#;
    fixture.json_with(twice, &with, 1);
    assert_eq!(fixture.refusals(), [(Malformed, 1)]);
    // `ts` itself in another unit.
    let mut fixture = Fixture::new();
    fixture.json_with(format!(r#"{{"ts":{s},"a":1}}"#), &options("time_key = 'ts'\ntime_format = 's'"), 1);
    assert_eq!(fixture.readings(), ["a=1.0"]);
}

#[test]
fn a_time_in_quotation_marks_is_one_too() {
    let mut fixture = Fixture::new();
    fixture.json(format!(r#"{{"ts":"{NOW_MS}","a":1}}"#), 1);
    assert_eq!(fixture.readings(), ["a=1.0"]);
    let mut fixture = Fixture::new();
    fixture.json(r#"{"ts":"x","a":1}"#, 1);
    assert_eq!(fixture.refusals(), [(Malformed, 1)]);
}

#[test]
fn what_cannot_be_is_named() {
    let error = |text: &str| toml::from_str::<JsonSettings>(text).unwrap().check().unwrap_err().to_string();
    assert!(error("time_format = 's'").starts_with("time_format: "));
    assert!(error("time_key = ''").starts_with("time_key: "));
    assert!(error("time_key = 'values'").starts_with("time_key: \"values\""));
    assert!(error("ignore = ['']").starts_with("ignore: "));
    assert!(error("ignore = ['a', 'b.c', 'b-c']").starts_with("ignore: \"b-c\" is given twice"));
    assert!(error("ignore = ['ts']").starts_with("ignore: \"ts\""));
    assert!(error("time_key = 't'\nignore = ['t']").starts_with("ignore: \"t\""));
    let many: Vec<_> = (0..=IGNORED_MAX).map(|n| format!("'a{n}'")).collect();
    assert!(error(&format!("ignore = [{}]", many.join(","))).starts_with("ignore: 101 names"));
    let wrong = |text: &str| toml::from_str::<JsonSettings>(text).unwrap_err().message().to_owned();
    assert!(wrong("time_format = 'iso'").contains("rfc3339"));
    assert!(wrong("strings = 'drop'").contains("ignore"));
    assert!(wrong("time_kye = 'x'").contains("time_kye"));
}

#[test]
fn a_topic_says_what_it_says_and_the_rest_is_as_for_all() {
    let all: JsonSettings = toml::from_str(
        "numeric_strings = true\nstrings = 'ignore'\ntime_key = 'time'\ntime_format = 's'\nignore = ['x']",
    )
    .unwrap();
    assert_eq!(JsonSettings::default().or(&all), all);
    assert_eq!(all.or(&JsonSettings::default()), all);
    let own: JsonSettings = toml::from_str("time_key = 'when'\nstrings = 'refuse'").unwrap();
    let both = own.or(&all);
    assert_eq!((both.time_key.as_deref(), both.time_format), (Some("when"), None));
    assert_eq!((both.strings, both.numeric_strings), (Some(Strings::Refuse), Some(true)));
}

proptest! {
    #[test]
    fn any_text_is_a_time_or_none(text in "[0-9TZtz:+. -]{0,40}") {
        if let Ok(time) = rfc3339(&text) {
            let strict = text.replace(' ', "T").to_uppercase();
            let parsed: jiff::Timestamp = strict.parse().unwrap();
            prop_assert!(i128::from(time.as_nanos()).abs_diff(parsed.as_nanosecond()) < 1);
        }
    }

    #[test]
    fn every_time_that_is_written_is_read(nanos in -4_000_000_000_000_000_000_i64..4_000_000_000_000_000_000) {
        let text = jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string();
        prop_assert_eq!(rfc3339(&text), Ok(Timestamp::from_nanos(nanos)));
    }
}
