//! What the standards forbid, packet by packet, and what the client hears of it.

use super::*;

/// The reason that a client of version 5 gets, with DISCONNECT or CONNACK; of 3.1.1 that nothing is said.
fn ends(version: u8, bytes: &[u8], reason: u8) {
    let mut side = if bytes[0] == 0x10 { Side::new() } else { Side::open(version) };
    let (_, goodbye) = side.broken(bytes);
    if version < 5 {
        assert!(goodbye.is_empty(), "{bytes:x?}: {goodbye:x?}");
    } else if bytes[0] == 0x10 {
        assert_eq!((goodbye[0], goodbye[3]), (0x20, reason), "{bytes:x?}");
    } else {
        assert!(is_disconnect(&goodbye, reason), "{bytes:x?}: {goodbye:x?}");
    }
}

/// A CONNECT with these flags, properties and what comes behind them.
fn connect_rest(version: u8, flags: u8, properties: &[u8], rest: &[Vec<u8>]) -> Vec<u8> {
    let properties = if version < 5 { Vec::new() } else { with_length(properties) };
    packet(0x10, &[connect_header(version, flags), properties, rest.concat()].concat())
}

/// Texts that no field may hold.
fn bad_texts() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 6] = [b"a\0b", b"\0", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"a\xf0\x9f"];
    texts.iter().map(|text| [&(text.len() as u16).to_be_bytes()[..], text].concat()).collect()
}

#[test]
fn bad_texts_end_the_connection_wherever_they_stand() {
    let none = || with_length(&[]);
    for bad in bad_texts() {
        for version in [4, 5] {
            let properties = || if version < 5 { Vec::new() } else { none() };
            let connects = [
                (CLEAN, vec![bad.clone()]),
                (CLEAN | 0x80, vec![text("c"), bad.clone()]),
                (CLEAN | 4, vec![text("c"), properties(), bad.clone(), text("gone")]),
            ];
            for (flags, rest) in connects {
                ends(version, &connect_rest(version, flags, &[], &rest), 0x81);
            }
            ends(version, &packet(0x30, &[bad.clone(), properties(), b"1".to_vec()].concat()), 0x81);
            ends(version, &packet(0x82, &[vec![0, 1], properties(), bad.clone(), vec![0]].concat()), 0x81);
            ends(version, &packet(0xa2, &[vec![0, 1], properties(), bad.clone()].concat()), 0x81);
        }
        // Properties: of CONNECT, a will, PUBLISH, PUBREL and DISCONNECT.
        let user = [&[0x26][..], &text("k"), &bad].concat();
        ends(5, &connect_rest(5, CLEAN, &user, &[text("c")]), 0x81);
        let will = [text("c"), with_length(&[&[0x03][..], &bad].concat()), text("w"), text("gone")];
        ends(5, &connect_rest(5, CLEAN | 4, &[], &will), 0x81);
        for property in [user.clone(), [&[0x03][..], &bad].concat(), [&[0x08][..], &bad].concat()] {
            ends(5, &publish_with(5, 1, 1, "telemetry", &property, b"{}"), 0x81);
        }
        let reason = with_length(&[&[0x1f][..], &bad].concat());
        ends(5, &packet(0x62, &[vec![0, 1, 0], reason.clone()].concat()), 0x81);
        ends(5, &packet(0xe0, &[vec![0], reason].concat()), 0x81);
    }
}

