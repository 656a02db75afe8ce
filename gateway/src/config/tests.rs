//! Missing settings, values out of range, and the messages that name them.

use super::*;

/// The required settings alone.
pub(crate) fn given() -> Settings {
    Settings {
        identity: Some("id".into()),
        listen: Some(([127, 0, 0, 1], 0).into()),
        aggregator: Some(vec!["https://centre:1".into()]),
        data: Some("data".into()),
        ..Settings::default()
    }
}

#[test]
fn a_missing_setting_is_named() {
    assert!(given().check().is_ok());
    let missing = Settings { listen: None, ..given() }.check().unwrap_err();
    assert_eq!(missing, ConfigError::Missing("listen"));
    let missing = Settings { aggregator: Some(vec![]), ..given() }.check().unwrap_err();
    assert_eq!(missing, ConfigError::Missing("aggregator"));
}

#[test]
fn values_out_of_range_are_named() {
    let error = |settings: Settings| settings.check().unwrap_err().to_string();
    assert!(
        error(Settings { aggregator: Some(vec!["http://x".into()]), ..given() }).starts_with("aggregator")
    );
    assert!(error(Settings { window: Some(HumanDuration::secs(0)), ..given() }).starts_with("window"));
    assert!(error(Settings { window: Some(HumanDuration::secs(90_000)), ..given() }).starts_with("window"));
    assert!(error(Settings { shards: Some(0), ..given() }).starts_with("shards"));
    // Every duration has a minimum and a maximum, which the error names.
    type Set = fn(&mut Settings, HumanDuration);
    let durations: [(&str, u64, Set); 9] = [
        ("grace", 0, |s, d| s.grace = Some(d)),
        ("live", 100, |s, d| s.live = Some(d)),
        ("handshake_timeout", 100, |s, d| s.handshake_timeout = Some(d)),
        ("sessions_silent_after", 100, |s, d| s.sessions_silent_after = Some(d)),
        ("past_max", 1_000, |s, d| s.past_max = Some(d)),
        ("future_max", 1_000, |s, d| s.future_max = Some(d)),
        ("uplink_ack_timeout", 100, |s, d| s.uplink_ack_timeout = Some(d)),
        ("stop_timeout", 100, |s, d| s.stop_timeout = Some(d)),
        ("connection_age_max", 100, |s, d| s.connection_age_max = Some(d)),
    ];
    for (key, least, set) in durations {
        let with = |millis: u64| {
            let mut settings = given();
            set(&mut settings, HumanDuration(Duration::from_millis(millis)));
            settings.check()
        };
        assert!(with(least).is_ok(), "{key}");
        for wrong in least.checked_sub(1).into_iter().chain([u64::MAX / 2]) {
            let error = with(wrong).unwrap_err();
            assert_eq!(error.key(), key);
            assert!(error.to_string().contains("is out of range, "), "{error}");
        }
    }
    assert!(
        error(Settings { message_bytes_max: Some(ByteSize(1)), ..given() }).starts_with("message_bytes_max")
    );
}

#[test]
fn device_expiry_exceeds_the_longest_open_window() {
    let config = given().check().unwrap();
    assert_eq!((config.devices_max, config.device_expiry), (100_000, Duration::from_secs(400 * 86_400)));
    let error = |settings: Settings| settings.check().unwrap_err().to_string();
    let expiry = |secs| Some(HumanDuration::secs(secs));
    assert!(error(Settings { device_expiry: expiry(9), ..given() }).starts_with("device_expiry: 9s is out"));
    // Ten minutes, a window and the grace.
    let short = error(Settings { device_expiry: expiry(612), ..given() });
    assert!(short.starts_with("device_expiry: ") && short.contains("future_max"), "{short}");
    assert!(Settings { device_expiry: expiry(613), ..given() }.check().is_ok());
    assert!(error(Settings { devices_max: Some(0), ..given() }).starts_with("devices_max: 0 is out"));
}

/// The required settings, with the protocol tables of a file.
fn file(text: &str) -> Result<Config, ConfigError> {
    let Settings { mqtt, line_protocol, json, metric, .. } = toml::from_str(text).unwrap();
    Settings { mqtt, line_protocol, json, metric, ..given() }.check()
}

