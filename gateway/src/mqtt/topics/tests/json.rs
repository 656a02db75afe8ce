//! JSON and names of topics as devices write them.

use super::*;

#[test]
fn two_levels_that_are_one_metric_are_told() {
    let (topics, mut fixture) = (Topics::default(), Fixture::new());
    assert_eq!(publish(&topics, &mut fixture, "telemetry/PM2.5", "1"), Taken);
    assert_eq!(publish(&topics, &mut fixture, "telemetry/PM2_5", "2"), Refused(BadMetric));
    assert_eq!(publish(&topics, &mut fixture, "telemetry", r#"{"PM2-5":3,"a":4}"#), Taken);
    assert_eq!(publish(&topics, &mut fixture, "telemetry", r#"{"PM2.5":5,"a":6}"#), Taken);
    assert_eq!(fixture.readings(), ["PM2_5=1.0", "a=4.0", "PM2_5=5.0", "a=6.0"]);
    assert_eq!(fixture.refusals(), [(BadMetric, 1), (BadMetric, 1)]);
}

#[test]
fn a_topic_says_how_its_json_is_read() {
    let json = toml::from_str("strings = 'ignore'\nignore = ['x']").unwrap();
    let given = given(
        r#"
        "own" = { payload = "json", strings = "refuse", numeric_strings = true, time_key = "time", time_format = "rfc3339" }
        "all" = "json"
        "rooms/{room}" = { payload = "json", ignore = [] }
        "#,
    );
    let topics = Topics::new(&given.unwrap(), Precision::default(), &json).unwrap();
    let text = r#"{"a":"1","b":"x","time":"2023-11-14T22:13:21Z","c":2,"x":9}"#;
    let mut fixture = Fixture::new();
    for _ in 0..2 {
        // In turn on one connection: what is known of one topic is not believed of the other.
        for (topic, readings) in [
            ("own", &["a=1.0@1000.0", "c=2.0@1000.0"][..]),
            ("all", &["c=2.0"]),
            ("telemetry", &["c=2.0"]),
            ("rooms/3", &["c{room=3}=2.0", "x{room=3}=9.0"]),
        ] {
            assert_eq!(publish(&topics, &mut fixture, topic, text), Taken);
            assert_eq!(fixture.readings(), readings, "{topic}");
        }
        assert_eq!(fixture.refusals(), [(NotANumber, 1)], "b of the first");
        fixture.intake.refusals.clear();
        assert_eq!(publish(&topics, &mut fixture, "all", r#"{"c":2,"x":9}"#), Taken);
        assert_eq!(fixture.readings(), ["c=2.0"]);
    }
}
