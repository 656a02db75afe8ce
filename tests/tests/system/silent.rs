//! Peers with valid certificates that stay silent or never finish a message: an honest device is still served, and they
//! do not keep their resources.

use std::time::Duration;

use catchment_gateway::Settings;
use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    device::Sample,
    eventually::{eventually, within},
    model::QueryRequest,
    mqtt, now_ms,
    world::World,
};
use serde_json::{Value, json};

/// A world with one gateway.
async fn world(change: impl Fn(&mut Settings) + 'static) -> World {
    let settings = move |settings: &mut Settings| {
        settings.http = Some(([127, 0, 0, 1], 0).into());
        settings.shards = Some(1);
        change(settings);
    };
    World::builder().gateway("berlin", "gw").settings(settings).start().await
}

/// Checks that an honest device delivers and its readings count. No other device of these tests sends this metric.
async fn is_served(world: &World, name: &str) {
    let from = now_ms() / 1000 * 1000;
    let mut device = world.device(0, name, Protocol::Json);
    for n in 0..10 {
        device.send(&Sample::one(from + n, "pressure", n as f64)).await;
    }
    device.settle().await;
    world.agrees(&[QueryRequest::new("pressure", from, from + 1000)]).await;
}

/// Waits until a metric of the gateway has an expected value.
async fn until_metric(world: &World, name: &str, right: impl Fn(f64) -> bool) {
    eventually(name, async || {
        let page = world.gateways[0].server.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let value: Option<f64> = line.and_then(|text| text.parse().ok());
        if value.is_some_and(&right) { Ok(()) } else { Err(format!("{name} is {value:?}")) }
    })
    .await;
}

/// The error code at the end of a connection, if there is one.
async fn last_code(connection: &mut Connection) -> Option<String> {
    let mut code = None;
    while let Ok(Some(answer)) = within("the end", connection.answer()).await {
        code = answer["error"]["code"].as_str().map(str::to_owned).or(code);
    }
    code
}

