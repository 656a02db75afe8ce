//! Messages of every quality of service: what is taken, what is marked, what is answered.

use super::*;

fn effects(intake: &Intake) -> Vec<MqttEffect> {
    intake.messages.iter().map(|meta| meta.effect).collect()
}

#[test]
fn messages_are_answered_by_their_quality_in_their_order() {
    for version in [4, 5] {
        let mut side = Side::open(version);
        let bytes = [
            publish(version, 0, 0, "telemetry/m", b"1"),
            publish(version, 1, 7, "telemetry", b"{\"a\":1,\"b\":2}"),
            publish(version, 2, 8, "v1/devices/me/telemetry", b"{\"a\":1}"),
            PING.to_vec(),
            publish(version, 1, 9, "influx", b"env t=1"),
            release(8),
        ]
        .concat();
        let (intake, stop) = side.feed(&bytes);
        assert_eq!(stop, Stop::More);
        let ends: Vec<usize> = intake.messages.iter().map(|meta| meta.readings_end).collect();
        assert_eq!(ends, [1, 3, 4, 5, 5]);
        let once = MqttEffect::Qos2 { id: 8, redelivered: false, ends_refused: version == 5 };
        assert_eq!(
            effects(&intake),
            [MqttEffect::None, MqttEffect::None, once, MqttEffect::None, MqttEffect::Release(8)]
        );
        let expected = [
            acknowledged(version, 4, 7),
            acknowledged(version, 5, 8),
            PONG.to_vec(),
            acknowledged(version, 4, 9),
            acknowledged(version, 7, 8),
        ];
        assert_eq!(side.put(&intake), expected.concat());
    }
}

#[test]
fn a_message_of_qos_2_is_the_same_until_it_is_released() {
    let message = publish(4, 2, 8, "telemetry/m", b"1");
    let mut side = Side::open(4);
    let first = |redelivered| [MqttEffect::Qos2 { id: 8, redelivered, ends_refused: false }];
    assert_eq!(effects(&side.feed(&message).0), first(false));
    // On one connection an identifier in use is the same message, whatever the flag.
    assert_eq!(effects(&side.feed(&message).0), first(true));
    assert_eq!(side.answers(&redelivered(message.clone())), acknowledged(4, 5, 8));
    assert_eq!(side.answers(&release(8)), acknowledged(4, 7, 8));
    assert_eq!(effects(&side.feed(&message).0), first(false), "released: a new message");
    // Nothing is known here of what other connections sent: the flag is passed on.
    assert_eq!(effects(&Side::open(4).feed(&redelivered(message)).0), first(true));
}

#[test]
fn a_release_is_completed_though_nothing_is_known_of_it() {
    for version in [4, 5] {
        assert_eq!(Side::open(version).answers(&release(99)), acknowledged(version, 7, 99));
    }
    // Version 5 may add a reason.
    assert_eq!(Side::open(5).answers(&packet(0x62, &[0, 9, 0x92, 0])), acknowledged(5, 7, 9));
}

#[test]
fn a_bad_topic_and_a_bad_payload_are_told_in_version_5() {
    let reason = |qos: u8, topic: &str, payload: &[u8]| {
        let mut side = Side::open(5);
        let answer = side.answers(&publish(5, qos, 7, topic, payload));
        let body = body(&answer);
        assert_eq!(body[..2], [0, 7]);
        assert_eq!(side.answers(&PING), PONG, "the connection goes on");
        (answer[0], body[2])
    };
    assert_eq!(reason(1, "factory/m", b"1"), (0x40, 0x90));
    assert_eq!(reason(2, "factory/m", b"1"), (0x50, 0x90));
    assert_eq!(reason(1, "telemetry/m", b"2 warm"), (0x40, 0x99));
    assert_eq!(reason(2, "telemetry", b"{"), (0x50, 0x99));
    assert_eq!(reason(1, "telemetry/", b"1"), (0x40, 0x99));
    // Taken in part: success, with what was refused in words.
    assert_eq!(reason(1, "telemetry", b"{\"a\":1,\"b\":null}"), (0x40, 0));
    let mut side = Side::open(5);
    let (intake, _) = side.feed(&publish(5, 2, 7, "factory/m", b"1"));
    assert_eq!(effects(&intake), [MqttEffect::None], "refused with PUBREC: there is no PUBREL to come");
    assert_eq!(side.feed(&publish(5, 2, 7, "telemetry/m", b"1")).0.readings.len(), 1);
    // Version 3.1.1 has no words for it: acknowledged, counted as refused.
    for (qos, kind) in [(1, 4), (2, 5)] {
        let mut side = Side::open(4);
        let (intake, _) = side.feed(&publish(4, qos, 7, "factory/m", b"1"));
        assert_eq!((intake.refusals.len(), side.put(&intake)), (1, acknowledged(4, kind, 7)));
    }
}

