//! MQTT 3.1.1 and 5: a connection read whole and in pieces ends in the same way, with the same messages and replies.

use std::{num::NonZeroU16, sync::Arc};

use bytes::BytesMut;
use catchment_gateway::mqtt::{
    connection::{Connection, MqttOptions, Open, Stop},
    topics::Topics,
};

use super::{Target, magnitude, pieces, rig::Rig, signature};

pub(super) const TARGET: Target = Target {
    name: "mqtt",
    run,
    seeds,
    tokens: &[
        b"\xc0\x00",
        b"\xe0\x00",
        b"\x62\x02\x00\x01",
        b"\x82\x06\x00\x01\x00\x01a\x00",
        b"\xa2\x05\x00\x01\x00\x01a",
        b"\x30\x0e\x00\x09telemetry{}\n",
        b"\x32\x10\x00\x09telemetry\x00\x01{}\n",
        b"\x34\x10\x00\x09telemetry\x00\x02{}\n",
        b"\x3c\x10\x00\x09telemetry\x00\x02{}\n",
        b"\x10",
        b"\x00\x04MQTT\x04",
        b"\x00\x04MQTT\x05",
        b"\x23\x00\x01",
        b"\x26\x00\x01a\x00\x01b",
        b"\x00\x00",
        b"\xff\xff\xff\x7f",
        b"\x80\x80\x80\x80",
        b"telemetry/a",
        b"influx",
        b"m a=1",
    ],
    fixed_bytes: 192 << 10,
    bytes_per_input_byte: 160,
};

/// Messages that a client may have in flight.
const RECEIVE_MAX: u16 = 20;

fn packet(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    assert!(body.len() < 128, "the length takes one byte");
    [&[kind, body.len() as u8][..], &body].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let connect3 = |flags| packet(0x10, &[b"\x00\x04MQTT\x04", &[flags], b"\x00\x3c", &text(b"press-17")]);
    let connect5 = |properties: &[u8]| {
        let length = [properties.len() as u8];
        packet(0x10, &[b"\x00\x04MQTT\x05\x00\x00\x3c", &length, properties, &text(b"")])
    };
    let telemetry = text(b"telemetry");
    let json = br#"{"temperature":21.5}"#;
    let v3 = [
        connect3(2),
        packet(0x30, &[&telemetry, json]),
        packet(0x32, &[&telemetry, b"\x00\x01", json]),
        packet(0x34, &[&text(b"telemetry/a"), b"\x00\x02", b"21.5"]),
        packet(0x62, &[b"\x00\x02"]),
        packet(0x82, &[b"\x00\x03", &text(b"a/#"), b"\x01"]),
        packet(0xc0, &[]),
        packet(0x32, &[&text(b"unknown"), b"\x00\x04", json]),
        packet(0xe0, &[]),
    ];
    let v5 = [
        connect5(b"\x11\x00\x00\x0e\x10\x21\x00\x0a"),
        packet(0x32, &[&telemetry, b"\x00\x01", b"\x03\x23\x00\x01", json]),
        packet(0x34, &[&text(b""), b"\x00\x02", b"\x03\x23\x00\x01", json]),
        packet(0x3c, &[&text(b"influx"), b"\x00\x02", b"\x00", b"m a=1\nnonsense"]),
        packet(0x62, &[b"\x00\x02"]),
        packet(0x32, &[&text(b"unknown"), b"\x00\x04", b"\x00", json]),
        packet(0x82, &[b"\x00\x03\x00", &text(b"a/#"), b"\x01"]),
        packet(0xa2, &[b"\x00\x03\x00", &text(b"a/#")]),
        packet(0xe0, &[b"\x00\x05\x11\x00\x00\x00\x00"]),
    ];
    let will = packet(
        0x10,
        &[
            b"\x00\x04MQTT\x04\xee\x00\x00",
            &text(b"c"),
            &text(b"will"),
            &text(b"gone"),
            &text(b"user"),
            &text(b"pass"),
        ],
    );
    vec![v3.concat(), v5.concat(), will, connect3(0), connect5(b"")]
}

/// How a connection ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    opened: Vec<Open>,
    broken: bool,
    /// The last stop of an open connection that could not continue.
    stop: Option<Stop>,
    close_packet: Vec<u8>,
    /// All replies, as they would be written.
    answers: Vec<u8>,
}

fn connection(input: &[u8], mut sizes: impl Iterator<Item = usize>) -> (Rig, End) {
    let mut rig = Rig::new();
    let receive_max = NonZeroU16::new(RECEIVE_MAX).expect("the constant is not 0");
    let mut connection =
        Connection::new(MqttOptions { topics: Arc::new(Topics::default()), receive_max }, rig.limits);
    let mut end = End::default();
    let (mut buffer, mut rest) = (Vec::new(), input);
    'bytes: while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(usize::MAX).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
        loop {
            let Rig { table, rules, intake, .. } = &mut rig;
            let fresh = || "made".to_owned();
            let (consumed, stop) = connection.decode(&buffer, table, rules, intake, fresh);
            assert!(consumed <= buffer.len());
            buffer.drain(..consumed);
            match stop {
                // An error after the last complete packet is reported by the next call.
                Stop::More if consumed > 0 => {}
                Stop::More => break,
                Stop::Enough => assert!(consumed > 0, "no progress"),
                Stop::Open(open) => {
                    assert!(!connection.is_open());
                    end.opened.push(open);
                    end.answers.extend(connection.accept(false));
                    assert!(connection.is_open());
                }
                Stop::Broken(violation) => {
                    let close_packet = connection.close_packet(&violation);
                    end.broken = true;
                    // The codec looks for the version beyond a CONNECT that is too short for it, so the error for such
                    // a packet may be worded differently.
                    if !end.opened.is_empty() {
                        end.close_packet = close_packet;
                        end.stop = Some(Stop::Broken(violation));
                    }
                    break 'bytes;
                }
                Stop::Done => {
                    end.stop = Some(Stop::Done);
                    break 'bytes;
                }
            }
        }
        assert!(buffer.len() <= rig.limits.message_bytes_max + (32 << 10), "the buffer exceeds its bound");
    }
    let mut out = BytesMut::new();
    for reply in &rig.intake.replies {
        // A client may accept only short packets.
        if connection.put(reply, &mut out).is_err() {
            break;
        }
    }
    end.answers.extend_from_slice(&out);
    rig.check();
    (rig, end)
}

fn run(input: &[u8]) -> u64 {
    let (whole, end) = connection(input, std::iter::empty());
    let (cut, cut_end) = connection(input, pieces(input));
    assert_eq!(end, cut_end, "the result depends on the pieces");
    whole.assert_same(&cut);
    assert_eq!(whole.intake.replies, cut.intake.replies);
    assert!(end.opened.len() <= 1, "a connection opens once");
    assert!(!end.opened.is_empty() || whole.counts() == [0; 3], "a message was taken before CONNECT");
    let kinds: Vec<_> = whole.intake.replies.iter().map(std::mem::discriminant).take(5).collect();
    let open = end.opened.first().map(|open| (open.clean, open.persistent));
    let stop = match &end.stop {
        Some(Stop::Broken(violation)) => {
            let text = format!("{violation:?}");
            text.split(|c: char| !c.is_ascii_alphabetic()).take(14).collect::<String>()
        }
        other => format!("{other:?}"),
    };
    signature((whole.signature(), kinds, open, stop, magnitude(end.answers.len())))
}
