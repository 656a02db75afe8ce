mod json;

use proptest::prelude::*;

use super::*;
use crate::decode::fixture::Fixture;
use Reason::*;
use Verdict::*;

/// A `[mqtt.topics]` as it stands in a file.
fn given(text: &str) -> Result<BTreeMap<String, TopicSetting>, String> {
    toml::from_str(text).map_err(|error| error.message().to_owned())
}

fn topics(text: &str) -> Topics {
    Topics::new(&given(text).unwrap(), Precision::default(), &JsonSettings::default()).unwrap()
}

fn error(text: &str) -> String {
    Topics::new(&given(text).unwrap(), Precision::default(), &JsonSettings::default())
        .unwrap_err()
        .to_string()
}

pub(super) fn publish(
    topics: &Topics,
    fixture: &mut Fixture,
    topic: &str,
    payload: impl AsRef<[u8]>,
) -> Verdict {
    let Fixture { table, rules, limits, intake, .. } = fixture;
    intake.end_message(None, 3);
    let messages = intake.messages.clone();
    let verdict = topics.decode(topic, payload.as_ref(), 4, table, rules, limits, intake);
    assert_eq!(intake.messages, messages, "the caller ends the message");
    intake.end_message(None, 4);
    fixture.check();
    fixture.intake.messages.clear();
    verdict
}