#[test]
fn flags_and_identifiers_are_held_to() {
    for version in [4, 5] {
        let properties = || if version < 5 { Vec::new() } else { vec![0] };
        // Reserved flags of the first byte.
        for (first, body) in [
            (0x61, vec![0, 1]),
            (0x80, [vec![0, 1], properties(), text("a"), vec![0]].concat()),
            (0x8a, [vec![0, 1], properties(), text("a"), vec![0]].concat()),
            (0xa0, [vec![0, 1], properties(), text("a")].concat()),
            (0xc1, vec![]),
            (0xe8, vec![]),
        ] {
            ends(version, &packet(first, &body), 0x81);
        }
        // Of CONNECT: reserved, a will's QoS 3, a will's flags without a will.
        for flags in [CLEAN | 1, CLEAN | 4 | 0x18, CLEAN | 8, CLEAN | 0x10, CLEAN | 0x20] {
            let rest = [text("c"), properties(), text("w"), text("gone")];
            ends(version, &connect_rest(version, flags, &[], &rest), 0x81);
        }
        // QoS 3, DUP with QoS 0, identifier 0.
        ends(version, &publish(version, 3, 1, "telemetry", b"{}"), 0x81);
        ends(version, &redelivered(publish(version, 0, 0, "telemetry", b"{}")), 0x81);
        ends(version, &publish(version, 1, 0, "telemetry", b"{}"), 0x82);
        ends(version, &publish(version, 2, 0, "telemetry", b"{}"), 0x82);
        // Wildcards and nothing as a topic, also of a will.
        for topic in ["a/+", "#", "a#b", "+"] {
            ends(version, &publish(version, 1, 1, topic, b"{}"), 0x90);
            let rest = [text("c"), properties(), text(topic), text("gone")];
            ends(version, &connect_rest(version, CLEAN | 4, &[], &rest), 0x90);
        }
        ends(
            version,
            &connect_rest(version, CLEAN | 4, &[], &[text("c"), properties(), text(""), text("x")]),
            0x90,
        );
        // Too long, too short.
        ends(version, &packet(0xc0, &[0]), 0x81);
        ends(version, &connect_rest(version, CLEAN, &[], &[text("c"), vec![0]]), 0x81);
        ends(version, &packet(0x30, &[0, 9, b't']), 0x81);
        // A second CONNECT gets a reason, too.
        let mut side = Side::open(version);
        let goodbye = side.broken(&connect(version, CLEAN, "a")).1;
        assert!(if version < 5 { goodbye.is_empty() } else { is_disconnect(&goodbye, 0x82) });
    }
    ends(4, &publish(4, 1, 1, "", b"{}"), 0);
    ends(5, &publish(5, 1, 1, "", b"{}"), 0x82);
    // A password without a user name: version 5 allows it.
    ends(4, &connect_rest(4, CLEAN | 0x40, &[], &[text("c"), text("secret")]), 0);
    let (_, stop) = Side::new().feed(&connect_rest(5, CLEAN | 0x40, &[], &[text("c"), text("secret")]));
    assert!(matches!(stop, Stop::Open(_)), "{stop:?}");
}

#[test]
fn properties_are_held_to() {
    let connect = |properties: &[u8]| connect_with(5, CLEAN, properties, "c");
    for (properties, reason) in [
        (&[0x21, 0, 0][..], 0x82),
        (&[0x27, 0, 0, 0, 0], 0x82),
        (&[0x17, 2], 0x82),
        (&[0x19, 2], 0x82),
        (&[0x16, 0, 0], 0x82),
        (&[0x21, 0, 1, 0x21, 0, 1], 0x82),
        (&[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], 0x82),
        (&[0x23, 0, 1], 0x81),
        (&[0x7f], 0x81),
        (&[0x80, 0x01], 0x81),
        (&[0x11, 0], 0x81),
    ] {
        ends(5, &connect(properties), reason);
    }
    let publish = |properties: &[u8]| publish_with(5, 1, 1, "telemetry", properties, b"{}");
    for (properties, reason) in [
        (&[0x0b, 1][..], 0x82),
        (&[0x23, 0, 0], 0x94),
        (&[0x23, 0, 33], 0x94),
        (&[0x23, 0, 1, 0x23, 0, 1], 0x82),
        (&[0x01, 2], 0x82),
        (&[0x01, 1, 0x01, 1], 0x82),
        (&[0x08, 0, 1, b'#'], 0x82),
        (&[0x11, 0, 0, 0, 1], 0x81),
        (&[0x1f, 0, 0], 0x81),
    ] {
        ends(5, &publish(properties), reason);
    }
    ends(5, &packet(0x82, &[vec![0, 1, 2, 0x0b, 0], text("a"), vec![0]].concat()), 0x82);
    ends(5, &packet(0x82, &[vec![0, 1, 0], text("a"), vec![0x30]].concat()), 0x82);
    ends(5, &packet(0x62, &[0, 1, 0x80]), 0x82);
    ends(5, &packet(0xe0, &[0x8b]), 0x82);
    // A session that was not to outlive its connection is not to do so at its end.
    ends(5, &packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]), 0x82);
    // User properties may be there twice, and what is right is taken.
    let user = [&[0x26][..], &text("k"), &text("v")].concat();
    let right =
        [&user[..], &user, &[0x01, 1], &[0x08, 0, 1, b'a'], &[0x23, 0, 32], &[0x09, 0, 1, 0]].concat();
    let (intake, stop) = Side::open(5).feed(&publish(&right));
    assert_eq!((stop, intake.messages.len()), (Stop::More, 1));
}

