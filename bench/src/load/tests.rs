use std::collections::HashSet;

use bytes::BytesMut;
use catchment_gateway::{
    decode::{
        DecodeLimits, Decoded,
        frames::{SeriesAliases, decode_frame},
        json::{Options, decode_line},
        line_protocol::{self as lines, Precision},
    },
    intake::{Intake, SeriesTable, TimeRules},
};
use catchment_partial::{Partial, Timestamp};
use catchment_proto::{Batch, frame};

use super::{
    connection::{ProtocolClient, Replies},
    delivery, frames, json, line_protocol, mqtt, now_ns,
};

/// A gateway's decoders of one connection.
struct Gateway {
    table: SeriesTable,
    rules: TimeRules,
    intake: Intake,
}

impl Gateway {
    fn new() -> Self {
        let at = |seconds: i64| Timestamp::from_nanos(now_ns() + seconds * 1_000_000_000);
        let rules = TimeRules { now: at(0), oldest: at(-60), newest: at(60) };
        Self { table: SeriesTable::new(100), rules, intake: Intake::default() }
    }

    /// Everything was decoded, values vary, and the times of each series advance.
    fn check(&self, readings: usize, series: usize) {
        assert!(self.intake.refusals.is_empty(), "{:?}", self.intake.refusals);
        assert_eq!(self.intake.readings.len(), readings);
        let of = |wanted: u32| self.intake.readings.iter().filter(move |reading| reading.series == wanted);
        let known: HashSet<u32> = self.intake.readings.iter().map(|reading| reading.series).collect();
        assert_eq!(known.len(), series);
        for one in known {
            let times: Vec<_> = of(one).map(|reading| reading.time).collect();
            assert!(times.is_sorted());
            let values: HashSet<u64> = of(one).map(|reading| reading.value.to_bits()).collect();
            assert!(values.len() > times.len().min(100) / 4, "{} values", values.len());
        }
    }
}

#[test]
fn the_gateway_accepts_frames() {
    let mut device = frames::Frames::new(&frames::MessagePool::new(), "e".into(), 3, 10, 100);
    let (mut gateway, mut state) = (Gateway::new(), SeriesAliases::new(100));
    let mut out = device.greeting().unwrap();
    for _ in 0..90 {
        assert_eq!(device.write_message(&mut out), 1_000);
    }
    let (mut rest, mut kinds) = (&out[..], Vec::new());
    while let Some((body, behind)) = frame::split(rest, 1 << 20).unwrap() {
        let Gateway { table, rules, intake } = &mut gateway;
        let ordinal = kinds.len() as u64;
        kinds.push(decode_frame(body, ordinal, &mut state, table, rules, &DecodeLimits::default(), intake));
        rest = behind;
    }
    assert!(rest.is_empty() && matches!(kinds[0], Decoded::Hello { .. }));
    gateway.check(90_000, 10);
}

#[test]
fn the_gateway_accepts_json_lines() {
    for epoch in [None, Some("e".to_owned())] {
        let mut device = json::Json::new(&json::MessagePool::new(10), epoch.clone(), 3);
        let mut gateway = Gateway::new();
        let mut out = Vec::new();
        for _ in 0..500 {
            assert_eq!(device.write_message(&mut out), 10);
        }
        for (ordinal, line) in (1..).zip(out.split_inclusive(|byte| *byte == b'\n')) {
            let Gateway { table, rules, intake } = &mut gateway;
            decode_line(line, &Options::default(), ordinal, table, rules, &DecodeLimits::default(), intake);
        }
        let numbers: Vec<_> = gateway.intake.messages.iter().map(|meta| meta.seq).collect();
        assert_eq!(numbers.len(), 500);
        assert_eq!(numbers[499], epoch.map(|_| 500));
        gateway.check(5_000, 10);
    }
}

