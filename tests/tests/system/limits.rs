//! Refusals do not affect anything else.

use catchment_proto::wire::{
    Column, DeviceMessage, Hello, Reading, Readings, SeriesName, device_message::Kind,
};
use catchment_tests::{
    connection::{Connection, Credentials, Protocol, frame},
    eventually::within,
    model::QueryRequest,
    now_ms,
    world::World,
};
use serde_json::{Value, json};

const TS: i64 = 1_700_000_000_000;

/// Reads replies until everything up to `ack` is acknowledged; returns the refusals among them as (line or seq, code).
async fn refusals(connection: &mut Connection, ack: u64) -> Vec<(u64, String)> {
    let mut refused = Vec::new();
    loop {
        let answer =
            within("an answer", connection.answer()).await.unwrap().expect("the connection stays open");
        if let Some(got) = answer["ack"].as_u64() {
            if got >= ack {
                refused.sort();
                return refused;
            }
            continue;
        }
        let error = &answer["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
        let number = if error["line"].is_null() { &error["seq"] } else { &error["line"] };
        refused.push((number.as_u64().unwrap(), error["code"].as_str().unwrap().to_owned()));
    }
}

fn expected(refused: &[(u64, &str)]) -> Vec<(u64, String)> {
    refused.iter().map(|(number, code)| (*number, (*code).to_owned())).collect()
}

#[tokio::test]
async fn bad_lines_are_refused_alone_with_line_and_code() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.http = Some(([127, 0, 0, 1], 0).into()))
        .start()
        .await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let hour_ahead = now_ms() + 3_600_000;
    let lines = [
        r#"{"ts":1700000000000,"m":1}"#.to_owned(),
        r#"{"ts":1700000000000,"m":"#.to_owned(),
        r#"{"ts":1700000000000,"m":2,"s":"two\nlines","n":null}"#.to_owned(),
        r#"{"ts":1700000000000,"m":NaN,"k":4}"#.to_owned(),
        r#"{"ts":1700000000000,"values":{"m":8,"":1}}"#.to_owned(),
        r#"{"ts":1000,"values":{"m":16}}"#.to_owned(),
        format!(r#"{{"ts":{hour_ahead},"values":{{"m":32}}}}"#),
        "nonsense".to_owned(),
        r#"{"ts":1700000000000,"m":64,"labels":{"site":"x"}}"#.to_owned(),
        r#"{"ts":"yesterday","m":128}"#.to_owned(),
        r#"[{"ts":1700000000000,"m":256},{"ts":1000,"m":512},7]"#.to_owned(),
        r#"{"ts":1700000000000,"m":1024}"#.to_owned(),
    ];
    connection.line(&lines.join("\n")).await.unwrap();
    connection
        .send(b"{\"ts\":1700000000000,\"m\":2048,\"\xff\":1}\n{\"ts\":1700000000000,\"m\":4096}\n")
        .await
        .unwrap();
    let refused = refusals(&mut connection, 14).await;
    assert_eq!(
        refused,
        expected(&[
            (2, "malformed"),
            (3, "bad_state"),
            (3, "not_a_number"),
            (4, "not_a_number"),
            (5, "bad_metric"),
            (6, "too_old"),
            (7, "too_far_ahead"),
            (8, "malformed"),
            (9, "bad_label"),
            (10, "malformed"),
            (11, "malformed"),
            (11, "too_old"),
            (13, "malformed"),
        ])
    );
    for value in [1.0, 2.0, 8.0, 256.0, 1024.0, 4096.0] {
        world.note("press-1", &[], "m", TS, value);
    }
    world.note("press-1", &[], "k", TS, 4.0);
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000), QueryRequest::new("k", TS, TS + 1000)]).await;
    let metrics = world.gateways[0].server.metrics().await;
    for (reason, count) in
        [("not_a_number", 2), ("bad_state", 1), ("too_old", 2), ("malformed", 5), ("bad_label", 1)]
    {
        let line = format!("reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn an_oversized_line_is_refused_alone() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.message_bytes_max = Some("2KiB".parse().unwrap()))
        .start()
        .await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let padded = |value: u32, bytes: usize| {
        let line = format!("{{\"ts\":1700000000000,\"m\":{value}}}");
        line.clone() + &" ".repeat(bytes - line.len())
    };
    let lines = [padded(1, 2048), padded(2, 2049), padded(4, 300_000), padded(8, 100)];
    connection.line(&lines.join("\n")).await.unwrap();
    assert_eq!(refusals(&mut connection, 4).await, expected(&[(2, "too_long"), (3, "too_long")]));
    world.note("press-1", &[], "m", TS, 1.0);
    world.note("press-1", &[], "m", TS, 8.0);
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
}

fn readings(seq: u64, readings: Vec<Reading>, columns: Vec<Column>, define: Vec<SeriesName>) -> Vec<u8> {
    frame(&DeviceMessage { kind: Some(Kind::Readings(Readings { seq, define, columns, readings })) })
}

fn reading(metric: &str, time_ms: i64, value: f64) -> Reading {
    let labels = [("room".to_owned(), "3".to_owned())].into();
    Reading { metric: metric.to_owned(), labels, time_ns: time_ms * 1_000_000, value, ..Reading::default() }
}

#[tokio::test]
async fn bad_frames_are_refused_alone_and_an_oversized_one_ends_its_connection_only() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.message_bytes_max = Some("2KiB".parse().unwrap()))
        .start()
        .await;
    let mut connection = world.connect("press-1", Protocol::Frames).await;
    let define = |index, metric: &str| SeriesName { index, metric: metric.to_owned(), labels: [].into() };
    let column = |series, values: &[f64], steps: &[i64]| Column {
        series,
        first_time_ns: TS * 1_000_000,
        step_ns: steps.to_vec(),
        values: values.to_vec(),
        states: Vec::new(),
    };
    let mut bytes = Vec::new();
    // 1: good readings with values that are not numbers.
    bytes.extend(readings(
        0,
        vec![reading("m", TS, 1.0), reading("m", TS, f64::NAN), reading("m", 1, 2.0)],
        vec![],
        vec![],
    ));
    // 2: not protobuf.
    bytes.extend([0, 0, 0, 3, 0xff, 0xff, 0xff]);
    // 3: a column of an undefined series, with one of a defined series.
    bytes.extend(readings(
        0,
        vec![],
        vec![column(9, &[4.0], &[]), column(1, &[8.0, f64::INFINITY, 16.0], &[1_000_000_000])],
        vec![define(1, "c")],
    ));
    // 4: steps that do not match their values; the definition still holds.
    bytes.extend(readings(
        0,
        vec![],
        vec![column(1, &[1.0, 2.0, 3.0, 4.0], &[1, 2]), column(1, &[32.0], &[])],
        vec![],
    ));
    connection.send(&bytes).await.unwrap();
    assert_eq!(
        refusals(&mut connection, 4).await,
        expected(&[
            (1, "not_a_number"),
            (1, "too_old"),
            (2, "malformed"),
            (3, "malformed"),
            (3, "not_a_number"),
            (4, "malformed"),
        ])
    );
    // 5: too long: refused with a reason, then the connection ends.
    connection.send(&readings(0, vec![reading("m", TS, 64.0)], vec![], vec![])).await.unwrap();
    connection.send(&2049_u32.to_be_bytes()).await.unwrap();
    let mut last = Value::Null;
    while let Ok(Some(answer)) = within("the end", connection.answer()).await {
        assert!(answer["ack"] == json!(5) || answer["error"]["code"] == "too_long", "{answer}");
        last = answer;
    }
    assert_ne!(last, Value::Null, "the reason is sent");
    // Only that connection ends.
    let mut next = world.connect("press-1", Protocol::Frames).await;
    next.send(&readings(0, vec![reading("m", TS, 128.0)], vec![], vec![])).await.unwrap();
    assert_eq!(refusals(&mut next, 1).await, []);
    for value in [1.0, 64.0, 128.0] {
        world.note("press-1", &[("room", "3")], "m", TS, value);
    }
    for (time_ms, value) in [(TS, 8.0), (TS + 2000, 16.0), (TS, 32.0)] {
        world.note("press-1", &[], "c", time_ms, value);
    }
    world
        .agrees(&[QueryRequest::new("m", TS, TS + 1000), QueryRequest::new("c", TS, TS + 3000).step(1000)])
        .await;
}

