//! JSON lines exactly as documented.

use catchment_tests::{
    connection::{Connection, Protocol},
    eventually::within,
    model::QueryRequest,
    now_ms,
    world::World,
};
use serde_json::{Value, json};

/// Aggregates that do not depend on the time of a reading: some get the gateway's clock here.
const TIMELESS: [&str; 4] = ["count", "sum", "min", "max"];
/// The time in the documentation's examples.
const TS: i64 = 1_700_000_000_000;

async fn exchange(connection: &mut Connection, line: &str) -> Value {
    connection.line(line).await.unwrap();
    answer(connection).await
}

async fn answer(connection: &mut Connection) -> Value {
    within("an answer", connection.answer()).await.unwrap().expect("the connection stays open")
}

#[tokio::test]
async fn objects_times_labels_arrays_and_nesting() {
    let world = World::small().await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let now = now_ms();
    for (ack, line) in (1..).zip([
        r#"{"temperature":21.5,"door_open":true}"#,
        r#"{"ts":1700000000000,"values":{"temperature":21.5}}"#,
        r#"{"ts":1700000000000,"values":{"temperature":22.5},"labels":{"room":"3"}}"#,
        r#"[{"temperature":1},{"ts":1700000001000,"values":{"temperature":2,"door_open":false}}]"#,
        r#"{"engine":{"oil":{"temp":90.5},"on":false}}"#,
        r#"{"labels":{"room":"3"},"ts":1700000002500,"temperature":-4e1}"#,
        "{}",
        "[]",
    ]) {
        assert_eq!(exchange(&mut connection, line).await, json!({"ack": ack}), "{line}");
    }
    let room: [(&str, &str); 1] = [("room", "3")];
    for (own, metric, time_ms, value) in [
        (&[][..], "temperature", now, 21.5),
        (&[], "door_open", now, 1.0),
        (&[], "temperature", TS, 21.5),
        (&room, "temperature", TS, 22.5),
        (&[], "temperature", now, 1.0),
        (&[], "temperature", TS + 1000, 2.0),
        (&[], "door_open", TS + 1000, 0.0),
        (&[], "engine_oil_temp", now, 90.5),
        (&[], "engine_on", now, 0.0),
        (&room, "temperature", TS + 2500, -40.0),
    ] {
        world.note("press-1", own, metric, time_ms, value);
    }
    let stamped = QueryRequest::new("temperature", TS, TS + 3000).step(1000).by(&["room"]);
    // All readings with the gateway's clock lie within this range.
    let present = |metric| QueryRequest::new(metric, now - 60_000, now + 600_000).aggregates(&TIMELESS);
    world
        .agrees(&[
            stamped,
            QueryRequest::new("door_open", TS, TS + 3000),
            present("temperature"),
            present("door_open"),
            present("engine_oil_temp"),
            present("engine_on"),
        ])
        .await;
}

