//! The codecs alone: messages as bytes, and replies split from a stream.

use prost::bytes::BytesMut;

use super::super::*;

fn text<C: Codec>(codec: &mut C, message: &Message<C::Body>) -> String {
    let mut out = Vec::new();
    codec.message(message, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn values_as_a_json_line() {
    let labels = vec![("room".to_owned(), "3 \"left\"".to_owned())];
    let readings = vec![
        ("temperature".to_owned(), Value::Number(21.5)),
        ("tiny".to_owned(), Value::Number(1e-300)),
        ("door_open".to_owned(), Value::Bool(false)),
    ];
    let mut message = Message { seq: 7, body: Values { time_ms: 1000, labels, readings } };
    let line = text(&mut JsonLines, &message);
    let expected = r#"{"seq":7,"ts":1000,"values":{"temperature":21.5,"tiny":1e-300,"door_open":false},"labels":{"room":"3 \"left\""}}"#;
    assert_eq!(line, format!("{expected}\n"));
    message.body.labels.clear();
    let value: serde_json::Value = serde_json::from_str(&text(&mut JsonLines, &message)).unwrap();
    assert_eq!(value.get("labels"), None);
}

#[test]
fn raw_lines_get_their_number_in_front() {
    let body = RawLine {
        members: "\"ts\":5,\"a\":1".to_owned(),
        line: 1,
        last_of_line: true,
        refused_beside: false,
    };
    assert_eq!(text(&mut RawLines, &Message { seq: 3, body }), "{\"seq\":3,\"ts\":5,\"a\":1}\n");
}

#[test]
fn an_epoch_is_escaped() {
    let mut out = Vec::new();
    JsonLines.hello("a\"\n", &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "{\"hello\":{\"epoch\":\"a\\\"\\n\"}}\n");
}

#[test]
fn replies_are_found_wherever_the_stream_is_split() {
    let bytes = b"{\"welcome\":{\"epoch\":\"e\",\"ack\":4}}\n{\"new\":1}\n{\"ack\":5}\n{\"error\":{\"code\":\"c\"}}\n";
    for cut in 0..bytes.len() {
        let mut answers = Vec::new();
        let mut input = BytesMut::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            input.extend_from_slice(part);
            while let Some(answer) = JsonLines.next_reply(&mut input).unwrap() {
                answers.push(answer);
            }
        }
        let refusal = Refusal { code: "c".to_owned(), message: String::new(), about: About::Line(0) };
        assert_eq!(answers, [Reply::Welcome(4), Reply::Ack(5), Reply::Refusal(refusal)], "cut at {cut}");
    }
}

#[test]
fn endless_and_foreign_replies_are_refused() {
    let mut endless = BytesMut::from(&vec![b'x'; 70 << 10][..]);
    assert_eq!(JsonLines.next_reply(&mut endless), Err(CodecError::TooLong));
    assert!(matches!(JsonLines.next_reply(&mut BytesMut::from("hello\n")), Err(CodecError::Malformed(_))));
    let mut long = BytesMut::from(&[0xff_u8; 8][..]);
    assert_eq!(Frames::default().next_reply(&mut long), Err(CodecError::TooLong));
    let mut foreign = BytesMut::from(&[0, 0, 0, 2, 0xff, 0xff][..]);
    assert!(matches!(Frames::default().next_reply(&mut foreign), Err(CodecError::Malformed(_))));
    assert_eq!(Frames::default().next_reply(&mut BytesMut::from(&[0, 0][..])), Ok(None));
}

#[test]
fn addresses_of_gateways() {
    for (text, host, port) in [
        ("gw.example:7600", "gw.example", 7600),
        ("[::1]:1", "::1", 1),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
    ] {
        let address: GatewayAddress = text.parse().unwrap();
        assert_eq!((address.host.as_str(), address.port), (host, port));
        assert_eq!(address.to_string(), text);
    }
    for text in ["", "gw", "gw:", "gw:0", ":7600", "::1:7600", "https://gw:7600", "[gw]:7600", "gw:70000"] {
        assert!(text.parse::<GatewayAddress>().is_err(), "{text}");
    }
}
