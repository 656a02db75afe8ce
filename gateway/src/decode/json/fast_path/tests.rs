use proptest::prelude::*;

use crate::decode::{
    fixture::{Fixture, NOW_MS, edited, edits, same_unknown},
    json::Options,
    sink::Sink,
};

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "temperature",
        "humidity",
        "a",
        "b",
        "a_b",
        "ts",
        "seq",
        "labels",
        "values",
        "hello",
        "9",
        "",
        "é",
        "\\u0061",
    ])
}

fn plain() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (-100_000..100_000_i32).prop_map(|n| format!("{}", f64::from(n) / 100.0)),
        1 => any::<f64>().prop_map(|n| format!("{n:e}")),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => prop::sample::select(vec![
            "true", "false", "null", "\"on\"", "\"auto\"", "\"\"", "\"a\\nb\"", "\"ä\"", "[1]", "1e400", "-0", "007", "1.", "NaN", "21.500000000000004", "{}",
        ]).prop_map(str::to_owned),
    ]
}

fn object() -> impl Strategy<Value = String> {
    let space = || prop::sample::select(vec!["", "", "", " ", "\t", "\n"]);
    let common = prop::sample::select(vec!["temperature", "humidity", "a", "b"]);
    let member = |value: BoxedStrategy<String>| {
        (prop_oneof![5 => common.clone(), 1 => name()], space(), value, space())
            .prop_map(|(name, before, value, behind)| format!("\"{name}\"{before}:{before}{value}{behind}"))
    };
    let inner = prop::collection::vec(member(plain().boxed()), 0..4)
        .prop_map(|members| format!("{{{}}}", members.join(",")));
    let value = prop_oneof![6 => plain(), 1 => inner.clone()].boxed();
    let meta = prop_oneof![
        (-90_000_000..90_000_i64).prop_map(|at| format!("\"ts\":{}", NOW_MS + at)),
        Just(format!("\"ts\":{}.25", NOW_MS - 5)),
        (0..4_u8).prop_map(|seq| format!("\"seq\":{seq}")),
        prop::sample::select(vec![
            "{}",
            "{\"room\":\"1\"}",
            "{\"room\": \"2\"}",
            "{\"site\":\"x\"}",
            "{\"room\":3}"
        ])
        .prop_map(|labels| format!("\"labels\":{labels}")),
        inner.prop_map(|inner| format!("\"values\":{inner}")),
    ];
    (
        prop::collection::vec(meta, 0..4),
        prop_oneof![2 => prop::collection::vec(member(value), 0..5), 1 => Just(Vec::new())],
        any::<prop::sample::Index>(),
        space(),
    )
        .prop_map(|(meta, mut members, at, space)| {
            let at = at.index(members.len() + 1);
            members.splice(at..at, meta);
            format!("{space}{{{space}{}}}{space}", members.join(&format!(",{space}")))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_is_known_changes_nothing(
        objects in prop::collection::vec((object(), edits()), 1..24), repeat in 1..3_usize
    ) {
        let lines: Vec<_> =
            objects.into_iter().map(|(object, edits)| edited(object.into_bytes(), &edits)).collect();
        let all = lines.iter().flat_map(|line| std::iter::repeat_n(line.clone(), repeat));
        same_unknown(all.clone(), |fixture, line, ordinal| {
            fixture.limits.depth_max = 3;
            fixture.limits.readings_max = 6;
            fixture.json(line, ordinal)
        });
        // The payload of another protocol.
        same_unknown(all, |fixture, line, ordinal| {
            let Fixture { table, rules, limits, intake, .. } = fixture;
            let base = catchment_proto::Labels::new([("line", ["1", "2"][ordinal as usize % 2])]).unwrap();
            let decoded = super::super::decode(line, &Options::default(), &mut Sink::payload(intake, table, rules, limits, ordinal, base));
            intake.end_message(None, ordinal);
            decoded
        });
    }
}

/// Whether an object is of the usual kind.
fn is_known(fixture: &mut Fixture, line: &str) -> bool {
    let Fixture { table, rules, limits, intake, .. } = fixture;
    super::object(line, true, &mut Sink::new(intake, table, rules, limits, 1)).is_some()
}

#[test]
fn what_devices_repeat_is_known() {
    let cases = [
        r#"{"temperature":21.5,"humidity":40}"#,
        r#"{"seq":1,"ts":1700000000000,"values":{"temperature":21.5,"humidity":40}}"#,
        r#"{"ts":1700000000000,"labels":{"room":"3"},"temperature":21.5}"#,
        r#"{"temperature":21.5,"labels":{"room":"3"},"ts":1700000000000.5}"#,
        r#"{"SI7021":{"Temperature":21.5,"inner":{"deep":-1e-3}},"on":true}"#,
        "{ \"temperature\" : 21.500000000000004 ,\r\n \"humidity\" : 40 }\r",
    ];
    for case in cases {
        let mut fixture = Fixture::new();
        assert!(!is_known(&mut fixture, case), "{case}");
        fixture.json(case, 1);
        assert_eq!(fixture.refusals(), []);
        let first = fixture.readings();
        assert!(is_known(&mut fixture, case), "{case}");
        assert_eq!(fixture.readings(), first);
    }
}

#[test]
fn names_may_come_in_another_order_or_be_missing() {
    let mut fixture = Fixture::new();
    fixture.json(r#"{"a":1,"b":2,"c":3}"#, 1);
    for line in [r#"{"c":1,"a":2}"#, r#"{"b":1}"#, r#"{"a":1,"c":3}"#, r#"{"b":"x","a":3,"c":true}"#] {
        assert!(is_known(&mut fixture, line), "{line}");
    }
    for line in [
        r#"{"a":1,"a":2}"#,
        r#"{"c":1,"a":2,"c":3}"#,
        r#"{"a":1,"d":2}"#,
        r#"{"a":1,"b":"2\n"}"#,
        r#"{"a":""}"#,
    ] {
        assert!(!is_known(&mut fixture, line), "{line}");
    }
}
