//! InfluxDB line protocol: a connection read whole and in pieces, and the same readings from a payload.

use catchment_gateway::{
    decode::{Decoded, Lines, line_protocol, line_protocol::Precision, refuse_too_long},
    mqtt::topics::Topics,
};

use super::{Target, lines::drain_lines, pieces, rig::Rig};

pub(super) const TARGET: Target = Target {
    name: "line_protocol",
    run,
    seeds: || {
        [
            "env,room=3 temperature=21.5,humidity=40i 1700000000000000000\n",
            "m a=1,b=-2i,c=3u,d=t,e=\"x, y=\\\" \n\",f=.5 \n# comment\nm\\ x\\,y,t\\=1=a\\ b f\\ g=1e3\n",
            "disk.io,host-name=x read-bytes=1,gr\u{f6}\u{df}e=2 1700000000000000000\r\nnonsense\n",
        ]
        .map(|seed| seed.as_bytes().to_vec())
        .to_vec()
    },
    tokens: &[
        b",",
        b"=",
        b" ",
        b"\n",
        b"\"",
        b"\\",
        b"\\,",
        b"\\=",
        b"\\ ",
        b"m a=1",
        b",k=v",
        b",a=1i",
        b",b=2u",
        b",c=t",
        b"=\"x",
        b"\" ",
        b" 1700000000000000000\n",
        b"#",
        b"\r\n",
        b"site=x",
        b"m,k=v f=1 ",
        b"i",
        b"u",
        b"1e400",
        b"-",
        b".",
        b"inf",
        b"nan",
        b"\xc3\xa9",
    ],
    fixed_bytes: 96 << 10,
    bytes_per_input_byte: 160,
};

const PRECISION: Precision = Precision::Nanoseconds;

fn connection(input: &[u8], sizes: impl Iterator<Item = usize>) -> Rig {
    let mut rig = Rig::new();
    let bytes_max = rig.limits.message_bytes_max;
    let mut ordinal = 0;
    drain_lines(&mut Lines::line_protocol(bytes_max), bytes_max, input, sizes, |line| {
        ordinal += 1;
        let before = rig.counts();
        let Rig { table, rules, limits, intake, .. } = &mut rig;
        let decoded = match line {
            Some(line) => line_protocol::decode_line(line, PRECISION, ordinal, table, rules, limits, intake),
            None => {
                refuse_too_long(limits, ordinal, intake);
                Decoded::Refused
            }
        };
        rig.settle(decoded, before);
    });
    rig.check();
    rig
}

fn run(input: &[u8]) -> u64 {
    let whole = connection(input, std::iter::empty());
    whole.assert_same(&connection(input, pieces(input)));
    let mut payload = Rig::new();
    if input.len() <= payload.limits.message_bytes_max {
        // One message of the same bytes has the same readings, up to its own bound.
        let Rig { table, rules, limits, intake, .. } = &mut payload;
        Topics::default().decode("influx", input, 1, table, rules, limits, intake);
        payload.check();
        let readings = &whole.intake.readings;
        let bounded = payload.intake.readings.len() < readings.len();
        let refused =
            payload.intake.refusals.iter().any(|refusal| refusal.reason.code() == "too_many_readings");
        assert_eq!(bounded, bounded && refused, "a payload has fewer readings than its lines");
        assert!(
            readings.starts_with(&payload.intake.readings),
            "a payload's readings differ from its lines'"
        );
    }
    whole.signature()
}
