//! One MQTT connection without sockets. The bytes are put together here from the standards, not by the library.

pub(crate) mod bytes;
mod conformance;
mod hostile;
mod publish;

use std::{num::NonZeroU16, sync::Arc};

use ::bytes::BytesMut;
use catchment_partial::Timestamp;
use rmqtt_codec::v5::DisconnectReasonCode;

use self::bytes::*;
use super::{
    connection::{Connection, MqttOptions, Open, Stop},
    topics::Topics,
};
use crate::{
    decode::DecodeLimits,
    intake::{Intake, MqttEffect, SeriesTable, TimeRules},
};

const RECEIVE_MAX: u16 = 4;
const MESSAGE_MAX: usize = 1000;

/// A connection, and what it has said.
struct Side {
    connection: Connection,
    table: SeriesTable,
}

impl Side {
    /// Nothing was read yet.
    fn new() -> Self {
        let rules = MqttOptions {
            topics: Arc::new(Topics::default()),
            receive_max: NonZeroU16::new(RECEIVE_MAX).unwrap(),
        };
        let limits = DecodeLimits { message_bytes_max: MESSAGE_MAX, ..DecodeLimits::default() };
        Self { connection: Connection::new(rules, limits), table: SeriesTable::new(100) }
    }

    /// A client with a session that is kept.
    fn open(version: u8) -> Self {
        let mut side = Self::new();
        let (_, stop) = side.feed(&connect(version, 0, "press"));
        assert!(matches!(stop, Stop::Open(_)), "{stop:?}");
        side.connection.accept(false);
        side
    }

    /// Gives it bytes as a session does: what is left over is an error unless `Stop` says why.
    fn feed(&mut self, bytes: &[u8]) -> (Intake, Stop) {
        let (intake, stop, used) = self.feed_some(bytes);
        if stop == Stop::More {
            assert_eq!(used, bytes.len(), "whole packets only");
        }
        (intake, stop)
    }

    fn feed_some(&mut self, bytes: &[u8]) -> (Intake, Stop, usize) {
        let mut intake = Intake::default();
        let (used, stop) =
            self.connection.decode(bytes, &mut self.table, &times(), &mut intake, || "auto-1".to_owned());
        (intake, stop, used)
    }

    /// The answers to what it reads.
    fn answers(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (intake, stop) = self.feed(bytes);
        assert_eq!(stop, Stop::More);
        self.put(&intake)
    }

    fn put(&mut self, intake: &Intake) -> Vec<u8> {
        let mut out = BytesMut::new();
        for reply in &intake.replies {
            self.connection.put(reply, &mut out).unwrap();
        }
        out.to_vec()
    }

    /// Reads what ends the connection: the reason, and the last bytes.
    fn broken(&mut self, bytes: &[u8]) -> (DisconnectReasonCode, Vec<u8>) {
        let (_, stop, _) = self.feed_some(bytes);
        let Stop::Broken(violation) = stop else { panic!("{stop:?}") };
        let goodbye = self.connection.close_packet(&violation);
        (violation.reason, goodbye)
    }
}

fn times() -> TimeRules {
    let at = |ms| Timestamp::from_millis(ms).unwrap();
    TimeRules { now: at(1_000_000), oldest: at(0), newest: at(2_000_000) }
}

