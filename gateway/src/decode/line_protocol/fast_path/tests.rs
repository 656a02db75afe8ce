use proptest::prelude::*;

use super::*;
use crate::decode::{
    fixture::{Fixture, NOW_MS, edited, edits, same_unknown},
    line_protocol::decode_line,
};

const NOW_NS: i64 = NOW_MS * 1_000_000;

fn text() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "env",
        "env,room=3",
        "env,room=4",
        "env,room=3,floor=2",
        "e\\ nv",
        "m\"",
        "9x,a=b",
        "env,site=x",
        "é",
    ]);
    let field = prop::sample::select(vec!["temperature", "humidity", "a.b", "a-b", "a\\ b", "b"]);
    let value = prop_oneof![
        5 => (-100_000..100_000_i32).prop_map(|n| format!("{}", f64::from(n) / 100.0)),
        1 => any::<f64>().prop_map(|n| format!("{n}")),
        1 => any::<i64>().prop_map(|n| format!("{n}i")),
        1 => prop::sample::select(vec!["t", "false", "\"x, y=1 2\"", "\"auto\"", "\"\"", "\"a\\\"b\"", "\"ä\"", "\"x", "1e400", "5u", "+1", ".5", "5.", "nan", ""])
            .prop_map(str::to_owned),
    ];
    let time = prop_oneof![
        1 => Just(String::new()),
        4 => (-90_000_000_000_000..90_000_000_000_i64).prop_map(|at| format!(" {}", NOW_NS + at)),
        1 => any::<i64>().prop_map(|at| format!("  {at}")),
        1 => prop::sample::select(vec![" +1700000000000000000", " x", " ", "\t1", " \t1700000000000000000"]).prop_map(str::to_owned),
    ];
    let fields = prop::collection::vec((field, value), 1..5);
    (key, fields, time, prop::sample::select(vec![" ", " ", "  ", "\t"])).prop_map(
        |(key, fields, time, space)| {
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{key}{space}{}{time}", fields.join(","))
        },
    )
}

fn decode(fixture: &mut Fixture, line: &[u8], ordinal: u64) -> crate::decode::Decoded {
    let Fixture { table, rules, limits, intake, .. } = fixture;
    decode_line(line, Precision::Nanoseconds, ordinal, table, rules, limits, intake)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_known_changes_nothing(
        lines in prop::collection::vec((text(), edits()), 1..24), repeat in 1..3_usize
    ) {
        let lines: Vec<_> = lines.into_iter().map(|(line, edits)| edited(line.into_bytes(), &edits)).collect();
        let all = lines.iter().flat_map(|line| std::iter::repeat_n(line.clone(), repeat));
        same_unknown(all, |fixture, line, ordinal| {
            fixture.limits.readings_max = 3;
            decode(fixture, line, ordinal)
        });
    }
}

#[test]
fn what_devices_repeat_is_known() {
    let mut fixture = Fixture::new();
    let cases = [
        "env,room=3 temperature=21.5,humidity=40.25 1700000000000000000",
        "env,room=4 temperature=-1e-3,count=5i,on=true",
        "env mode=\"auto, =\",on=f 1700000000000000000",
        "env a.b=21.500000000000004",
    ];
    for case in cases {
        let known = |fixture: &mut Fixture| {
            let Fixture { table, rules, limits, intake, .. } = fixture;
            let mut sink = Sink::new(intake, table, rules, limits, 1);
            line(case.as_bytes(), Precision::Nanoseconds, &mut sink).is_some()
        };
        assert!(!known(&mut fixture), "{case}");
        decode(&mut fixture, case.as_bytes(), 1);
        assert_eq!(fixture.refusals(), []);
        let first = fixture.readings();
        assert!(known(&mut fixture), "{case}");
        assert_eq!(fixture.readings(), first);
    }
}
