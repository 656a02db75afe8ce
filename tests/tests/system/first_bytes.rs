//! First bytes of broken, old and foreign programs: accepted, or refused with a readable reason.

use std::time::Duration;

use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    eventually::{eventually, within},
    model::QueryRequest,
    mqtt::{Client, ConnectOptions},
    world::World,
};
use serde_json::json;

/// A second in the past: the time of all readings here.
const TS: i64 = 1_700_000_000_000;

async fn world() -> World {
    World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.http = Some(([127, 0, 0, 1], 0).into()))
        .start()
        .await
}

/// The gateway's whole reply to these bytes, sent in pieces.
async fn refusal(world: &World, alpn: Option<&[u8]>, pieces: &[&[u8]]) -> String {
    let identity = world.pki.device("berlin", "press-1");
    let (addr, credentials) = (world.gateway_addr(), Credentials::of(&identity));
    let mut connection = match alpn {
        Some(alpn) => Connection::offering(addr, credentials, alpn).await.unwrap(),
        None => Connection::open(addr, credentials, Protocol::Json).await.unwrap(),
    };
    for piece in pieces {
        connection.send(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    within("the end", connection.rest()).await.unwrap()
}

async fn until_metric(world: &World, line: &str) {
    eventually(line, async || {
        let page = world.gateways[0].server.metrics().await;
        if page.lines().any(|known| known == line) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
}

#[tokio::test]
async fn an_http_client_gets_a_400_and_its_body_is_not_line_protocol() {
    let world = world().await;
    let body = format!("env t=1 {TS}000000\n");
    let requests = [
        format!(
            "POST /api/v2/write?bucket=a HTTP/1.1\r\nHost: gw\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!("BREW pot-1 HTTP/1.1\r\n\r\n{body}"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{body}"),
        format!("GET /?x=1\r\n{body}"),
        format!("CONNECT a:1 HTTP/1.1\r\n\r\n{body}"),
    ];
    for request in &requests {
        for alpn in [None, Some(&b"http/1.1"[..]), Some(b"h2")] {
            let answer = refusal(&world, alpn, &[request.as_bytes()]).await;
            let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_default();
            assert!(
                head.starts_with("HTTP/1.1 400 ") && head.contains("Connection: close"),
                "{request}: {answer}"
            );
            assert!(head.contains(&format!("Content-Length: {}", text.len())), "{answer}");
            assert!(text.contains("MQTT") && text.contains("JSON lines"), "{answer}");
        }
        let bytes: Vec<&[u8]> = request.as_bytes().chunks(1).take(60).collect();
        assert!(refusal(&world, None, &bytes).await.starts_with("HTTP/1.1 400 "), "{request}");
    }
    let count = requests.len() * 4;
    until_metric(&world, &format!("catchment_gateway_sessions_ended_total{{reason=\"http\"}} {count}")).await;
    until_metric(&world, "catchment_gateway_readings_total 0").await;
    until_metric(&world, "catchment_gateway_readings_refused_total{reason=\"malformed\"} 0").await;
}

#[tokio::test]
async fn an_unknown_protocol_gets_a_readable_refusal() {
    let world = world().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"SSH-2.0-x\r\n",
        b"AMQP\x00\x00\x09\x01",
        b"EHLO me\r\n",
    ] {
        let answer = refusal(&world, None, &[bytes]).await;
        assert!(answer.contains("unknown_protocol") && answer.contains("JSON lines"), "{answer}");
    }
    assert!(refusal(&world, None, &[b"*1\r\n$4\r\nPING\r\n"]).await.starts_with("-ERR "));
    let wide: Vec<u8> = "\u{feff}{\"a\":1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refusal(&world, None, &[&wide]).await.contains("UTF-8 here"));
    until_metric(&world, "catchment_gateway_sessions_ended_total{reason=\"unknown_protocol\"} 5").await;
    until_metric(&world, "catchment_gateway_sessions_ended_total{reason=\"utf_16\"} 1").await;
}

#[tokio::test]
async fn white_space_and_marks_before_the_first_message_are_skipped() {
    let world = world().await;
    for (number, before) in ["\u{feff}", "\r\n\r\n", " \t", "\0\0", "\n\u{feff}\0 "].into_iter().enumerate() {
        for pieces in [1, 100] {
            let device = format!("json-{number}-{pieces}");
            let mut connection = world.connect(&device, Protocol::Json).await;
            let text = format!("{before}{{\"ts\":{TS},\"m\":1}}\n");
            for piece in text.as_bytes().chunks(pieces) {
                connection.send(piece).await.unwrap();
            }
            assert_eq!(
                within("an answer", connection.answer()).await.unwrap(),
                Some(json!({"ack": 1})),
                "{text:?}"
            );
            world.note(&device, &[], "m", TS, 1.0);
            let device = format!("line-{number}-{pieces}");
            let mut connection = world.connect(&device, Protocol::Json).await;
            let text = format!("{before}r2 v=1 {TS}000000\n");
            for piece in text.as_bytes().chunks(pieces) {
                connection.send(piece).await.unwrap();
            }
            connection.finish().await.unwrap();
            assert_eq!(within("the end", connection.rest()).await.unwrap(), "");
            world.note(&device, &[], "r2_v", TS, 1.0);
        }
    }
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000), QueryRequest::new("r2_v", TS, TS + 1000)]).await;
}