#[test]
fn reasons_in_words_are_for_clients_that_want_them() {
    let mut side = Side::new();
    side.feed(&connect_with(5, CLEAN, &[0x17, 0], "a"));
    side.connection.accept(false);
    assert_eq!(side.answers(&publish(5, 1, 7, "factory/m", b"1")), [0x40, 4, 0, 7, 0x90, 0]);
    assert_eq!(
        side.answers(&packet(0x82, &[&[0, 7, 0][..], &text("a"), &[0]].concat())),
        [0x90, 4, 0, 7, 0, 0x83]
    );
    // Nor for those that have no room for them.
    let mut side = Side::new();
    side.feed(&connect_with(5, CLEAN, &[0x27, 0, 0, 0, 64], "a"));
    assert!(!side.connection.accept(false).is_empty());
    assert!(side.answers(&publish(5, 1, 7, "factory/m", b"1")).len() < 64);
}

#[test]
fn topics_are_names() {
    use DisconnectReasonCode as Code;
    for version in [4, 5] {
        for topic in ["telemetry/+", "#"] {
            let (reason, goodbye) = Side::open(version).broken(&publish(version, 1, 7, topic, b"1"));
            assert_eq!(reason, Code::TopicNameInvalid);
            assert_eq!(is_disconnect(&goodbye, 0x90), version == 5);
            assert_eq!(goodbye.is_empty(), version == 4);
        }
    }
    assert_eq!(Side::open(4).broken(&publish(4, 0, 0, "", b"1")).0, Code::TopicNameInvalid);
    assert_eq!(Side::open(5).broken(&publish(5, 0, 0, "", b"1")).0, Code::ProtocolError);
}

#[test]
fn topic_aliases_are_set_used_and_bounded() {
    let alias = |alias: u16, topic: &str| {
        let [high, low] = alias.to_be_bytes();
        publish_with(5, 1, 7, topic, &[0x23, high, low], b"1")
    };
    let mut side = Side::open(5);
    for (bytes, series) in [
        (alias(1, "telemetry/a"), Some("a")),
        (alias(32, "telemetry/b"), Some("b")),
        (alias(1, ""), None),
        (alias(1, "telemetry/c"), Some("c")),
        (alias(1, ""), None),
    ] {
        let (intake, stop) = side.feed(&bytes);
        assert_eq!((stop, intake.readings.len()), (Stop::More, 1));
        side.put(&intake);
        assert_eq!(intake.fresh.first().map(|(_, metric, _)| metric.as_str()), series);
    }
    assert!(is_disconnect(&side.broken(&alias(2, "")).1, 0x82));
    assert!(is_disconnect(&Side::open(5).broken(&alias(33, "telemetry/a")).1, 0x94));
    assert!(is_disconnect(&Side::open(5).broken(&alias(0, "telemetry/a")).1, 0x94));
    // Another connection begins without any.
    assert!(is_disconnect(&Side::open(5).broken(&alias(1, "")).1, 0x82));
}

#[test]
fn version_5_keeps_to_the_receive_maximum() {
    let many = |version, qos| -> Vec<u8> {
        (1..=RECEIVE_MAX + 1).flat_map(|id| publish(version, qos, id, "telemetry/m", b"1")).collect()
    };
    for qos in [1, 2] {
        let (reason, goodbye) = Side::open(5).broken(&many(5, qos));
        assert_eq!(reason, DisconnectReasonCode::ReceiveMaximumExceeded);
        assert!(is_disconnect(&goodbye, 0x93));
        // Version 3.1.1 knows no such bound.
        assert_eq!(Side::open(4).feed(&many(4, qos)).0.replies.len(), usize::from(RECEIVE_MAX) + 1);
    }
    // Answers make room, a message of QoS 2 only with its last.
    let mut side = Side::open(5);
    for id in 1..100 {
        assert_eq!(side.answers(&publish(5, 1, id, "telemetry/m", b"1")), acknowledged(5, 4, id));
        assert_eq!(side.answers(&publish(5, 2, id, "telemetry/m", b"1")), acknowledged(5, 5, id));
        side.answers(&release(id));
    }
    // The same message again takes no more of it.
    for _ in 0..10 {
        side.answers(&redelivered(publish(5, 2, 7, "telemetry/m", b"1")));
    }
}
