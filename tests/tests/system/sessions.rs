//! Sessions that end from outside: with the device's certificate, or at the maximum age of a connection. The reason is in
//! the last answer where the protocol has one, and in the metrics.

use std::{path::Path, time::Duration};

use catchment_certs::Role;
use catchment_gateway::Settings;
use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    device::Sample,
    eventually::{eventually, within},
    model::QueryRequest,
    mqtt, now_ms,
    world::World,
};
use serde_json::json;

/// How long certificates of these tests last: time enough for all handshakes on a slow machine.
const LASTS: Duration = Duration::from_secs(6);

/// MQTT 5: Not authorized, and Maximum connect time.
const NOT_AUTHORIZED: u8 = 0x87;
const MAXIMUM_CONNECT_TIME: u8 = 0xa0;

async fn world(change: impl Fn(&mut Settings) + 'static) -> World {
    let settings = move |settings: &mut Settings| {
        settings.http = Some(([127, 0, 0, 1], 0).into());
        change(settings);
    };
    World::builder().gateway("berlin", "gw").settings(settings).start().await
}

/// A device whose certificate ends soon.
async fn connect(world: &World, identity: &Path, protocol: Protocol) -> Connection {
    let opening = Connection::open(world.gateway_addr(), Credentials::of(identity), protocol);
    within("a connection", opening).await.unwrap()
}

async fn mqtt_client(world: &World, identity: &Path, version: u8) -> mqtt::Client {
    let opening = mqtt::Client::open(world.gateway_addr(), identity, None, None);
    let mut client = within("a connection", opening).await.unwrap();
    client.connect(mqtt::ConnectOptions::clean(version, "c")).await.unwrap();
    client
}

/// The error code at the end of a connection, if there is one.
async fn last_code(connection: &mut Connection) -> Option<String> {
    let mut code = None;
    while let Ok(Some(answer)) = within("the end", connection.answer()).await {
        code = answer["error"]["code"].as_str().map(str::to_owned).or(code);
    }
    code
}

async fn until_ended(world: &World, reason: &str, count: f64) {
    let name = format!("catchment_gateway_sessions_ended_total{{reason=\"{reason}\"}}");
    eventually("the end of the sessions in the metrics", async || {
        let page = world.gateways[0].server.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix(&name)).map(str::trim);
        let value: Option<f64> = line.and_then(|text| text.parse().ok());
        if value == Some(count) { Ok(()) } else { Err(format!("{name} is {value:?}, wanted {count}")) }
    })
    .await;
}

/// Bad lines until the gateway's answers to them are stuck, because nobody reads them.
async fn fill(connection: &mut Connection) {
    let lines = "nonsense\n".repeat(2_000);
    let filling = async { while connection.send(lines.as_bytes()).await.is_ok() {} };
    let _ = tokio::time::timeout(Duration::from_millis(500), filling).await;
}