#[tokio::test]
async fn white_space_alone_does_not_keep_a_connection() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.first_byte_timeout = Some("300ms".parse().unwrap()))
        .start()
        .await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let ends = async {
        while connection.send(b" \n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the end of a connection of white space", ends).await;
}

#[tokio::test]
async fn bad_values_and_names_cost_only_their_own_readings() {
    let world = world().await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    for (line, code, word) in [
        (r#"{"ts":1700000000000,"PM2.5":1,"t":nan}"#, "not_a_number", "nan"),
        (r#"[{"ts":1700000000000,"PM2.5":2,"t":-inf}]"#, "not_a_number", "-inf"),
        (r#"{"ts":1700000000000,"values":{"PM2.5":4,"PM2_5":100}}"#, "bad_metric", "PM2.5"),
    ] {
        connection.line(line).await.unwrap();
        let refused = within("a refusal", connection.answer()).await.unwrap().unwrap();
        assert_eq!(refused["error"]["code"], json!(code), "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(word), "{refused}");
        assert!(within("an answer", connection.answer()).await.unwrap().unwrap()["ack"].is_u64());
    }
    let identity = world.pki.device("berlin", "press-1");
    let mut client =
        Client::open(world.gateway_addr(), &identity, Some(b"x-amzn-mqtt-ca"), None).await.unwrap();
    assert_eq!(within("CONNACK", client.connect(ConnectOptions::clean(5, "c"))).await.unwrap().1, 0);
    client.publish(1, 1, "telemetry", r#"{"ts":1700000000000,"PM2.5":8,"t":NAN}"#).await.unwrap();
    assert_eq!(client.acknowledgement().await, (4, 1, 0));
    client.publish(1, 2, "telemetry/t", "nan").await.unwrap();
    assert_eq!(client.acknowledgement().await, (4, 2, 0x99));
    // With an unknown ALPN name, the first byte decides.
    let mut client = Client::open(world.gateway_addr(), &identity, Some(b"mqtt5-beta"), None).await.unwrap();
    assert_eq!(within("CONNACK", client.connect(ConnectOptions::clean(4, "d"))).await.unwrap().1, 0);
    for value in [1.0, 2.0, 4.0, 8.0] {
        world.note("press-1", &[], "PM2_5", TS, value);
    }
    world.agrees(&[QueryRequest::new("PM2_5", TS, TS + 1000)]).await;
}

#[tokio::test]
async fn a_configuration_decides_how_json_is_read() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            let json =
                "numeric_strings = true\nstrings = 'ignore'\ntime_key = 'Time'\ntime_format = 'rfc3339'";
            settings.json = Some(toml::from_str(json).unwrap());
        })
        .start()
        .await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    connection
        .line(r#"{"Time":"2023-11-14T22:13:20Z","t":"21.5","unit":"C","sub":{"h":"7","id":"x"}}"#)
        .await
        .unwrap();
    assert_eq!(within("an answer", connection.answer()).await.unwrap(), Some(json!({"ack": 1})));
    world.note("press-1", &[], "t", TS, 21.5);
    world.note("press-1", &[], "sub_h", TS, 7.0);
    world.agrees(&[QueryRequest::new("t", TS, TS + 1000), QueryRequest::new("sub_h", TS, TS + 1000)]).await;
}