#[tokio::test]
async fn silent_connections_give_way_to_a_device_when_all_slots_are_taken() {
    let world = world(|settings| {
        settings.connections_max = Some(12);
        // No connection ends by itself within the test.
        for timeout in [&mut settings.first_byte_timeout, &mut settings.message_timeout] {
            *timeout = Some("1h".parse().unwrap());
        }
    })
    .await;
    let mut silent = Vec::new();
    let mut clients = Vec::new();
    for number in 0..8 {
        let name = format!("silent-{number}");
        let mut connection = world.connect(&name, Protocol::Json).await;
        if number % 2 == 0 {
            connection.send(b"{").await.unwrap();
        }
        silent.push(connection);
        let mut connection = world.connect(&name, Protocol::Frames).await;
        if number % 2 == 0 {
            connection.send(&[0, 0]).await.unwrap();
        }
        silent.push(connection);
        let identity = world.pki.device("berlin", &name);
        let opening = mqtt::Client::open(world.gateway_addr(), &identity, Some(b"mqtt"), None);
        clients.push(within("a connection", opening).await.unwrap());
    }
    // A connection with only a hello.
    let mut options = world.connect("hello", Protocol::Json).await;
    options.line(r#"{"hello":{"epoch":"e"}}"#).await.unwrap();
    is_served(&world, "press-1").await;
    until_metric(&world, "catchment_gateway_sessions_ended_total{reason=\"gave_way\"}", |n| n >= 12.0).await;
    // A connection in use keeps its slot.
    let mut busy = world.connect("press-2", Protocol::Json).await;
    busy.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", busy.answer()).await.unwrap(), Some(json!({"ack": 1})));
    for number in 0..20 {
        silent.push(world.connect(&format!("more-{number}"), Protocol::Json).await);
    }
    busy.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", busy.answer()).await.unwrap(), Some(json!({"ack": 2})));
}

#[tokio::test]
async fn a_connection_without_a_first_message_ends_with_a_reason_if_possible() {
    let world = world(|settings| settings.first_byte_timeout = Some("300ms".parse().unwrap())).await;
    let mut json = world.connect("press-1", Protocol::Json).await;
    let mut frames = world.connect("press-2", Protocol::Frames).await;
    let identity = world.pki.device("berlin", "press-3");
    let mut client = mqtt::Client::open(world.gateway_addr(), &identity, Some(b"mqtt"), None).await.unwrap();
    let refusal = last_code(&mut json).await;
    assert_eq!(refusal.as_deref(), Some("first_byte_timeout"), "readable text: its protocol is unknown");
    assert_eq!(last_code(&mut frames).await.as_deref(), Some("first_byte_timeout"));
    assert!(!matches!(within("the end", client.packet()).await, Ok(Some(_))));
    // An MQTT client must send a whole CONNECT, not only its first byte.
    let mut client = mqtt::Client::open(world.gateway_addr(), &identity, Some(b"mqtt"), None).await.unwrap();
    client.send(&[0x10, 40]).await.unwrap();
    assert!(!matches!(within("the end", client.packet()).await, Ok(Some(_))));
    until_metric(&world, "catchment_gateway_sessions_ended_total{reason=\"first_byte_timeout\"}", |n| {
        n == 4.0
    })
    .await;
    // A client that has sent a message may then stay silent.
    let mut spoken = world.connect("press-4", Protocol::Json).await;
    spoken.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", spoken.answer()).await.unwrap(), Some(json!({"ack": 1})));
    tokio::time::sleep(Duration::from_millis(900)).await;
    spoken.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", spoken.answer()).await.unwrap(), Some(json!({"ack": 2})));
}

/// Sends a byte from time to time until the connection ends; returns its error code.
async fn trickle(mut connection: Connection, byte: u8) -> Option<String> {
    let begun = tokio::time::Instant::now();
    let mut code = None;
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "the connection is still open");
        if connection.send(&[byte]).await.is_err() {
            return code;
        }
        match connection.ready_answer().await {
            Ok(Some(Value::Object(answer))) => {
                let refusal = answer.get("error").and_then(|error| error["code"].as_str());
                code = refusal.map(str::to_owned).or(code);
            }
            Ok(_) => {}
            Err(_) => return code,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_trickling_message_is_ended_and_another_device_is_served() {
    let world = world(|settings| {
        settings.message_timeout = Some("700ms".parse().unwrap());
        settings.message_bytes_max = Some("2KiB".parse().unwrap());
    })
    .await;
    let mut json = world.connect("slow-1", Protocol::Json).await;
    json.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", json.answer()).await.unwrap(), Some(json!({"ack": 1})));
    let mut frames = world.connect("slow-2", Protocol::Frames).await;
    frames.send(&[0, 0, 4, 0]).await.unwrap();
    // A line that is too long is skipped, but not indefinitely.
    let mut long = world.connect("slow-3", Protocol::Json).await;
    long.send(&[b'{'; 3000]).await.unwrap();
    assert_eq!(within("a refusal", long.answer()).await.unwrap().unwrap()["error"]["code"], "too_long");
    let identity = world.pki.device("berlin", "slow-4");
    let mut client = mqtt::Client::open(world.gateway_addr(), &identity, None, None).await.unwrap();
    client.connect(mqtt::ConnectOptions::clean(5, "c")).await.unwrap();
    client.send(&[0x30, 40, 0]).await.unwrap();
    let (json, frames, long, (), packet) = tokio::join!(
        trickle(json, b'{'),
        trickle(frames, 8),
        trickle(long, b'x'),
        is_served(&world, "press-1"),
        within("a DISCONNECT", client.packet()),
    );
    for code in [json, frames, long] {
        assert!(code.is_none_or(|code| code == "message_timeout"));
    }
    assert_eq!(packet.unwrap().unwrap().first, 0xe0, "a DISCONNECT");
    until_metric(&world, "catchment_gateway_sessions_ended_total{reason=\"message_timeout\"}", |n| n == 4.0)
        .await;
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let world = world(|settings| settings.idle_timeout = Some("400ms".parse().unwrap())).await;
    let mut idle = world.connect("press-1", Protocol::Json).await;
    idle.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", idle.answer()).await.unwrap(), Some(json!({"ack": 1})));
    assert_eq!(last_code(&mut idle).await.as_deref(), Some("idle_timeout"));
    // After a hello, too.
    let mut options = world.connect("press-1", Protocol::Json).await;
    options.line(r#"{"hello":{"epoch":"e"}}"#).await.unwrap();
    assert_eq!(last_code(&mut options).await.as_deref(), Some("idle_timeout"));
}

#[tokio::test]
async fn unfinished_messages_of_all_connections_are_bounded() {
    let world = world(|settings| {
        settings.unfinished_bytes_max = Some("1MiB".parse().unwrap());
        settings.message_bytes_max = Some("64KiB".parse().unwrap());
        settings.message_timeout = Some("1h".parse().unwrap());
    })
    .await;
    let held = "catchment_gateway_unfinished_bytes ";
    let mut connections = Vec::new();
    for number in 0..40 {
        let name = format!("flood-{number}");
        let identity = world.pki.device("berlin", &name);
        let addr = world.gateways[0].server.direct_addr();
        let opening = Connection::open(addr, Credentials::of(&identity), Protocol::Json);
        let mut connection = within("a connection", opening).await.unwrap();
        connection.send(&vec![b'{'; 60 << 10]).await.unwrap();
        connections.push(connection);
    }
    until_metric(&world, held, |bytes| bytes > 500_000.0 && bytes <= 1_048_576.0).await;
    is_served(&world, "press-1").await;
    assert_eq!(last_code(&mut connections[0]).await.as_deref(), Some("unfinished_bytes"));
    until_metric(&world, "catchment_gateway_sessions_ended_total{reason=\"unfinished_bytes\"}", |n| {
        n >= 20.0
    })
    .await;
    // All of it is released.
    drop(connections);
    until_metric(&world, held, |bytes| bytes == 0.0).await;
}