#[test]
fn a_session_is_opened_with_what_the_client_asks_for() {
    let open = |bytes: &[u8]| match Side::new().feed(bytes).1 {
        Stop::Open(open) => (open.client.to_string(), open.clean, open.persistent),
        stop => panic!("{stop:?}"),
    };
    assert_eq!(open(&connect(4, 0, "a")), ("a".into(), false, true));
    assert_eq!(open(&connect(4, CLEAN, "a")), ("a".into(), true, false));
    assert_eq!(open(&connect(4, CLEAN, "")), ("auto-1".into(), true, false));
    assert_eq!(open(&connect(5, CLEAN, "a")), ("a".into(), true, false));
    assert_eq!(open(&connect_with(5, 0, &[0x11, 0, 0, 0, 9], "a")), ("a".into(), false, true));
    assert_eq!(open(&connect_with(5, CLEAN, &[0x11, 0, 0, 0, 9], "a")), ("a".into(), true, true));
    // Version 5 allows a client without an identifier to ask for no clean start, and the library does not.
    assert_eq!(open(&connect(5, 0, "")).0, "auto-1");
    assert_eq!(open(&connect_with(5, 0, &[0x21, 0, 9], "")).0, "auto-1");
    // Everything a CONNECT can hold: will, user name, password, wishes for other features.
    let will = [CLEAN, 0x04, 0x08, 0x20, 0x80, 0x40].iter().sum();
    let rest = [text("status"), text("gone"), text("user"), text("secret")].concat();
    assert_eq!(open(&packet(0x10, &[connect_header(4, will), text("full"), rest].concat())).0, "full");
    let properties = [&[0x11, 0, 0, 0, 1, 0x21, 0, 20, 0x22, 0, 10, 0x27, 0, 0, 1, 0, 0x19, 1, 0x17, 1][..]];
    let user = [&[0x26][..], &text("key"), &text("value")].concat();
    let properties = [properties.concat(), user].concat();
    let will_properties =
        [vec![10, 0x18, 0, 0, 0, 5, 0x02, 0, 0, 0, 60], text("status"), text("gone")].concat();
    let rest = [will_properties, text("user"), text("secret")].concat();
    let body = [connect_header(5, will), with_length(&properties), text("full"), rest].concat();
    assert_eq!(open(&packet(0x10, &body)).0, "full");
}

#[test]
fn connack_tells_what_the_gateway_does() {
    let mut side = Side::new();
    side.feed(&connect(4, 0, "press"));
    assert_eq!(side.connection.accept(true), [0x20, 2, 1, 0]);
    assert!(side.connection.is_open());
    let mut side = Side::new();
    side.feed(&connect_with(5, 0, &[0x11, 0, 0, 0, 9], ""));
    let connack = side.connection.accept(false);
    assert_eq!(connack[0], 0x20);
    assert_eq!(&connack[2..4], [0, 0], "no session, success");
    let has = |property: &[u8]| connack.windows(property.len()).any(|window| window == property);
    assert!(has(&[0x11, 0xff, 0xff, 0xff, 0xff]), "the session is kept");
    assert!(has(&[0x21, 0, RECEIVE_MAX as u8]));
    assert!(has(&[0x22, 0, 32]), "topic aliases");
    assert!(has(&[&[0x12][..], &text("auto-1")].concat()));
    assert!(has(&[0x28, 0, 0x29, 0, 0x2a, 0]), "no subscriptions of any kind");
}

