//! Topics of MQTT: the first line is the topic, the rest the payload; and the topic as a pattern.

use std::{collections::BTreeMap, sync::LazyLock};

use catchment_gateway::{
    decode::{json::JsonSettings, line_protocol::Precision},
    mqtt::topics::{PayloadKind, TopicSetting, Topics, Verdict},
};

use super::{Target, rig::Rig, signature};

pub(super) const TARGET: Target = Target {
    name: "topics",
    run,
    seeds: || {
        [
            "telemetry\n{\"temperature\":21.5}",
            "v1/devices/me/telemetry\n[{\"seq\":1,\"ts\":1700000000000,\"values\":{\"a\":1}}]",
            "telemetry/temperature\n 21.5 ",
            "influx\nenv,room=3 t=1 1700000000000000000\nnonsense\n",
            "factory/7/sensors/t\nON",
            "plc/l1/json\n{\"labels\":{\"line\":\"2\"},\"a\":1}",
            "telegraf/a/b\nm a=1 1700000000",
            "$sys/x\n1",
            "a/{metric}/+/#\n1e400",
        ]
        .map(|seed| seed.as_bytes().to_vec())
        .to_vec()
    },
    tokens: &[
        b"/",
        b"+",
        b"#",
        b"{metric}",
        b"{x}",
        b"{",
        b"}",
        b"$",
        b"telemetry",
        b"telemetry/",
        b"influx",
        b"factory/",
        b"plc/",
        b"/json",
        b"telegraf/",
        b"\n",
        b"a",
        b"{\"a\":1}",
        b"true",
        b"OFF",
        b"1",
        b"m,k=v a=1",
        b"{\"a\":",
        b"{\"hello\":{\"epoch\":\"x\"}}",
        b"\"labels\":{\"line\":\"x\"},",
        b"deep/",
        b"\xc3\xa9",
    ],
    fixed_bytes: 96 << 10,
    bytes_per_input_byte: 160,
};

static TOPICS: LazyLock<Topics> = LazyLock::new(|| {
    let given: BTreeMap<String, TopicSetting> = toml::from_str(
        r##"
        "factory/+/sensors/{metric}" = "value"
        "factory/{hall}/#" = "json"
        "plc/{line}/json" = "json"
        "telegraf/#" = { payload = "influx", precision = "s" }
        "boiler/temp" = { payload = "value", metric = "boiler_temperature", labels = { plant = "a" } }
        "deep/{a}/{b}/{c}/+/{metric}" = { payload = "value", labels = { plant = "a" } }
        "+/{x}/influx" = "influx"
        "##,
    )
    .expect("the patterns are valid");
    Topics::new(&given, Precision::Nanoseconds, &JsonSettings::default()).expect("the patterns are valid")
});

fn run(input: &[u8]) -> u64 {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (topic, payload) = (&input[..at], input.get(at + 1..).unwrap_or_default());
    let topic = String::from_utf8_lossy(topic);
    let mut rig = Rig::new();
    rig.intake.end_message(None, 1);
    let Rig { table, rules, limits, intake, .. } = &mut rig;
    let verdict = TOPICS.decode(&topic, payload, 2, table, rules, limits, intake);
    let [readings, refusals, messages] = rig.counts();
    assert_eq!(messages, 1, "the caller ends the message");
    assert!(readings <= rig.limits.readings_max && refusals <= 16 + 13);
    let code = match verdict {
        Verdict::Taken => "taken",
        Verdict::Refused(reason) => {
            assert!(readings == 0 && rig.intake.refusals[0].reason == reason);
            reason.code()
        }
    };
    assert_eq!(code == "taken", readings > 0 || refusals == 0);
    rig.check();
    // As a pattern: refused with a cause, or it matches its own text.
    let given = BTreeMap::from([(topic.clone().into_owned(), TopicSetting::from(PayloadKind::Json))]);
    let pattern = Topics::new(&given, Precision::Nanoseconds, &JsonSettings::default());
    let literal = !topic.contains(['+', '#', '{', '}']);
    if let Ok(topics) = &pattern
        && literal
    {
        let mut rig = Rig::new();
        let Rig { table, rules, limits, intake, .. } = &mut rig;
        assert_eq!(topics.decode(&topic, b"{\"a\":1}", 1, table, rules, limits, intake), Verdict::Taken);
    }
    let cause = pattern.err().map(|error| {
        error
            .to_string()
            .split(' ')
            .filter(|word| word.bytes().all(|b| b.is_ascii_lowercase()))
            .collect::<String>()
    });
    signature((rig.signature(), code, cause, topic.split('/').count().min(8)))
}
