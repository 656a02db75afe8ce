//! Protocols without sockets: which one, sequence numbers, responses word by word.

mod ends;
mod waits;

use std::{num::NonZeroU16, sync::Arc};

use catchment_partial::Timestamp;

use super::{encode::Encoder, protocol::*};
use crate::{
    decode::{DecodeLimits, line_protocol::Precision},
    intake::{Intake, Reason, Refusal, TimeRules},
    mqtt::connection::MqttOptions,
};

fn rules() -> TimeRules {
    let at = |ms| Timestamp::from_millis(ms).unwrap();
    TimeRules { now: at(1_000_000), oldest: at(0), newest: at(2_000_000) }
}

fn protocols() -> ProtocolOptions {
    let mqtt = MqttOptions { topics: Arc::default(), receive_max: NonZeroU16::MAX };
    ProtocolOptions { precision: Precision::Nanoseconds, json: Arc::default(), mqtt }
}

fn decode(decoder: &mut Decoder, text: &str) -> (Intake, DecodeStop) {
    let mut intake = Intake::default();
    let (_, stop) = decoder.decode(text.as_bytes(), None, &rules(), &mut intake);
    (intake, stop)
}

fn text(encode: impl FnOnce(Encoder, &mut Vec<u8>)) -> String {
    let mut bytes = Vec::new();
    encode(Encoder::new(Protocol::Json), &mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn alpn_decides_where_there_is_one() {
    assert_eq!(Protocol::from_alpn(b"catchment/1"), Some(Protocol::Frames));
    assert_eq!(Protocol::from_alpn(b"mqtt"), Some(Protocol::Mqtt));
    assert_eq!(Protocol::from_alpn(b"x-amzn-mqtt-ca"), Some(Protocol::Mqtt));
    assert_eq!(Protocol::from_alpn(b"mqttv5"), Some(Protocol::Mqtt));
    assert_eq!(Protocol::from_alpn(b"other"), None);
}

#[test]
fn lines_are_counted_until_a_hello_numbers_them() {
    let mut decoder = Decoder::new(Protocol::Json, DecodeLimits::default(), 10, &protocols());
    let (intake, stop) =
        decode(&mut decoder, "{\"a\":1}\nnonsense\n{\"seq\":4,\"a\":2}\n{\"hello\":{\"epoch\":\"e\"}}\n");
    let ordinals: Vec<u64> = intake.messages.iter().map(|meta| meta.ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3], "a refused line counts too");
    assert_eq!(intake.readings.len(), 1);
    let reasons: Vec<Reason> = intake.refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::Malformed, Reason::BadSequence]);
    assert_eq!(stop, DecodeStop::Hello("e".into()));
    let (intake, stop) = decode(&mut decoder, "{\"seq\":1,\"a\":1}\n{\"a\":1}\nnonsense\n");
    assert_eq!(intake.messages.len(), 1, "only numbered messages are acknowledged");
    assert_eq!(intake.messages[0].seq, Some(1));
    assert_eq!(intake.refusals.len(), 2);
    assert_eq!(intake.refusals[0].reason, Reason::BadSequence);
    assert_eq!(stop, DecodeStop::More);
}

#[test]
fn answers_read_as_the_interface_says() {
    assert_eq!(text(|encoder, out| encoder.ack(7, out)), "{\"ack\":7}\n");
    let welcome: serde_json::Value =
        serde_json::from_str(&text(|encoder, out| encoder.welcome("boot-42", 3, out))).unwrap();
    assert_eq!(welcome, serde_json::json!({"welcome": {"epoch": "boot-42", "ack": 3}}));
    let refusal =
        Refusal { reason: Reason::NotANumber, message: "x".into(), ordinal: 7, seq: None, count: 1 };
    let error: serde_json::Value =
        serde_json::from_str(&text(|encoder, out| encoder.refusal(&refusal, out))).unwrap();
    assert_eq!(error, serde_json::json!({"error": {"code": "not_a_number", "message": "x", "line": 7}}));
}