#[test]
fn what_a_connect_must_not_be() {
    use DisconnectReasonCode as Code;
    // Version 3.1, a version to come, no MQTT at all.
    let old = packet(0x10, &[text("MQIsdp"), vec![3, CLEAN, 0, 9], text("a")].concat());
    assert_eq!(Side::new().broken(&old).1, [0x20, 2, 0, 1]);
    assert_eq!(Side::new().broken(&connect(6, CLEAN, "a")).1, [0x20, 2, 0, 1]);
    assert_eq!(Side::new().broken(b"\x20\x02\0\0"), (Code::ProtocolError, vec![]));
    // No identifier, and a session that is to be kept.
    assert_eq!(Side::new().broken(&connect(4, 0, "")).1, [0x20, 2, 0, 2]);
    // Too long an identifier.
    let long = "x".repeat(257);
    assert_eq!(Side::new().broken(&connect(4, CLEAN, &long)).1, [0x20, 2, 0, 2]);
    assert_eq!(Side::new().broken(&connect(5, CLEAN, &long)).1[3], 0x85);
    // Another authentication than the certificate.
    let method = [&[0x15][..], &text("SCRAM")].concat();
    assert_eq!(Side::new().broken(&connect_with(5, CLEAN, &method, "a")).1[3], 0x8c);
    // A client that takes next to nothing.
    assert_eq!(Side::new().broken(&connect_with(5, CLEAN, &[0x27, 0, 0, 0, 6], "a")).1[3], 0x95);
    // Flags of a will without one, reserved flags.
    assert_eq!(Side::new().broken(&connect(4, CLEAN | 0x20, "a")).0, Code::MalformedPacket);
    assert_eq!(Side::new().broken(&connect(5, CLEAN | 1, "a")).1[3], 0x81);
    // Twice.
    assert_eq!(Side::open(4).broken(&connect(4, CLEAN, "a")), (Code::ProtocolError, vec![]));
    assert!(is_disconnect(&Side::open(5).broken(&connect(5, CLEAN, "a")).1, 0x82));
    // Longer than anything may be: not even read.
    let (reason, goodbye) = Side::new().broken(&[0x10, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!((reason, goodbye), (Code::PacketTooLarge, vec![]));
}

#[test]
fn nothing_is_read_before_the_session_is_open() {
    let mut side = Side::new();
    let both = [connect(4, CLEAN, "a"), PING.to_vec()].concat();
    let (_, stop, used) = side.feed_some(&both);
    assert_eq!(stop, Stop::Open(Open { client: "a".into(), clean: true, persistent: false }));
    assert_eq!(side.feed_some(&both[used..]).2, 0);
    side.connection.accept(false);
    assert_eq!(side.answers(&both[used..]), PONG);
}

#[test]
fn keep_alive_is_granted_half_as_much_again() {
    let silence = |keep_alive| {
        let mut side = Side::new();
        let body = [text("MQTT"), vec![4, CLEAN, 0, keep_alive], text("a")].concat();
        side.feed(&packet(0x10, &body));
        side.connection.silence_max().map(|max| max.as_millis())
    };
    assert_eq!(silence(15), Some(22_500));
    assert_eq!(silence(0), None);
}

#[test]
fn subscriptions_are_refused_politely() {
    let filters = [text("a/#"), vec![1], text("b"), vec![0]].concat();
    let subscribe = packet(0x82, &[vec![0, 7], filters.clone()].concat());
    assert_eq!(Side::open(4).answers(&subscribe), [0x90, 4, 0, 7, 0x80, 0x80]);
    let unsubscribe = packet(0xa2, &[vec![0, 8], text("a/#")].concat());
    assert_eq!(Side::open(4).answers(&unsubscribe), [0xb0, 2, 0, 8]);
    let mut side = Side::open(5);
    let suback = side.answers(&packet(0x82, &[vec![0, 7, 0], filters].concat()));
    assert_eq!(suback[2..4], [0, 7]);
    assert!(suback.ends_with(&[0x83, 0x83]), "{suback:?}");
    let unsuback = side.answers(&packet(0xa2, &[vec![0, 8, 0], text("a/#")].concat()));
    assert_eq!(unsuback, [0xb0, 4, 0, 8, 0, 0x11]);
    assert_eq!(side.answers(&PING), PONG, "the connection goes on");
    // Without a filter it is against the rules.
    assert!(Side::open(4).broken(&packet(0x82, &[0, 7])).1.is_empty());
}

#[test]
fn a_disconnect_ends_the_connection_and_the_session_when_it_says_so() {
    for version in [4, 5] {
        let mut side = Side::open(version);
        let (intake, stop, used) = side.feed_some(&[&[0xe0, 0][..], &PING].concat());
        assert_eq!((stop, used, intake.messages.len()), (Stop::Done, 2, 0));
        // What comes after it is nothing.
        let (intake, stop) = side.feed(&publish(version, 1, 1, "telemetry/m", b"1"));
        assert_eq!((stop, intake.readings.len()), (Stop::Done, 0));
    }
    let mut side = Side::new();
    side.feed(&connect_with(5, 0, &[0x11, 0, 0, 0, 9], "a"));
    side.connection.accept(false);
    let (intake, stop) = side.feed(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
    assert_eq!((stop, intake.messages[0].effect), (Stop::Done, MqttEffect::Forget));
}
