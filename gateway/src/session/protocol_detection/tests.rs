//! First bytes of ours and of others, whole and in pieces.

use proptest::prelude::*;

use super::*;

/// Feeds bytes in pieces as a session does: what was passed over, and the decision.
fn detect(bytes: &[u8], step: usize) -> (usize, Detection) {
    let (mut opening, mut buffer, mut skipped) = (ProtocolDetector::default(), Vec::new(), 0);
    let pieces = bytes.chunks(step.max(1)).map(|piece| (piece, false)).chain([(&[][..], true)]);
    for (piece, ended) in pieces {
        buffer.extend_from_slice(piece);
        let (padding, detection) = opening.inspect(&buffer, ended);
        buffer.drain(..padding);
        skipped += padding;
        if detection != Detection::More {
            return (skipped, detection);
        }
    }
    (skipped, Detection::More)
}

/// The decision, the same wherever the bytes are cut.
fn is(bytes: impl AsRef<[u8]>) -> Detection {
    let bytes = bytes.as_ref();
    let whole = detect(bytes, usize::MAX).1;
    for step in [1, 2, 3, 7] {
        assert_eq!(detect(bytes, step).1, whole, "{:?} by {step}", String::from_utf8_lossy(bytes));
    }
    whole
}

const HTTP: Detection = Detection::Foreign(Foreign::Http { body: true });

#[test]
fn http_is_told_from_line_protocol_whatever_its_method() {
    for method in
        ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "M-SEARCH", "brew"]
    {
        for version in ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/3"] {
            for target in ["/", "*", "/write?db=x&precision=s", "http://a/b", "a:443", "/a b", "a=1"] {
                for end in ["\r\nHost: a\r\nContent-Length: 9\r\n\r\nm a=1 1\n\n", "\n", ""] {
                    assert_eq!(is(format!("{method} {target} {version}{end}")), HTTP);
                }
            }
        }
    }
    for request in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\n\r\n",
        "GET /\r\n",
        "GET /",
        "GET  /?a=1\r\n",
        "POST /write?db=a",
        "GET http://a/ \r\n",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
    ] {
        assert_eq!(is(request), HTTP, "{request}");
    }
    assert_eq!(is("HEAD / HTTP/1.1\r\n"), Detection::Foreign(Foreign::Http { body: false }));
    // However long its target is.
    assert_eq!(is(format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000))), HTTP);
}

#[test]
fn line_protocol_is_taken_whatever_it_looks_like() {
    for line in [
        "env,room=3 temperature=21.5 1700000000000000000\n",
        "env temperature=21.5\n",
        "GET a=1\n",
        "POST,a=b c=1\n",
        "PING a=1\n",
        "info x=1i,y=2i\n",
        "<m a=1\n",
        "*1 a=1\n",
        "# a comment\nm a=1\n",
        "# GET / HTTP/1.1\nm a=1\n",
        "# scraped from http://x/metrics HTTP/1.1\nm a=1\n",
        "# x SIP/2.0\nm a=1\n",
        "nonsense\nm a=1\n",
        "m a=\"x HTTP/1.1\"\n",
        "m\\ x a=1\n",
        "\u{e4} a=1\n",
        "\u{ff21} a=1\n",
        "$GPGGA,x=y v=1\n",
        "AT+CSQ a=1\n",
        "21.5,a=b v=1\n",
        "21.5 v=1\n",
        "\u{a0}{,x=y v=1\n",
        "a\tb,x=y v=1\n",
        "m a=1",
        "\"\n",
        "x",
    ] {
        assert_eq!(is(line), Detection::Speaks(Protocol::LineProtocol), "{line}");
    }
    // The bound decides before the end does.
    assert_eq!(is(format!("<a {}", "x".repeat(LINE_BYTES_MAX))), Detection::Speaks(Protocol::LineProtocol));
    assert_eq!(is("x".repeat(100_000)), Detection::Speaks(Protocol::LineProtocol));
    assert_eq!(is(format!("cpu {}", "x".repeat(100_000))), Detection::Speaks(Protocol::LineProtocol));
}