#[tokio::test]
async fn a_session_ends_with_its_certificate_whatever_its_device_does() {
    let world = world(|_| ()).await;
    let mut staying = world.device(0, "press-0", Protocol::Json);
    let from = now_ms() / 1000 * 1000;
    staying.send(&Sample::one(from, "pressure", 1.0)).await;
    let identity = |name: &str| world.pki.device_for("berlin", name, LASTS);
    let names = ["press-1", "press-2", "press-3", "press-4", "press-5", "press-6", "press-7"];
    let identities = names.map(identity);
    let [silent, mute, mqtt_5, mqtt_3, framed, plain, stuck] = &identities;
    // One that has said nothing, one whose answers are stuck, one in the middle of a message, and devices at rest.
    let mut stuck = {
        let (addr, credentials) = (world.gateway_addr(), Credentials::of(stuck));
        let opening = Connection::open_without_reading(addr, credentials, Protocol::Json);
        within("a connection", opening).await.unwrap()
    };
    let mut mute = connect(&world, mute, Protocol::Json).await;
    let mut silent = connect(&world, silent, Protocol::Json).await;
    let mut framed = connect(&world, framed, Protocol::Frames).await;
    let mut plain = connect(&world, plain, Protocol::Json).await;
    let mut mqtt_5 = mqtt_client(&world, mqtt_5, 5).await;
    let mut mqtt_3 = mqtt_client(&world, mqtt_3, 4).await;
    silent.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", silent.answer()).await.unwrap(), Some(json!({"ack": 1})));
    framed.send(&[0, 0, 4, 0]).await.unwrap();
    plain.send(b"temperature value=1 ").await.unwrap();
    mqtt_5.publish(1, 7, "telemetry", r#"{"temperature":21}"#).await.unwrap();
    assert_eq!(mqtt_5.acknowledgement().await.1, 7);
    fill(&mut stuck).await;
    for connection in [&mut silent, &mut mute, &mut framed] {
        assert_eq!(last_code(connection).await.as_deref(), Some("expired"));
    }
    // A protocol without words for it, and those of both versions of MQTT.
    let _ = last_code(&mut plain).await;
    assert_eq!((mqtt_5.end().await, mqtt_3.end().await), (Some(NOT_AUTHORIZED), None));
    until_ended(&world, "expired", 7.0).await;
    // Closed in order or reset: the device finds the end.
    let _closed = within("the end of a connection", stuck.rest()).await;
    // Whose certificate lasts goes on.
    staying.send(&Sample::one(from + 1, "pressure", 2.0)).await;
    staying.settle().await;
    world.agrees(&[QueryRequest::new("pressure", from, from + 1000)]).await;
}

#[tokio::test]
async fn a_connection_that_is_too_old_ends_and_its_device_comes_back() {
    let world = world(|settings| settings.connection_age_max = Some("1s".parse().unwrap())).await;
    let mut json = world.connect("press-1", Protocol::Json).await;
    let mut frames = world.connect("press-2", Protocol::Frames).await;
    let mut client = mqtt_client(&world, &world.pki.device("berlin", "press-3"), 5).await;
    for connection in [&mut json, &mut frames] {
        assert_eq!(last_code(connection).await.as_deref(), Some("connection_age"));
    }
    assert_eq!(client.end().await, Some(MAXIMUM_CONNECT_TIME));
    until_ended(&world, "connection_age", 3.0).await;
    // A device that numbers its messages loses none, however often its connection ends.
    let mut device = world.device(0, "press-4", Protocol::Json);
    let from = now_ms() / 1000 * 1000;
    for n in 0..30 {
        device.send(&Sample::one(from + n, "pressure", n as f64)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    device.settle().await;
    world.agrees(&[QueryRequest::new("pressure", from, from + 1000)]).await;
}

#[tokio::test]
async fn a_client_that_is_taken_over_learns_it_by_the_same_reason() {
    let world = world(|_| ()).await;
    let identity = world.pki.device("berlin", "press-1");
    let mut first = mqtt_client(&world, &identity, 5).await;
    let _second = mqtt_client(&world, &identity, 5).await;
    assert_eq!(first.end().await, Some(0x8e));
    until_ended(&world, "taken_over", 1.0).await;
}

#[tokio::test]
async fn a_revocation_reaches_the_sessions_that_live() {
    let world = world(|_| ()).await;
    let mut staying = world.device(0, "press-0", Protocol::Json);
    let from = now_ms() / 1000 * 1000;
    staying.send(&Sample::one(from, "pressure", 1.0)).await;
    let names = ["press-1", "press-2", "press-3"];
    let [json, frames, mqtt] = names.map(|name| world.pki.device("berlin", name));
    let mut json = connect(&world, &json, Protocol::Json).await;
    let mut frames = connect(&world, &frames, Protocol::Frames).await;
    let mut client = mqtt_client(&world, &mqtt, 5).await;
    json.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", json.answer()).await.unwrap(), Some(json!({"ack": 1})));
    for name in names {
        world.pki.revoke(Role::Device, "berlin", name);
    }
    for connection in [&mut json, &mut frames] {
        assert_eq!(last_code(connection).await.as_deref(), Some("revoked"));
    }
    assert_eq!(client.end().await, Some(NOT_AUTHORIZED));
    until_ended(&world, "revoked", 3.0).await;
    // Who comes again is refused; the others have noticed nothing.
    let mut again = connect(&world, &world.pki.device("berlin", "press-1"), Protocol::Json).await;
    assert!(within("the refusal", again.answer()).await.is_err());
    staying.send(&Sample::one(from + 1, "pressure", 2.0)).await;
    staying.settle().await;
    world.agrees(&[QueryRequest::new("pressure", from, from + 1000)]).await;
}