#[test]
fn a_frame_beyond_the_bound_ends_the_connection() {
    let limits = DecodeLimits { message_bytes_max: 16, ..DecodeLimits::default() };
    let mut decoder = Decoder::new(Protocol::Frames, limits, 10, &protocols());
    let mut intake = Intake::default();
    let (_, stop) = decoder.decode(&17_u32.to_be_bytes(), None, &rules(), &mut intake);
    assert_eq!(stop, DecodeStop::Broken(Vec::new()));
    assert_eq!(intake.refusals[0].reason, Reason::TooLong);
}

#[test]
fn who_agreed_on_frames_and_speaks_something_else_gets_words() {
    for (bytes, words) in [
        (&b"{\"a\":1}\n"[..], "looks like JSON lines: connect without ALPN"),
        (b"m,t=1 a=1\n", "looks like text"),
        (b"GET / HTTP/1.1\r\n", "looks like HTTP"),
        (b"\x10\x0c\0\x04MQTT\x05\x02\0\x3c\0", "looks like MQTT"),
    ] {
        let limits = DecodeLimits { message_bytes_max: 100_000, ..DecodeLimits::default() };
        let mut decoder = Decoder::new(Protocol::Frames, limits, 10, &protocols());
        let mut intake = Intake::default();
        let (_, stop) = decoder.decode(bytes, None, &rules(), &mut intake);
        let Refusal { reason, message, .. } = &intake.refusals[0];
        assert_eq!((stop, *reason), (DecodeStop::Broken(Vec::new()), Reason::Malformed));
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn who_agreed_on_mqtt_and_speaks_something_else_gets_words() {
    for (bytes, words) in [
        (&b"{\"a\":1}\n"[..], "are not MQTT"),
        (b"m a=1\n", "are not MQTT"),
        (b"GET / HTTP/1.1\r\n", "HTTP/1.1 400"),
        (b"PING\r\n", "Redis"),
    ] {
        let mut decoder = Decoder::new(Protocol::Mqtt, DecodeLimits::default(), 10, &protocols());
        let (_, stop) = decoder.decode(bytes, None, &rules(), &mut Intake::default());
        let DecodeStop::Broken(close_bytes) = stop else { panic!("{stop:?}") };
        let close_bytes = String::from_utf8(close_bytes).unwrap();
        assert!(close_bytes.contains(words) && close_bytes.contains("devices speak MQTT"), "{close_bytes}");
    }
    // A CONNECT that is wrong, or another packet in its place, is answered as MQTT has it, if at all.
    for bytes in [&b"\x10\x02\0\0"[..], b"\xc0\0"] {
        let mut decoder = Decoder::new(Protocol::Mqtt, DecodeLimits::default(), 10, &protocols());
        let (_, stop) = decoder.decode(bytes, None, &rules(), &mut Intake::default());
        assert!(
            matches!(&stop, DecodeStop::Broken(close_bytes) if !close_bytes.starts_with(b"{")),
            "{stop:?}"
        );
    }
}

#[test]
fn a_last_line_without_its_end_counts_only_where_that_is_safe() {
    let last = |kind, text: &str, closing| {
        let mut decoder = Decoder::new(kind, DecodeLimits::default(), 10, &protocols());
        let mut intake = Intake::default();
        let _ = decoder.decode(text.as_bytes(), Some(closing), &rules(), &mut intake);
        (intake.readings.len(), intake.refusals.len())
    };
    assert_eq!(last(Protocol::Json, "{\"a\":1}", Closing::Abrupt), (1, 0));
    assert_eq!(last(Protocol::Json, "{\"a\":1", Closing::Abrupt), (0, 1));
    assert_eq!(last(Protocol::LineProtocol, "m a=21.5", Closing::Orderly), (1, 0));
    assert_eq!(last(Protocol::LineProtocol, "m a=21.5", Closing::Abrupt), (0, 1), "it may have been 21.57");
    assert_eq!(last(Protocol::LineProtocol, "m a=21.5\n", Closing::Abrupt), (1, 0));
}
/// Bytes of the future that a function of six arguments makes.
fn future_bytes<A, B, C, D, E, F, Made>(_: impl Fn(A, B, C, D, E, F) -> Made) -> usize {
    size_of::<Made>()
}

#[test]
fn a_session_is_small() {
    // Ten thousand of them wait on a small machine; beside this each has its TLS connection.
    let bytes = future_bytes(super::run::<Box<tokio::io::DuplexStream>>);
    assert!(bytes <= 1_640, "{bytes}");
}
