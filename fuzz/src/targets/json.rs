//! JSON lines: a connection read whole and in pieces, and the input as one line.

use catchment_gateway::decode::{
    Decoded, Lines,
    json::{self, Options},
    refuse_too_long,
};

use super::{Target, lines::drain_lines, pieces, rig::Rig};

pub(super) const TARGET: Target = Target {
    name: "json",
    run,
    seeds: || {
        [
            r#"{"temperature":21.5,"door_open":true}"#,
            r#"{"ts":1700000001000,"values":{"a":1,"b":false},"labels":{"room":"3"},"seq":1}"#,
            r#"[{"a":1},{"seq":2,"a":{"b":{"c":1e3}}},{"a":NaN}]"#,
            "{\"hello\":{\"epoch\":\"boot-42\"}}\n{\"seq\":1,\"a\":1}\n{\"seq\":2,\"a\":-Infinity,\"b\":\"\\ud83d\\ude00\"}\n",
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
        b"\"a\":1,",
        b"{\"a\":",
        b"\"a\":{",
        b"[[",
        b"]]",
        b"}}",
        b"\"ts\":",
        b"\"seq\":",
        b"\"values\":{",
        b"\"labels\":{\"room\":\"3\"},",
        b"\"hello\":{\"epoch\":\"x\"}",
        b"\\ud800",
        b"\\u0000",
        b"\\\\",
        b"null",
        b"true",
        b"false",
        b"NaN",
        b"-Infinity",
        b"Infinity",
        b"1e400",
        b"nan",
        b"-inf",
        b"nan(0x1)",
        b"1.#QNAN",
        b"None",
        b"\xef\xbb\xbf",
        b"\x00",
        b"PM2.5",
        b"\"a.b\":1,",
        b"\"a_b\":1,",
        b"\"site\":\"x\"",
        b"{\"a\":1}\n",
        b"{\"seq\":1,\"a\":1},",
        b"\xc3\xa9",
    ],
    fixed_bytes: 96 << 10,
    bytes_per_input_byte: 160,
};

fn line(rig: &mut Rig, line: Option<&[u8]>, options: &Options, ordinal: u64) {
    let before = rig.counts();
    let Rig { table, rules, limits, intake, .. } = rig;
    let decoded = match line {
        Some(line) => json::decode_line(line, options, ordinal, table, rules, limits, intake),
        None => {
            refuse_too_long(limits, ordinal, intake);
            Decoded::Refused
        }
    };
    rig.settle(decoded, before);
}

fn connection(input: &[u8], options: &Options, sizes: impl Iterator<Item = usize>) -> Rig {
    let mut rig = Rig::new();
    let bytes_max = rig.limits.message_bytes_max;
    let mut ordinal = 0;
    drain_lines(&mut Lines::json(bytes_max), bytes_max, input, sizes, |next| {
        ordinal += 1;
        line(&mut rig, next, options, ordinal);
    });
    rig.check();
    rig
}

fn run(input: &[u8]) -> u64 {
    run_with(input, &Options::default())
}

pub(super) fn run_with(input: &[u8], options: &Options) -> u64 {
    let whole = connection(input, options, std::iter::empty());
    whole.assert_same(&connection(input, options, pieces(input)));
    let mut alone = Rig::new();
    line(&mut alone, Some(input), options, 1);
    alone.check();
    whole.signature() ^ alone.signature().rotate_left(1)
}