#[tokio::test]
async fn series_and_readings_beyond_the_limit_are_refused_and_the_others_continue() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| (settings.series_max, settings.readings_max) = (Some(3), Some(4)))
        .start()
        .await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let lines = [
        r#"{"ts":1700000000000,"a":1,"b":1,"c":1,"d":1}"#,
        r#"{"ts":1700000000000,"a":2,"e":2}"#,
        r#"{"ts":1700000000000,"values":{"a":4},"labels":{"room":"3"}}"#,
        r#"[{"ts":1700000000000,"a":8,"b":8},{"ts":1700000000001,"a":8,"b":8,"c":8}]"#,
        r#"{"ts":1700000000000,"c":16}"#,
    ];
    connection.line(&lines.join("\n")).await.unwrap();
    let refused = refusals(&mut connection, 5).await;
    let three = "too_many_series";
    assert_eq!(refused, expected(&[(1, three), (2, three), (3, three), (4, "too_many_readings")]));
    // The limit applies per device, not per connection; another device has its own.
    let mut second = world.connect("press-1", Protocol::Json).await;
    second.line(r#"{"ts":1700000000000,"f":1,"a":32}"#).await.unwrap();
    assert_eq!(refusals(&mut second, 1).await, expected(&[(1, three)]));
    let mut other = world.connect("press-2", Protocol::Json).await;
    other.line(r#"{"ts":1700000000000,"f":1}"#).await.unwrap();
    assert_eq!(refusals(&mut other, 1).await, []);
    for (metric, time_ms, values) in [
        ("a", TS, &[1.0, 2.0, 8.0, 32.0][..]),
        ("a", TS + 1, &[8.0]),
        ("b", TS, &[1.0, 8.0]),
        ("b", TS + 1, &[8.0]),
        ("c", TS, &[1.0, 16.0]),
    ] {
        values.iter().for_each(|value| world.note("press-1", &[], metric, time_ms, *value));
    }
    world.note("press-2", &[], "f", TS, 1.0);
    let queries = ["a", "b", "c", "f"].map(|metric| QueryRequest::new(metric, TS, TS + 1000).by(&["device"]));
    world.agrees(&queries).await;
}

#[tokio::test]
async fn a_peer_that_never_reads_is_not_blocked_and_its_readings_count() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.message_timeout = Some("300ms".parse().unwrap()))
        .start()
        .await;
    let identity = world.pki.device("berlin", "press-1");
    for protocol in [Protocol::Json, Protocol::Frames] {
        let addr = world.gateways[0].server.direct_addr();
        let opening = Connection::open_without_reading(addr, Credentials::of(&identity), protocol);
        let mut connection = within("a connection", opening).await.unwrap();
        let mut bytes = Vec::new();
        if protocol == Protocol::Frames {
            let hello = Hello { epoch: "deaf".to_owned() };
            bytes.extend(frame(&DeviceMessage { kind: Some(Kind::Hello(hello)) }));
        }
        // Each message causes a refusal of some hundred bytes, so all replies together would fill any buffer.
        for n in 1..=20_000 {
            match protocol {
                Protocol::Json => bytes.extend(b"{\"ts\":1700000000000,\"m\":1,\"refused\":null}\n"),
                Protocol::Frames => {
                    let column = Column {
                        series: 7,
                        first_time_ns: 0,
                        step_ns: Vec::new(),
                        values: vec![1.0],
                        states: vec![],
                    };
                    let mut good = reading("m", TS, 1.0);
                    good.labels.clear();
                    bytes.extend(readings(n, vec![good], vec![column], vec![]));
                }
            }
            world.note("press-1", &[], "m", TS, 1.0);
        }
        within("everything is read from a peer that does not read", connection.send(&bytes)).await.unwrap();
        world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
    }
}