#[test]
fn no_packet_is_longer_than_its_client_takes() {
    let with = |max: u32| [&[0x27][..], &max.to_be_bytes()].concat();
    for max in 1..200_u32 {
        let mut side = Side::new();
        let (_, stop, _) = side.feed_some(&connect_with(5, CLEAN, &with(max), ""));
        let bytes = match stop {
            Stop::Open(_) => side.connection.accept(false),
            Stop::Broken(why) => {
                assert_eq!(why.reason, DisconnectReasonCode::PacketTooLarge);
                let goodbye = side.connection.close_packet(&why);
                assert!(max < 64 && (max < 5) == goodbye.is_empty(), "{max}: {goodbye:x?}");
                goodbye
            }
            stop => panic!("{stop:?}"),
        };
        assert!(bytes.len() <= max as usize, "{max}: {bytes:x?}");
        if !side.connection.is_open() {
            continue;
        }
        // Reasons in words are left out; what cannot be said at all ends the connection.
        let refused = side.answers(&publish(5, 1, 1, "unknown/topic", b"{}"));
        assert!(refused.len() <= max as usize && body(&refused)[2] == 0x90);
        let filters = [vec![0, 7, 0], [text("a"), vec![0]].concat().repeat(max as usize)].concat();
        let (intake, _) = side.feed(&packet(0x82, &filters));
        let error = side.connection.put(&intake.replies[0], &mut BytesMut::new()).unwrap_err();
        let goodbye = side.connection.close_packet(&error);
        assert!(is_disconnect(&goodbye, 0x95) && goodbye.len() <= max as usize, "{max}: {goodbye:x?}");
    }
}

#[test]
fn filters_hold_wildcards_only_where_the_standard_has_them() {
    for version in [4, 5] {
        let properties = || if version < 5 { Vec::new() } else { vec![0] };
        let packets = |filter: &str| {
            let subscribe = [vec![0, 1], properties(), text("a/+"), vec![0], text(filter), vec![0]].concat();
            let unsubscribe = [vec![0, 1], properties(), text(filter)].concat();
            [packet(0x82, &subscribe), packet(0xa2, &unsubscribe)]
        };
        for filter in ["a/#/b", "a#", "#/a", "a/b#", "a+", "+a/b", "a/+b/c", "a/++", "##"] {
            packets(filter).iter().for_each(|packet| ends(version, packet, 0x8f));
        }
        for filter in ["#", "+", "a/#", "+/+/#", "/", "/+", "a//b", "$share/g/a/+"] {
            for packet in packets(filter) {
                let mut side = Side::open(version);
                assert_eq!(side.feed(&packet).1, Stop::More, "{filter}");
            }
        }
    }
}

#[test]
fn numbers_take_no_more_bytes_than_they_need() {
    let body = [text("telemetry"), vec![0], b"{}".to_vec()].concat();
    let length = body.len() as u8;
    for longer in [vec![length | 0x80, 0], vec![length | 0x80, 0x80, 0], vec![length | 0x80, 0x80, 0x80, 0]] {
        ends(5, &[&[0x30][..], &longer, &body].concat(), 0x81);
    }
    let connect = connect_rest(5, CLEAN, &[], &[text("c")]);
    ends(5, &[&[0x10, connect[1] | 0x80, 0][..], &connect[2..]].concat(), 0x81);
    // Of properties, and of one of them.
    let properties = [text("telemetry"), vec![0x80, 0], b"{}".to_vec()].concat();
    ends(5, &packet(0x30, &properties), 0x81);
    let subscription = with_length(&[0x0b, 0x81, 0]);
    ends(5, &packet(0x82, &[vec![0, 1], subscription, text("a"), vec![0]].concat()), 0x81);
    // 3.1.1 says nothing of it.
    let body = [text("telemetry"), b"{\"a\":1}".to_vec()].concat();
    let bytes = [&[0x30, body.len() as u8 | 0x80, 0][..], &body].concat();
    assert_eq!(Side::open(4).feed(&bytes).1, Stop::More);
}