#[test]
fn the_gateway_accepts_line_protocol() {
    let mut device = line_protocol::LineProtocol::new(&line_protocol::MessagePool::new(), 3);
    let (mut gateway, mut out) = (Gateway::new(), Vec::new());
    for _ in 0..500 {
        assert_eq!(device.write_message(&mut out), line_protocol::FIELDS);
    }
    for (ordinal, line) in (1..).zip(out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())) {
        let Gateway { table, rules, intake } = &mut gateway;
        lines::decode_line(
            line,
            Precision::default(),
            ordinal,
            table,
            rules,
            &DecodeLimits::default(),
            intake,
        );
    }
    gateway.check(1_000, 2);
}

#[test]
fn publishes_follow_the_standard() {
    let mut device = mqtt::Mqtt::new(&mqtt::MessagePool::new(), "c".into(), 3);
    assert_eq!(device.greeting().unwrap(), b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c");
    let (mut gateway, mut out) = (Gateway::new(), Vec::new());
    for number in 1..=500_u16 {
        out.clear();
        device.write_message(&mut out);
        assert_eq!((out[0], usize::from(out[1])), (0x32, out.len() - 2));
        assert_eq!(&out[2..13], b"\x00\x09telemetry");
        assert_eq!(out[13..15], number.to_be_bytes());
        let Gateway { table, rules, intake } = &mut gateway;
        decode_line(
            &out[15..],
            &Options::default(),
            number.into(),
            table,
            rules,
            &DecodeLimits::default(),
            intake,
        );
    }
    gateway.check(500, 1);
}

#[test]
fn replies_are_counted_wherever_the_stream_is_split() {
    let cases: [(Box<dyn ProtocolClient>, &[u8], u64); 2] = [
        (
            Box::new(mqtt::Mqtt::new(&mqtt::MessagePool::new(), "c".into(), 0)),
            b"\x20\x02\x00\x00\x40\x02\x00\x01\x40\x02\x00\x02",
            2,
        ),
        (
            Box::new(json::Json::new(&json::MessagePool::new(1), Some("e".into()), 0)),
            b"{\"welcome\":{\"epoch\":\"e\",\"ack\":0}}\n{\"ack\":4}\n{\"ack\":17}\n",
            17,
        ),
    ];
    for (mut client, bytes, acknowledged) in cases {
        let mut input = BytesMut::new();
        let mut replies = Replies::default();
        for byte in bytes {
            input.extend_from_slice(&[*byte]);
            replies = client.read_replies(&mut input).unwrap();
        }
        assert_eq!(replies, Replies { greeted: true, acknowledged });
    }
    let mut refused = json::Json::new(&json::MessagePool::new(1), None, 0);
    let error = &b"{\"error\":{\"code\":\"too_old\",\"message\":\"\",\"line\":7}}\n"[..];
    assert!(refused.read_replies(&mut BytesMut::from(error)).is_err());
    let mut refused = mqtt::Mqtt::new(&mqtt::MessagePool::new(), "c".into(), 0);
    assert!(refused.read_replies(&mut BytesMut::from(&b"\x20\x02\x00\x05"[..])).is_err());
}

#[test]
fn deliveries_are_valid_batches_of_partials_of_ten_readings() {
    for body in delivery::bodies().unwrap().iter().step_by(97) {
        let partial = Partial::decode(body, Timestamp::from_nanos(0)).unwrap();
        assert_eq!(partial.count(), 10);
    }
    let mut shards = delivery::shards(10_000).unwrap();
    assert_eq!(shards.len(), 2);
    for shard in &mut shards {
        let (mut entries, mut last) = (HashSet::new(), 0);
        for _ in 0..4 {
            let batch = Batch::try_from(shard.batch()).unwrap();
            assert_eq!(batch.number, last + 1);
            last = batch.number;
            for entry in &batch.entries {
                assert!(entries.insert((batch.series[entry.series as usize].key().clone(), entry.window)));
            }
        }
        // Two batches a window: all series of the shard once each.
        assert_eq!(entries.len(), 10_000);
    }
}