#[tokio::test]
async fn a_peer_that_reads_receives_every_refusal() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.http = Some(([127, 0, 0, 1], 0).into()))
        .start()
        .await;
    for protocol in [Protocol::Json, Protocol::Frames] {
        let mut connection = world.connect("press-1", protocol).await;
        let hello = Hello { epoch: "all".to_owned() };
        let mut bytes = match protocol {
            Protocol::Frames => frame(&DeviceMessage { kind: Some(Kind::Hello(hello)) }),
            Protocol::Json => b"{\"hello\":{\"epoch\":\"all-2\"}}\n".to_vec(),
        };
        for n in 1..=5_000_u64 {
            match protocol {
                Protocol::Json => {
                    bytes.extend(format!("{{\"seq\":{n},\"ts\":{TS},\"m\":1,\"refused\":null}}\n").bytes())
                }
                Protocol::Frames => {
                    let column = Column {
                        series: 7,
                        first_time_ns: 0,
                        step_ns: Vec::new(),
                        values: vec![1.0],
                        states: vec![],
                    };
                    bytes.extend(readings(n, vec![reading("m", TS, 1.0)], vec![column], vec![]));
                }
            }
        }
        within("all of it is read", connection.send(&bytes)).await.unwrap();
        let welcome = within("a welcome", connection.answer()).await.unwrap().unwrap();
        assert!(welcome["welcome"].is_object(), "{welcome}");
        assert_eq!(refusals(&mut connection, 5_000).await.len(), 5_000, "{protocol:?}");
    }
    let metrics = world.gateways[0].server.metrics().await;
    assert!(metrics.contains("catchment_gateway_answers_dropped_total 0\n"), "{metrics}");
}
