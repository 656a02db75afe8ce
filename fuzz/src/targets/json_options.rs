//! JSON lines with configured options: numbers in texts, times in other members, ignored members.

use std::sync::LazyLock;

use catchment_gateway::decode::json::{JsonSettings, Options, Strings, TimeFormat};

use super::{Target, json};

pub(super) const TARGET: Target = Target {
    name: "json_options",
    run,
    seeds: || {
        [
            r#"{"a":"21.5","time":"2023-11-14T22:13:20Z","fw":"1.2","x":{"y":1}}"#,
            r#"[{"values":{"a":"ON"},"time":"2023-11-14 23:13:20.5+01:00","ignored":nan}]"#,
            r#"{"a":"x","ts":"1700000000000"}"#,
            r#"{"time":1700000000,"a":"1e3"}"#,
        ]
        .map(|seed| seed.as_bytes().to_vec())
        .to_vec()
    },
    tokens: &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\n",
        b"\"time\":",
        b"\"ts\":",
        b"\"a\":",
        b"\"fw\":",
        b"\"x\":{\"y\":",
        b"2023-11-14T22:13:20",
        b"Z",
        b"+01:00",
        b".5",
        b"\"21.5\"",
        b"\"ON\"",
        b"nan",
        b"1700000000",
        b"\"values\":{",
        b"-",
        b"9999",
        b"\\u0000",
    ],
    fixed_bytes: 96 << 10,
    bytes_per_input_byte: 160,
};

fn options(time_format: TimeFormat) -> Options {
    let settings = JsonSettings {
        numeric_strings: Some(time_format == TimeFormat::Rfc3339),
        strings: Some(if time_format == TimeFormat::Seconds { Strings::Refuse } else { Strings::Ignore }),
        time_key: Some("time".to_owned()),
        time_format: Some(time_format),
        ignore: Some(vec!["fw".to_owned(), "x_y".to_owned()]),
    };
    settings.check().expect("the options are valid")
}

static OPTIONS: LazyLock<[Options; 3]> =
    LazyLock::new(|| [TimeFormat::Rfc3339, TimeFormat::Seconds, TimeFormat::Nanoseconds].map(options));

fn run(input: &[u8]) -> u64 {
    OPTIONS.iter().fold(0_u64, |all, options| all.rotate_left(7) ^ json::run_with(input, options))
}
