//! The first bytes of a connection: detection does not depend on where reads split them, it waits for a bounded number
//! of bytes, and an unknown protocol gets an answer in words.

use catchment_gateway::session::protocol_detection::{Detection, ProtocolDetector};

use super::{Target, pieces, signature};

pub(super) const TARGET: Target = Target {
    name: "opening",
    run,
    seeds: || {
        [
            &b"{\"a\":1}\n"[..],
            b"\xef\xbb\xbfenv,room=3 t=1\n",
            b"POST /write?db=a HTTP/1.1\r\nHost: a\r\n\r\nm a=1",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
            b"\x16\x03\x01\x02\x00\x01",
            b"{\x00\"\x00a\x00",
            b"*1\r\n$4\r\nPING\r\n",
        ]
        .map(<[u8]>::to_vec)
        .to_vec()
    },
    tokens: &[
        b" ",
        b"\r\n",
        b"\n",
        b"\x00",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"GET ",
        b"HEAD ",
        b"BREW ",
        b"/",
        b"*",
        b" HTTP/1.1",
        b"HTTP/",
        b"SSH-",
        b"AMQP\x00",
        b"PING",
        b"CONNECT",
        b"<?xml",
        b"*1",
        b"m a=1",
        b"# x",
        b"{",
        b"[",
        b"\x10",
        b"\x16\x03",
        b" RTSP/1.0",
        b"$GPGGA,",
        b"\xc2\xa0",
        b"21.5",
        b"AT+",
        b"\x30\x0c\x02\x01",
        b",",
        b"=",
    ],
    fixed_bytes: 64 << 10,
    bytes_per_input_byte: 16,
};

/// Most bytes that detection waits for: of white space, and of a first line.
const WAITED_MAX: usize = 8 << 10;

/// Bytes skipped, and the decision.
fn detection(input: &[u8], sizes: impl Iterator<Item = usize>) -> (usize, Detection) {
    let (mut detector, mut buffer, mut skipped, mut rest) =
        (ProtocolDetector::default(), Vec::new(), 0, input);
    for size in sizes {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
        let (padding, detection) = detector.inspect(&buffer, rest.is_empty() && size > piece.len());
        assert!(padding <= buffer.len());
        buffer.drain(..padding);
        skipped += padding;
        if detection != Detection::More {
            return (skipped, detection);
        }
        assert!(buffer.len() < WAITED_MAX && skipped < WAITED_MAX, "detection waits beyond its bound");
        if rest.is_empty() && size > piece.len() {
            break;
        }
    }
    (skipped, Detection::More)
}

fn run(input: &[u8]) -> u64 {
    let whole = detection(input, [input.len(), 1].into_iter());
    let cut = detection(input, pieces(input).chain(std::iter::repeat(1)));
    assert_eq!(whole.1, cut.1, "the result depends on the pieces");
    if let Detection::Foreign(foreign) = whole.1 {
        let answer = foreign.answer();
        assert!(!answer.is_empty() && answer.len() < 1 << 10, "an unknown protocol gets a short answer");
    }
    signature((format!("{:?}", whole.1), whole.0.min(4)))
}