#[tokio::test]
async fn numbered_messages_as_documented() {
    let world = World::small().await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let first = r#"{"seq":1,"ts":1700000000000,"values":{"temperature":21.5}}"#;
    for (line, expected) in [
        (r#"{"hello":{"epoch":"boot-42"}}"#, json!({"welcome": {"epoch": "boot-42", "ack": 0}})),
        (first, json!({"ack": 1})),
        (first, json!({"ack": 1})),
        (r#"{"seq":5,"ts":1700000000001,"values":{"temperature":5}}"#, json!({"ack": 5})),
        // At or below the durable number: acknowledged but not counted, whatever its content.
        (r#"{"seq":3,"ts":1700000000002,"values":{"temperature":1000}}"#, json!({"ack": 5})),
        (r#"{"seq":5,"ts":1700000000002,"values":{"temperature":2000}}"#, json!({"ack": 5})),
        (
            r#"[{"seq":6,"temperature":0,"ts":1700000000003},{"seq":7,"temperature":0,"ts":1700000000003}]"#,
            json!({"ack": 7}),
        ),
    ] {
        assert_eq!(exchange(&mut connection, line).await, expected, "{line}");
    }
    // A message without its number is refused alone.
    let refused = exchange(&mut connection, r#"{"ts":1700000000004,"temperature":3000}"#).await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["line"]), (&json!("bad_sequence"), &json!(8)));
    // The same epoch continues on this connection and on others; another one starts at 0.
    let hello = r#"{"hello":{"epoch":"boot-42"}}"#;
    let welcome = json!({"welcome": {"epoch": "boot-42", "ack": 7}});
    assert_eq!(exchange(&mut connection, hello).await, welcome);
    let mut second = world.connect("press-1", Protocol::Json).await;
    assert_eq!(exchange(&mut second, hello).await, welcome);
    let other = r#"{"hello":{"epoch":"boot-43"}}"#;
    assert_eq!(exchange(&mut second, other).await, json!({"welcome": {"epoch": "boot-43", "ack": 0}}));
    // An epoch belongs to its device.
    let mut another = world.connect("press-2", Protocol::Json).await;
    assert_eq!(exchange(&mut another, hello).await, json!({"welcome": {"epoch": "boot-42", "ack": 0}}));
    for (time_ms, value) in [(TS, 21.5), (TS + 1, 5.0), (TS + 3, 0.0), (TS + 3, 0.0)] {
        world.note("press-1", &[], "temperature", time_ms, value);
    }
    world.agrees(&[QueryRequest::new("temperature", TS, TS + 1000).step(1000)]).await;
}

#[tokio::test]
async fn a_sequence_number_without_a_hello_is_refused() {
    let world = World::small().await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let refused = exchange(&mut connection, r#"{"seq":1,"temperature":1}"#).await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["line"]), (&json!("bad_sequence"), &json!(1)));
    assert_eq!(answer(&mut connection).await, json!({"ack": 1}));
    assert_eq!(exchange(&mut connection, r#"{"temperature":1}"#).await, json!({"ack": 2}));
}

#[tokio::test]
async fn acknowledgements_are_cumulative() {
    let world = World::small().await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let lines: String =
        (0..5000).map(|n| format!("{{\"ts\":{},\"values\":{{\"m\":{n}}}}}\n", TS + n)).collect();
    connection.send(lines.as_bytes()).await.unwrap();
    let (mut last, mut answers) = (0, 0);
    while last < 5000 {
        let ack = answer(&mut connection).await["ack"].as_u64().unwrap();
        assert!(ack > last, "{ack} after {last}");
        (last, answers) = (ack, answers + 1);
    }
    assert!(answers <= 5000);
    for n in 0..5000 {
        world.note("press-1", &[], "m", TS + n, n as f64);
    }
    world.agrees(&[QueryRequest::new("m", TS, TS + 5000).step(1000)]).await;
}

#[tokio::test]
async fn splitting_the_bytes_makes_no_difference() {
    let world = World::small().await;
    let text = "{\"ts\":1700000000000,\"values\":{\"m\":1},\"labels\":{\"r\":\"\u{fc}\u{1f30a}\"}}\r\n\r\n[{\"ts\":1700000000000,\"m\":2}]\n";
    let bytes = text.as_bytes();
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let mut lines = 0;
    for cut in 1..bytes.len() {
        let (front, back) = bytes.split_at(cut);
        connection.send(front).await.unwrap();
        connection.send(back).await.unwrap();
        lines += 2;
        while answer(&mut connection).await != json!({"ack": lines}) {}
    }
    // Byte by byte from the start of a connection, where the first byte also chooses the protocol.
    let mut second = world.connect("press-1", Protocol::Json).await;
    for byte in bytes {
        second.send(&[*byte]).await.unwrap();
    }
    while answer(&mut second).await != json!({"ack": 2}) {}
    for _ in 0..bytes.len() {
        world.note("press-1", &[("r", "\u{fc}\u{1f30a}")], "m", TS, 1.0);
        world.note("press-1", &[], "m", TS, 2.0);
    }
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000).by(&["r"])]).await;
}

#[tokio::test]
async fn a_last_line_needs_no_newline_and_is_acknowledged_before_the_close() {
    let world = World::small().await;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let lines = "{\"ts\":1700000000000,\"m\":1}\n{\"ts\":1700000000000,\"m\":2}";
    connection.send(lines.as_bytes()).await.unwrap();
    connection.finish().await.unwrap();
    while answer(&mut connection).await != json!({"ack": 2}) {}
    assert_eq!(within("the end", connection.answer()).await.unwrap(), None);
    world.note("press-1", &[], "m", TS, 1.0);
    world.note("press-1", &[], "m", TS, 2.0);
    world.agrees(&[QueryRequest::new("m", TS, TS + 1000)]).await;
}

#[tokio::test]
async fn name_collisions_of_a_device_are_counted_across_connections() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.http = Some(([127, 0, 0, 1], 0).into()))
        .start()
        .await;
    let collisions = async |expected: u64| {
        let line = format!("catchment_gateway_name_collisions_total {expected}\n");
        let metrics = world.gateways[0].server.metrics().await;
        assert!(metrics.contains(&line), "{line}{metrics}");
    };
    let mut one = world.connect("press-1", Protocol::Json).await;
    exchange(&mut one, r#"{"ts":1700000000000,"a.b":1,"c.d":1,"labels":{"x.y":"1"}}"#).await;
    // The same again on another connection, and another device's names: no new collision.
    let mut other = world.connect("press-1", Protocol::Json).await;
    exchange(&mut other, r#"{"ts":1700000000000,"a.b":2}"#).await;
    let mut foreign = world.connect("press-2", Protocol::Json).await;
    exchange(&mut foreign, r#"{"ts":1700000000000,"a_b":1}"#).await;
    collisions(0).await;
    exchange(&mut other, r#"{"ts":1700000000000,"c-d":4,"labels":{"x-y":"1"}}"#).await;
    exchange(&mut other, r#"{"ts":1700000000000,"c-d":8,"labels":{"x-y":"1"}}"#).await;
    collisions(2).await;
    let mut lines = world.connect("press-1", Protocol::Json).await;
    lines
        .line("a b=16 1700000000000000000\na.b b=1,b.b=1 1700000000000000000\na-b b=2 1700000000000000000")
        .await
        .unwrap();
    lines.finish().await.unwrap();
    for (own, metric, value) in [
        (&[("x_y", "1")][..], "c_d", 1.0),
        (&[("x_y", "1")], "c_d", 4.0),
        (&[("x_y", "1")], "c_d", 8.0),
        (&[], "a_b", 16.0),
    ] {
        world.note("press-1", own, metric, TS, value);
    }
    world.note("press-1", &[("x_y", "1")], "a_b", TS, 1.0);
    world.note("press-1", &[], "a_b", TS, 2.0);
    world.note("press-2", &[], "a_b", TS, 1.0);
    world
        .agrees(&["a_b", "c_d"].map(|metric| QueryRequest::new(metric, TS, TS + 1000).by(&["device", "x_y"])))
        .await;
    // `a_b` spelled as such, in addition to `a.b`; then `a.b_b` and `a-b_b`.
    collisions(4).await;
    // Within one line the second field or tag is refused; only this count reports it.
    let mut lines = world.connect("press-3", Protocol::Json).await;
    lines.line("c x.y=1,x-y=2 1700000000000000000\nc,t.u=1,t-u=2 z=1 1700000000000000000").await.unwrap();
    lines.finish().await.unwrap();
    world.note("press-3", &[], "c_x_y", TS, 1.0);
    world.agrees(&[QueryRequest::new("c_x_y", TS, TS + 1000)]).await;
    collisions(6).await;
}