#[test]
fn protocols_have_their_tables() {
    let config = file("").unwrap();
    assert_eq!((config.mqtt_receive_max, config.line_protocol_precision), (1024, Precision::Nanoseconds));
    let config = file(
        "[mqtt]\nreceive_max = 7\n[mqtt.topics]\n'a/{metric}' = 'value'\n[line_protocol]\nprecision = 's'\n",
    );
    let config = config.unwrap();
    assert_eq!((config.mqtt_receive_max, config.line_protocol_precision), (7, Precision::Seconds));
    let error = |text: &str| file(text).unwrap_err().to_string();
    assert!(error("[mqtt]\nreceive_max = 0").starts_with("mqtt.receive_max: 0 is out of range"));
    assert!(error("[mqtt.topics]\n'a+' = 'json'").starts_with("mqtt.topics: \"a+\": level"));
    let unknown = |text: &str| toml::from_str::<Settings>(text).unwrap_err().message().to_owned();
    assert!(unknown("[mqtt]\nrecieve_max = 7").contains("recieve_max"));
    assert!(unknown("[json]\nnumeric_string = true").contains("numeric_string"));
    assert!(error("[json]\ntime_format = 's'").starts_with("json.time_format: "));
    assert!(error("[json]\nignore = ['ts']").starts_with("json.ignore: "));
    let topic = error("[mqtt.topics]\n'a' = { payload = 'json', time_key = 'seq' }");
    assert!(topic.starts_with("mqtt.topics: \"a\": time_key: "), "{topic}");
    assert!(
        error("[mqtt.topics]\n'a' = { payload = 'influx', ignore = ['x'] }").contains("payload \"json\"")
    );
    assert!(
        file(
            "[json]\nignore = ['x']\n[mqtt.topics]\n'a' = { payload = 'json', time_key = 'x', ignore = [] }"
        )
        .is_ok()
    );
    assert!(unknown("[line_protocol]\nprecison = 's'").contains("precison"));
}

#[test]
fn a_flag_keeps_the_other_keys_of_its_table_from_the_file() {
    use std::io::Write as _;
    let mut path = tempfile::NamedTempFile::new().unwrap();
    writeln!(path, "[mqtt]\nreceive_max = 7\n[mqtt.topics]\n'a' = 'json'").unwrap();
    let command = <Settings as clap::Args>::augment_args(clap::Command::new("test"));
    let flags =
        command.get_matches_from(["test", "--mqtt-receive-max", "9", "--line-protocol-precision", "ms"]);
    let given = <Settings as clap::FromArgMatches>::from_arg_matches(&flags).unwrap();
    let settings = catchment_settings::layered(&given, Some(path.path())).unwrap();
    let mqtt = settings.mqtt.unwrap();
    assert_eq!((mqtt.receive_max, mqtt.topics.unwrap().len()), (Some(9), 1));
    assert_eq!(settings.line_protocol.unwrap().precision, Some(Precision::Milliseconds));
}

#[test]
fn every_flag_has_its_key_and_variable() {
    let command = <Settings as clap::Args>::augment_args(clap::Command::new("test"));
    catchment_settings::check_names(&command, "CATCHMENT_GATEWAY", &["config", "check-config"]).unwrap();
}

#[test]
fn metrics_have_their_optional_parts() {
    use catchment_partial::Parts;
    let table = |name: &str, parts: &str| format!("[[metric]]\nname = '{name}'\nparts = {parts}\n");
    let text =
        [table("energy_*", "['order']"), table("energy_now", "[]"), table("*", "['moments', 'distinct']")];
    let parts = file(&text.concat()).unwrap().metric_parts;
    assert_eq!(parts.of("energy_total"), Parts::ORDER);
    assert_eq!(parts.of("energy_now"), Parts::NONE);
    assert_eq!(parts.of("x"), Parts::MOMENTS.with(Parts::DISTINCT));
    assert_eq!(file("").unwrap().metric_parts.of("x"), Parts::NONE);
    let error = |text: String| file(&text).unwrap_err().to_string();
    let unknown = error(table("energy", "['order', 'ordre']"));
    assert!(
        unknown.starts_with("metric: \"energy\": unknown part \"ordre\": choose from order"),
        "{unknown}"
    );
    for name in ["", "9", "a.b", "a*b", "a**", "9*", "*a", &"m".repeat(201)] {
        let error = error(table(name, "['order']"));
        assert!(error.starts_with(&format!("metric: {name:?}: ")) && error.contains("beginning"), "{error}");
    }
    assert!(error([table("a", "['order']"), table("a", "[]")].concat()).contains("given twice"));
    let many: String = (0..=1_000).map(|n| table(&format!("m{n}"), "[]")).collect();
    assert!(error(many).contains("1001 tables, at most 1000"));
    let wrong = |text: &str| toml::from_str::<Settings>(text).unwrap_err().message().to_owned();
    assert!(wrong("[[metric]]\nname = 'a'\nparts = []\npart = 'x'").contains("part"));
    assert!(wrong("[[metric]]\nparts = []").contains("name"));
}