#[test]
fn the_other_protocols_are_known_by_their_first_byte() {
    assert_eq!(is(b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x01a"), Detection::Speaks(Protocol::Mqtt));
    for line in ["{\"a\":1}\n", "[{\"a\":1}]\n", "{", "["] {
        assert_eq!(is(line), Detection::Speaks(Protocol::Json), "{line}");
    }
}

#[test]
fn padding_and_marks_are_passed_over_and_bounded() {
    for padding in [" ", "\r\n", "\n\n\t ", "\0", "\0\0\0", "\u{feff}", "\u{feff}\r\n\u{feff} ", "\x0b\x0c"] {
        for (text, kind) in [("{\"a\":1}", Protocol::Json), ("r2,a=b v=1\n", Protocol::LineProtocol)] {
            for step in [1, 2, 100] {
                let bytes = format!("{padding}{text}");
                assert_eq!(
                    detect(bytes.as_bytes(), step),
                    (padding.len(), Detection::Speaks(kind)),
                    "{bytes:?}"
                );
            }
        }
    }
    assert_eq!(is(" \r\n\0"), Detection::More);
    assert_eq!(is(""), Detection::More);
    assert_eq!(is(" ".repeat(PADDING_BYTES_MAX + 1)), Detection::Foreign(Foreign::Padding));
    assert_eq!(is("\u{feff}".repeat(PADDING_BYTES_MAX)), Detection::Foreign(Foreign::Padding));
    // Half a mark is none.
    assert_eq!(is(b"\xef\xbb"), Detection::Speaks(Protocol::LineProtocol));
}

/// As from a device whose program begins to send in the middle of its buffer: the line is refused in words, those
/// behind it count.
#[test]
fn json_that_lost_its_beginning_is_json_and_no_line_protocol_for_good() {
    for bytes in [
        "\"{\\\"a\\\":1}\"\n",
        "null\n",
        "data={\"a\":1}\n",
        "q=1\",\"b\":2}\n",
        "erature\":21.5}\n",
        "ts\":17, \"m\":1}\r\n",
        "\":1}]\n{\"m\":2}\n",
        ": 21}\n",
    ] {
        assert_eq!(is(bytes), Detection::Speaks(Protocol::Json), "{bytes:?}");
    }
    for bytes in ["m,t=1 a=\"}\"\n", "m a=1}\n", "m\"x a=1\n", "no line\n"] {
        assert_eq!(is(bytes), Detection::Speaks(Protocol::LineProtocol), "{bytes:?}");
    }
}

#[test]
fn wide_text_is_told() {
    let wide = |text: &str, bom: bool, big: bool| {
        let units = bom.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect::<Vec<_>>()
    };
    for text in ["{\"a\":1}\n", "env t=1\n", "[{\"a\":1}]"] {
        for (bom, big) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(is(wide(text, bom, big)), Detection::Foreign(Foreign::Wide), "{text} {bom} {big}");
        }
    }
    assert_eq!(Foreign::Wide.close_reason().reason(), "utf_16");
}

#[test]
fn others_are_answered_in_words() {
    let named = |name| Detection::Foreign(Foreign::Named(name));
    for (bytes, expected) in [
        (&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], Detection::Foreign(Foreign::Tls)),
        (b"SSH-2.0-OpenSSH_9.6\r\n", named("SSH")),
        (b"AMQP\0\0\x09\x01", named("AMQP")),
        (b"AMQP\x03\x01\0\0", named("AMQP")),
        (b"*1\r\n$4\r\nPING\r\n", Detection::Foreign(Foreign::Resp)),
        (b"PING\r\n", named("Redis or NATS")),
        (b"ehlo me\r\n", named("SMTP")),
        (b"CONNECT\naccept-version:1.2\n\n\0", named("STOMP or NATS")),
        (b"CONNECT {\"verbose\":false}\r\n", named("STOMP or NATS")),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", named("the PROXY protocol")),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", named("no protocol for devices")),
        (b"<?xml version=\"1.0\"?>\n", named("XML, HTML or syslog")),
        (b"<34>1 2003-10-11T22:14:15.003Z host su - - - x\n", named("XML, HTML or syslog")),
        (b"OPTIONS rtsp://a/b RTSP/1.0\r\n", named("RTSP")),
        (b"INVITE sip:a@b SIP/2.0\r\n", named("SIP")),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", Detection::Foreign(Foreign::Unknown)),
        (b"\x05\x01\0", Detection::Foreign(Foreign::Unknown)),
        (b"\x3f\0\0\0\x01\0\0\0", Detection::Foreign(Foreign::Unknown)),
        (b"\xff\xfb\x1f", Detection::Foreign(Foreign::Unknown)),
        (b"\x80\x2e\x01", Detection::Foreign(Foreign::Unknown)),
        (b"\x30\x0c\0\x07tele/m21.5", named("MQTT without CONNECT")),
        (b"\x32\x31\0\x07tele/m\0\x01", named("MQTT without CONNECT")),
        (b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", named("LDAP")),
        (b"\x40\x01\x00\x01", Detection::Foreign(Foreign::Unknown)),
        (b"a\x1b[31m\n", Detection::Foreign(Foreign::Unknown)),
        (b"ICY 200 OK\r\n", named("Icecast")),
        (b"AT\r\n", named(MODEM)),
        (b"AT+CSQ\r\n", named(MODEM)),
        (b"at+cmgf=1\r\n", named(MODEM)),
        (b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n", named("NMEA 0183")),
        (b"21.5\r\n", named("numbers without the names of what they measure")),
        (b"21.5, -4e1;7\n", named("numbers without the names of what they measure")),
        (b"\xc2\xa0{\"a\":1}\n", named("JSON after characters that are not JSON white space")),
        (b"\xe2\x80\x8b [{\"a\":1}]\n", named("JSON after characters that are not JSON white space")),
        (b"\xef\xbb{\"a\":1}\n", named("JSON after characters that are not JSON white space")),
    ] {
        assert_eq!(is(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        let Detection::Foreign(foreign) = expected else { panic!("one of ours") };
        let answer = String::from_utf8(foreign.answer()).unwrap();
        assert!(answer.contains(SPOKEN) && answer.ends_with('\n'), "{answer}");
    }
}

#[test]
fn an_http_client_gets_an_answer_that_it_can_read() {
    let answer = String::from_utf8(Foreign::Http { body: true }.answer()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n") && head.contains("\r\nConnection: close"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert!(body.contains("MQTT") && body.contains("JSON lines"));
    let head = String::from_utf8(Foreign::Http { body: false }.answer()).unwrap();
    assert!(head.ends_with("\r\n\r\n"), "no body answers HEAD");
}

proptest! {
    #[test]
    fn a_decision_does_not_depend_on_the_pieces(bytes in prop::collection::vec(any::<u8>(), 0..40), step in 1..9_usize) {
        prop_assert_eq!(detect(&bytes, step).1, detect(&bytes, usize::MAX).1);
    }

    #[test]
    fn a_text_is_decided_alike_in_pieces(text in "(GET|POST|m|PING|\\*1|<a| |\r\n|HEAD|,a=b|21\\.5|\\$GPGGA|AT|\u{a0}|0\u{1}|\\{)( |\t)?(/|a=1|\\*|x)?( HTTP/1\\.1| 12)?(\r\n|\n)?", step in 1..9_usize) {
        prop_assert_eq!(detect(text.as_bytes(), step).1, detect(text.as_bytes(), usize::MAX).1);
    }
}
