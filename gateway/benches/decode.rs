//! What decoding costs, one protocol and shape of message after the other: bytes to an [`Intake`], as a session does it.
//!
//! Values walk in small steps with two or three decimals, times have steps of about a second: what sensors send. A
//! figure's throughput counts readings. Run: `cargo bench -p catchment-gateway --bench decode`.

use std::hint::black_box;

use catchment_gateway::{
    decode::{
        DecodeLimits, Decoded,
        frames::{SeriesAliases, decode_frame},
        json,
        line_protocol::{self, Precision},
    },
    intake::{Intake, SeriesTable, TimeRules},
};
use catchment_partial::Timestamp;
use catchment_proto::wire::{Column, DeviceMessage, Reading, Readings, SeriesName, device_message::Kind};
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use prost::Message;

static OPTIONS: std::sync::LazyLock<json::Options> = std::sync::LazyLock::new(json::Options::default);

const NOW_MS: i64 = 1_700_000_000_000;
const NOW_NS: i64 = NOW_MS * 1_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// A walk in small steps, rounded to two or three decimals.
struct Walk {
    state: u64,
    value: f64,
    scale: f64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let scale = if seed.is_multiple_of(2) { 100.0 } else { 1000.0 };
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, value: 20.0 + seed as f64, scale }
    }

    fn next(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.value += ((self.state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5) * 0.2;
        (self.value * self.scale).round() / self.scale
    }
}

/// One connection's side of the gateway.
struct Session {
    table: SeriesTable,
    frames: SeriesAliases,
    rules: TimeRules,
    limits: DecodeLimits,
    intake: Intake,
    ordinal: u64,
}

impl Session {
    fn new() -> Self {
        let at = |millis| Timestamp::from_millis(millis).expect("within the range");
        Self {
            table: SeriesTable::new(2_000),
            frames: SeriesAliases::new(2_000),
            rules: TimeRules {
                now: at(NOW_MS),
                oldest: at(NOW_MS - 86_400_000),
                newest: at(NOW_MS + 60_000),
            },
            limits: DecodeLimits::default(),
            intake: Intake::default(),
            ordinal: 0,
        }
    }

    /// Forgets what was taken, as a session that has handed it on.
    fn clear(&mut self) {
        black_box(&self.intake);
        self.intake.reuse();
    }

    fn frame(&mut self, body: &[u8]) {
        self.ordinal += 1;
        let Self { table, frames, rules, limits, intake, ordinal } = self;
        assert_eq!(decode_frame(body, *ordinal, frames, table, rules, limits, intake), Decoded::Message);
    }

    fn json(&mut self, line: &[u8]) {
        self.ordinal += 1;
        let Self { table, rules, limits, intake, ordinal, .. } = self;
        assert_eq!(
            json::decode_line(line, &OPTIONS, *ordinal, table, rules, limits, intake),
            Decoded::Message
        );
    }

    fn line(&mut self, line: &[u8]) {
        self.ordinal += 1;
        let Self { table, rules, limits, intake, ordinal, .. } = self;
        let precision = Precision::Nanoseconds;
        let decoded = line_protocol::decode_line(line, precision, *ordinal, table, rules, limits, intake);
        assert_eq!(decoded, Decoded::Message);
    }
}

/// Measures messages that one session decodes one after the other.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    readings: usize,
    messages: &[Vec<u8>],
    decode: fn(&mut Session, &[u8]),
) {
    let mut session = Session::new();
    group.throughput(Throughput::Elements(readings as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for message in messages {
                decode(&mut session, black_box(message));
            }
            assert_eq!(session.intake.readings.len(), readings);
            session.clear();
        });
    });
}

fn frame(readings: Readings) -> Vec<u8> {
    DeviceMessage { kind: Some(Kind::Readings(readings)) }.encode_to_vec()
}

/// A frame of so many columns of so many values each, its series defined in it.
fn columns(columns: u32, values: usize, steps: usize) -> Vec<u8> {
    let define = (1..=columns).map(|index| SeriesName {
        index,
        metric: format!("metric_{index}"),
        labels: [("room".to_owned(), (index % 7).to_string())].into(),
    });
    let column = |series: u32| {
        let mut walk = Walk::new(series.into());
        Column {
            series,
            first_time_ns: NOW_NS - 200 * SECOND_NS,
            step_ns: (0..steps).map(|at| SECOND_NS + (at as i64 % 5) * 1_000_000).collect(),
            values: (0..values).map(|_| walk.next()).collect(),
            states: Vec::new(),
        }
    };
    frame(Readings {
        seq: 0,
        define: define.collect(),
        columns: (1..=columns).map(column).collect(),
        readings: Vec::new(),
    })
}