/// Topic, payload, verdict, readings.
type Case<'a> = (&'a str, &'a str, Verdict, &'a [&'a str]);

fn check(topics: &Topics, cases: &[Case<'_>]) {
    for (topic, payload, verdict, readings) in cases {
        let mut fixture = Fixture::new();
        assert_eq!(publish(topics, &mut fixture, topic, payload), *verdict, "{topic} {payload}");
        assert_eq!(fixture.readings(), *readings, "{topic} {payload}");
        if let Refused(reason) = verdict {
            assert_eq!(fixture.intake.refusals[0].ordinal, 4);
            assert_eq!(fixture.refusals()[0].0, *reason, "{topic} {payload}");
        }
    }
}

#[test]
fn the_built_in_topics() {
    let long = format!("telemetry/{}", "m".repeat(201));
    check(
        &Topics::default(),
        &[
            ("telemetry", r#"{"a":1,"b":true}"#, Taken, &["a=1.0", "b=1.0/true"]),
            (
                "v1/devices/me/telemetry",
                r#"[{"ts":1700000001000,"values":{"a":1}}]"#,
                Taken,
                &["a=1.0@1000.0"],
            ),
            ("telemetry/temperature", " 21.5\n", Taken, &["temperature=21.5"]),
            ("telemetry/door", "ON", Taken, &["door=1.0/ON"]),
            ("telemetry/door", " half open\n", Taken, &["door=half open"]),
            ("telemetry/door", "a\tb", Refused(BadState), &[]),
            ("telemetry/door", "{\"state\":\"ON\"}", Refused(NotANumber), &[]),
            (
                "influx",
                "env,room=3 t=1,h=2i\nenv t=2 1700000000001000000\n",
                Taken,
                &["env_t{room=3}=1.0", "env_h{room=3}=2.0", "env_t=2.0@1.0"],
            ),
            ("influx", "", Taken, &[]),
            ("influx", "# nothing\n\n", Taken, &[]),
            // Something was kept: the rest is reported by reason and count only.
            ("influx", "nonsense\nm a=1", Taken, &["m_a=1.0"]),
            ("telemetry", r#"{"a":"x","b":1}"#, Taken, &["a=x", "b=1.0"]),
            ("telemetry", "{}", Taken, &[]),
            ("telemetry", r#"{"a":"x"}"#, Taken, &["a=x"]),
            ("telemetry", r#"{"a":null}"#, Refused(NotANumber), &[]),
            ("telemetry", "", Refused(Malformed), &[]),
            ("telemetry", "21.5", Refused(Malformed), &[]),
            ("telemetry", r#"{"hello":{"epoch":"x"}}"#, Refused(Malformed), &[]),
            ("telemetry/temperature", "", Refused(Malformed), &[]),
            ("telemetry/temperature", " ", Refused(NotANumber), &[]),
            ("telemetry/temperature", "NaN", Refused(NotANumber), &[]),
            ("telemetry/temperature", "{\"a\":1}", Refused(NotANumber), &[]),
            ("telemetry/2nd", "1", Taken, &["_2nd=1.0"]),
            ("telemetry/PM2.5", "1", Taken, &["PM2_5=1.0"]),
            ("telemetry/t", "1\0", Taken, &["t=1.0"]),
            ("telemetry", "\u{feff}{\"a\":1}\0", Taken, &["a=1.0"]),
            ("telemetry", "nan", Refused(NotANumber), &[]),
            ("telemetry", "{\"a\":-nan,\"MQ-135\":2}", Taken, &["MQ_135=2.0"]),
            ("influx", "\u{feff}m a=1\n\0m b=2,c=nan\n\0", Taken, &["m_a=1.0", "m_b=2.0"]),
            ("telemetry/", "1", Refused(BadMetric), &[]),
            (&long, "1", Refused(BadMetric), &[]),
            ("influx", "nonsense", Refused(Malformed), &[]),
            ("influx", "m,site=x a=1", Refused(BadLabel), &[]),
            ("telemetry/a/b", "1", Refused(BadTopic), &[]),
            ("/telemetry", "{}", Refused(BadTopic), &[]),
            ("Telemetry", "{}", Refused(BadTopic), &[]),
            ("", "{}", Refused(BadTopic), &[]),
            ("$SYS/telemetry", "{}", Refused(BadTopic), &[]),
        ],
    );
}

#[test]
fn json_may_be_laid_out_and_its_numbers_of_messages_mean_nothing() {
    check(
        &Topics::default(),
        &[
            (
                "telemetry",
                "{\n  \"ts\": 1700000000001,\r\n  \"values\": {\n    \"a\": 1\n  }\n}\n",
                Taken,
                &["a=1.0@1.0"],
            ),
            ("telemetry", r#"{"seq":7,"a":1}"#, Taken, &["a=1.0"]),
            ("telemetry", r#"{"seq":"x","values":{"a":1}}"#, Taken, &["a=1.0"]),
            (
                "telemetry",
                r#"[{"a":1},{"seq":1,"a":2},{"seq":0,"a":3}]"#,
                Taken,
                &["a=1.0", "a=2.0", "a=3.0"],
            ),
            ("telemetry", r#"[{"seq":1,"a":1},{"seq":2,"a":NaN},5]"#, Taken, &["a=1.0"]),
            ("telemetry", r#"[{"seq":1,"a":1},{"seq":2"#, Refused(Malformed), &[]),
        ],
    );
    let mut fixture = Fixture::new();
    publish(&Topics::default(), &mut fixture, "telemetry", r#"{"seq":7,"a":null}"#);
    assert_eq!(fixture.intake.refusals[0].seq, None);
}

#[test]
fn a_payload_beyond_the_bound_is_refused() {
    for topic in ["telemetry", "influx"] {
        let mut fixture = Fixture::new();
        fixture.limits.message_bytes_max = 10;
        assert_eq!(
            publish(&Topics::default(), &mut fixture, topic, "#123456789"),
            if topic == "influx" { Taken } else { Refused(Malformed) }
        );
        assert_eq!(publish(&Topics::default(), &mut fixture, topic, "#1234567890"), Refused(TooLong));
    }
    let mut fixture = Fixture::new();
    fixture.limits.readings_max = 1;
    assert_eq!(publish(&Topics::default(), &mut fixture, "telemetry", r#"{"a":1,"b":2}"#), Taken);
    assert_eq!(fixture.refusals(), [(TooManyReadings, 1)]);
}

#[test]
fn patterns_of_the_configuration() {
    let topics = topics(
        r##"
        "factory/+/sensors/{metric}" = "value"
        "plc/{line}/json" = "json"
        "telegraf/#" = "influx"
        "seconds" = { payload = "influx", precision = "s" }
        "boiler/temp" = { payload = "value", metric = "boiler_temperature", labels = { plant = "a" } }
        "mixed/{room}/{metric}/{floor}" = { payload = "value", labels = { plant = "a" } }
        "labelled/{room}" = { payload = "json", labels = { plant = "a" } }
        "lp/{room}" = "influx"
        "//{metric}" = "value"
        "##,
    );
    let long = format!("plc/{}/json", "x".repeat(257));
    check(
        &topics,
        &[
            ("factory/7/sensors/t", "1", Taken, &["t=1.0"]),
            ("factory//sensors/t", "1", Taken, &["t=1.0"]),
            ("factory/7/sensors/t/x", "1", Refused(BadTopic), &[]),
            ("factory/7/sensors", "1", Refused(BadTopic), &[]),
            ("factory/7/sensors/a-b", "1", Taken, &["a_b=1.0"]),
            ("plc/l 1/json", r#"{"a":1}"#, Taken, &["a{line=l 1}=1.0"]),
            ("plc//json", r#"{"a":1}"#, Refused(BadLabel), &[]),
            (&long, r#"{"a":1}"#, Refused(BadLabel), &[]),
            ("telegraf", "m a=1", Taken, &["m_a=1.0"]),
            ("telegraf/host/cpu", "m a=1", Taken, &["m_a=1.0"]),
            ("telegraf/", "m a=1", Taken, &["m_a=1.0"]),
            ("telegraph/", "m a=1", Refused(BadTopic), &[]),
            ("seconds", "m a=1 1700000001", Taken, &["m_a=1.0@1000.0"]),
            ("boiler/temp", "80", Taken, &["boiler_temperature{plant=a}=80.0"]),
            ("mixed/3/t/2", "1", Taken, &["t{floor=2,plant=a,room=3}=1.0"]),
            // A label that the reading brings along wins.
            (
                "labelled/3",
                r#"[{"a":1},{"a":2,"labels":{"room":"4","x":"y"}}]"#,
                Taken,
                &["a{plant=a,room=3}=1.0", "a{plant=a,room=4,x=y}=2.0"],
            ),
            (
                "lp/3",
                "m,room=5 a=1\nm,z=1 a=2\nm a=3",
                Taken,
                &["m_a{room=5}=1.0", "m_a{room=3,z=1}=2.0", "m_a{room=3}=3.0"],
            ),
            ("//t", "1", Taken, &["t=1.0"]),
            ("/t", "1", Refused(BadTopic), &[]),
            ("telemetry", r#"{"a":1}"#, Taken, &["a=1.0"]),
        ],
    );
}

#[test]
fn labels_of_topic_and_reading_are_bounded_together() {
    let topics = topics(r#""plc/{line}" = "json""#);
    let labels = |n: usize| (0..n).map(|n| format!(r#""l{n}":"1""#)).collect::<Vec<_>>().join(",");
    let json = |n| format!(r#"{{"labels":{{{}}},"a":1,"b":2}}"#, labels(n));
    let mut fixture = Fixture::new();
    assert_eq!(publish(&topics, &mut fixture, "plc/1", json(15)), Taken);
    assert_eq!(publish(&topics, &mut fixture, "plc/1", json(16)), Refused(BadLabel));
    assert_eq!(fixture.refusals(), [(BadLabel, 2)]);
}

#[test]
fn a_configured_pattern_wins_over_the_built_in_topics() {
    let all = topics(r##""#" = "influx""##);
    check(
        &all,
        &[
            ("telemetry", "m a=1", Taken, &["m_a=1.0"]),
            ("telemetry/x", "m a=1", Taken, &["m_a=1.0"]),
            ("$SYS/x", "m a=1", Refused(BadTopic), &[]),
            ("$SYS", "m a=1", Refused(BadTopic), &[]),
        ],
    );
    let some = topics(r#""telemetry" = { payload = "value", metric = "m" }"#);
    check(&some, &[("telemetry", "1", Taken, &["m=1.0"]), ("telemetry/t", "1", Taken, &["t=1.0"])]);
}

#[test]
fn a_dollar_is_met_by_literal_text_alone() {
    let topics = topics(
        r##"
        "$aws/things/{thing}/shadow" = "json"
        "+/things/#" = "influx"
        "{x}/y" = "json"
        "a/{x}" = "json"
        "##,
    );
    check(
        &topics,
        &[
            ("$aws/things/t1/shadow", r#"{"a":1}"#, Taken, &["a{thing=t1}=1.0"]),
            ("$aws/things/t1/other", "m a=1", Refused(BadTopic), &[]),
            ("$x/y", r#"{"a":1}"#, Refused(BadTopic), &[]),
            // Only a first level is meant.
            ("a/$x", r#"{"a":1}"#, Taken, &["a{x=$x}=1.0"]),
        ],
    );
}

#[test]
fn wrong_patterns_are_named_with_their_cause() {
    let cases = [
        (r#""" = "json""#, r#""": a topic has"#),
        (r##""a/#/b" = "json""##, r##""a/#/b": # is the last level"##),
        (r#""a+/b" = "json""#, "+ has its meaning only"),
        (r##""a/b#" = "json""##, "# has its meaning only"),
        (r#""a/x{b}" = "json""#, "{ has its meaning only"),
        (r#""a/{b" = "json""#, "{ has its meaning only"),
        (r#""a/b}" = "json""#, "} has its meaning only"),
        (r#""a/{b{c}}" = "json""#, "has its meaning only"),
        (r#""a\u0000" = "json""#, "NUL"),
        (r#""a/{}" = "json""#, "a label name matches"),
        (r#""a/{b-c}" = "json""#, "a label name matches"),
        (r#""a/{device}" = "json""#, "label \"device\" is reserved"),
        (r#""a/{__x}" = "json""#, "reserved"),
        (r#""a/{b}/{b}" = "json""#, "{b} is given twice"),
        (r#""a/{metric}/{metric}" = "value""#, "{metric} is given twice"),
        (r#""a/{metric}" = "json""#, "{metric} is for payload \"value\""),
        (r#""a/{metric}" = "influx""#, "{metric} is for payload \"value\""),
        (r#""a" = "value""#, "a value needs its metric"),
        (r#""a/{b}" = "value""#, "a value needs its metric"),
        (r#""a/{metric}" = { payload = "value", metric = "m" }"#, "named twice"),
        (r#""a" = { payload = "value", metric = "m-n" }"#, "a metric name matches"),
        (r#""a" = { payload = "json", metric = "m" }"#, "metric is for payload"),
        (r#""a" = { payload = "json", precision = "s" }"#, "precision is for payload"),
        (r#""a" = { payload = "json", labels = { site = "x" } }"#, "label \"site\" is reserved"),
        (r#""a" = { payload = "json", labels = { x = "" } }"#, "label \"x\" is empty"),
        (r#""a/{x}" = { payload = "json", labels = { x = "1" } }"#, "label \"x\" is given twice"),
        (
            "\"a/{x}/b\" = \"json\"\n\"a/{y}/b\" = \"json\"",
            r#""a/{y}/b": matches the same topics as "a/{x}/b""#,
        ),
        ("\"a/+\" = \"json\"\n\"a/{y}\" = \"json\"", "matches the same topics"),
    ];
    for (text, expected) in cases {
        let error = error(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let many: String = (0..17).map(|n| format!("/{{l{n}}}")).collect();
    assert!(error(&format!("'a{many}' = 'json'")).contains("at most 16 labels"));
    assert!(error(&format!("'{}' = 'json'", "a/".repeat(64))).contains("65 levels, at most 64 are allowed"));
    assert!(
        error(&format!("'{}' = 'json'", "a".repeat(1025))).contains("1025 bytes, at most 1024 are allowed")
    );
    let patterns = |n| (0..n).map(|n| format!("'a{n}' = 'json'\n")).collect::<String>();
    assert!(error(&patterns(1001)).contains("1001 patterns, at most 1000 are allowed"));
    topics(&patterns(1000));
}

#[test]
fn wrong_tables_are_told() {
    for (text, expected) in [
        (r#""a" = "jsn""#, "unknown variant `jsn`, expected one of `value`, `json`, `influx`"),
        (r#""a" = 1"#, "\"value\", \"json\" or \"influx\", or a table"),
        (r#""a" = { payload = "json", lables = {} }"#, "unknown field `lables`"),
        (r#""a" = { metric = "m" }"#, "missing field `payload`"),
        (r#""a" = { payload = "influx", precision = "h" }"#, "unknown variant `h`"),
        (r#""a" = { payload = "json", labels = { x = 1 } }"#, "invalid type: integer"),
    ] {
        let error = given(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// What a level of a pattern is worth beside others: the smaller, the more specific.
fn rank(level: &str) -> u8 {
    match level {
        "#" => 3,
        "+" => 2,
        _ if level.starts_with('{') => 1,
        _ => 0,
    }
}

/// Whether a pattern matches, as MQTT says it.
fn matches(pattern: &[String], topic: &[&str]) -> bool {
    if topic[0].starts_with('$') && rank(&pattern[0]) > 0 {
        return false;
    }
    let levels = pattern.iter().filter(|level| *level != "#").count();
    let open = levels < pattern.len();
    (if open { topic.len() >= levels } else { topic.len() == levels })
        && pattern.iter().zip(topic).all(|(level, text)| rank(level) > 0 || level == text)
}

proptest! {
    #[test]
    fn the_most_specific_match_is_found(
        // Few texts, so that many patterns match.
        patterns in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec!["a", "a", "$c", "+", "+", "{x}", "{x}", "#"]), 1..4),
            0..20,
        ),
        topic in prop::collection::vec(prop::sample::select(vec!["a", "a", "a", "$c", "d"]), 1..5),
    ) {
        let mut given = BTreeMap::new();
        let mut kept = Vec::new();
        for (n, pattern) in patterns.iter().enumerate() {
            // A name is there once in a pattern.
            let pattern: Vec<String> =
                pattern.iter().enumerate().map(|(at, level)| level.replace('x', &format!("x{at}"))).collect();
            let setting = TopicSetting { metric: Some(format!("m{n}")), ..PayloadKind::Value.into() };
            let mut tried = given.clone();
            let new = tried.insert(pattern.join("/"), setting).is_none();
            if new && Topics::new(&tried, Precision::default(), &JsonSettings::default()).is_ok() {
                given = tried;
                kept.push((n, pattern.clone()));
            }
        }
        let topics = Topics::new(&given, Precision::default(), &JsonSettings::default()).unwrap();
        let mut candidates: Vec<_> = kept.iter().filter(|(_, pattern)| matches(pattern, &topic)).collect();
        // A pattern that ends is more specific than one that continues with `#`.
        candidates.sort_by_key(|(_, pattern)| pattern.iter().map(|level| rank(level)).collect::<Vec<_>>());
        let expected = candidates.first().map(|(n, _)| PayloadFormat::Value(format!("m{n}").into()));
        prop_assert_eq!(topics.find(&topic.join("/")).map(|route| route.form.clone()), expected);
    }

    #[test]
    fn any_topic_and_payload_is_decoded_or_refused(topic in "[a-c$/{}+#é]{0,12}", payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let topics = topics("'+/{metric}' = 'value'\n'{x}/b/#' = 'json'\n'a/#' = 'influx'");
        let mut fixture = Fixture::new();
        let verdict = publish(&topics, &mut fixture, &topic, &payload);
        let (readings, refusals) = (fixture.intake.readings.len(), fixture.intake.refusals.len());
        prop_assert_eq!(matches!(verdict, Refused(_)), readings == 0 && refusals > 0);
    }

    #[test]
    fn any_pattern_is_taken_or_refused(pattern in "[a{}+#/$\u{0}é]{0,20}") {
        let given = BTreeMap::from([(pattern, TopicSetting::from(PayloadKind::Json))]);
        let _ = Topics::new(&given, Precision::default(), &JsonSettings::default());
    }
}