/// The frame without its definitions, as all but the first of a connection.
fn undefined(frame_body: &[u8]) -> Vec<u8> {
    match DeviceMessage::decode(frame_body) {
        Ok(DeviceMessage { kind: Some(Kind::Readings(readings)) }) => {
            frame(Readings { define: Vec::new(), ..readings })
        }
        _ => unreachable!("made above"),
    }
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frames");
    let shapes = [
        ("10 columns of 100, one step", 10, 100, 1),
        ("10 columns of 100, a step each", 10, 100, 99),
        ("1000 columns of 1", 1_000, 1, 0),
    ];
    for (name, count, values, steps) in shapes {
        let first = columns(count, values, steps);
        let next = undefined(&first);
        let mut session = Session::new();
        session.frame(&first);
        session.clear();
        let readings = count as usize * values;
        group.throughput(Throughput::Elements(readings as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                session.frame(black_box(&next));
                assert_eq!(session.intake.readings.len(), readings);
                session.clear();
            });
        });
    }
    let mut walk = Walk::new(3);
    let singles: Vec<_> = (0..100)
        .map(|at| {
            frame(Readings {
                seq: at + 1,
                readings: vec![Reading {
                    metric: "temperature".to_owned(),
                    labels: [("room".to_owned(), "3".to_owned())].into(),
                    time_ns: NOW_NS - at as i64 * SECOND_NS,
                    value: walk.next(),
                    state: String::new(),
                }],
                ..Readings::default()
            })
        })
        .collect();
    measure(&mut group, "single readings with their names", 100, &singles, Session::frame);
    group.finish();
}

const MEMBERS: [&str; 10] = [
    "temperature",
    "humidity",
    "pressure",
    "co2",
    "voc",
    "pm2_5",
    "pm10",
    "battery_voltage",
    "rssi",
    "light",
];

/// The members of an object of ten readings.
fn members(walks: &mut [Walk]) -> String {
    let members = MEMBERS.iter().zip(walks).map(|(name, walk)| format!("\"{name}\":{}", walk.next()));
    members.collect::<Vec<_>>().join(",")
}

fn json_lines(criterion: &mut Criterion) {
    fn ts(at: u64) -> i64 {
        NOW_MS - 100_000 + at as i64 * 1_000
    }
    let mut group = criterion.benchmark_group("json");
    let lines = |line: fn(u64, String) -> String| -> Vec<Vec<u8>> {
        let mut walks: Vec<_> = (0..10).map(Walk::new).collect();
        (0..100).map(|at| line(at, members(&mut walks)).into_bytes()).collect()
    };
    let long =
        lines(|at, members| format!("{{\"seq\":{},\"ts\":{},\"values\":{{{members}}}}}", at + 1, ts(at)));
    measure(&mut group, "seq, ts and values of 10", 1_000, &long, Session::json);
    let plain = lines(|_, members| format!("{{{members}}}"));
    measure(&mut group, "plain object of 10", 1_000, &plain, Session::json);
    let mut walk = Walk::new(4);
    let labelled: Vec<_> = (0..100)
        .map(|at| {
            format!(
                "{{\"ts\":{},\"labels\":{{\"room\":\"3\",\"floor\":\"2\"}},\"temperature\":{},\"humidity\":{}}}",
                ts(at),
                walk.next(),
                walk.next()
            )
            .into_bytes()
        })
        .collect();
    measure(&mut group, "labels and 2", 200, &labelled, Session::json);
    let small: Vec<_> = (0..100)
        .map(|_| format!("{{\"temperature\":{},\"humidity\":{}}}", walk.next(), walk.next()).into_bytes())
        .collect();
    measure(&mut group, "small payload of 2", 200, &small, Session::json);
    let nested: Vec<_> = (0..100)
        .map(|_| {
            format!(
                "{{\"SI7021\":{{\"Temperature\":{},\"Humidity\":{}}},\"on\":true}}",
                walk.next(),
                walk.next()
            )
            .into_bytes()
        })
        .collect();
    measure(&mut group, "nested object and switch", 300, &nested, Session::json);
    let text: Vec<_> = (0..100)
        .map(|_| format!("{{\"temperature\":{},\"state\":\"ON\"}}", walk.next()).into_bytes())
        .collect();
    measure(&mut group, "1 and a text, which is refused", 100, &text, Session::json);
    group.finish();
}

fn line_protocol_lines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("line protocol");
    let (mut temperature, mut humidity) = (Walk::new(2), Walk::new(40));
    let mut line = |at: i64, room: i64| {
        let time = NOW_NS - 200 * SECOND_NS + at * SECOND_NS + 123_456;
        format!("env,room={room} temperature={},humidity={} {time}", temperature.next(), humidity.next())
            .into_bytes()
    };
    let one: Vec<_> = (0..100).map(|at| line(at, 3)).collect();
    measure(&mut group, "1 tag, 2 fields, one series key", 200, &one, Session::line);
    let many: Vec<_> = (0..100).map(|at| line(at, at % 10)).collect();
    measure(&mut group, "1 tag, 2 fields, 10 series keys in turn", 200, &many, Session::line);
    let mut walks: Vec<_> = (0..10).map(Walk::new).collect();
    let telegraf: Vec<_> = (0..100)
        .map(|at| {
            let fields: Vec<_> = MEMBERS
                .iter()
                .zip(&mut walks)
                .map(|(name, walk)| format!("{name}={}", walk.next()))
                .collect();
            format!("cpu,cpu=cpu-total,host=edge-17,rack=a3 {} {}", fields.join(","), NOW_NS + at)
                .into_bytes()
        })
        .collect();
    measure(&mut group, "3 tags, 10 fields", 1_000, &telegraf, Session::line);
    group.finish();
}

criterion_group!(benches, frames, json_lines, line_protocol_lines);
criterion_main!(benches);
