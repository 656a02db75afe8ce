//! Idle and stalled peers: everybody else is still served.

use catchment_tests::{
    connection::Protocol,
    device::Sample,
    eventually::{eventually, within},
    model::QueryRequest,
    mqtt::{Client, ConnectOptions},
    rogue, this_second,
    world::World,
};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn stalled_handshakes_and_idle_connections_stop_nobody() {
    let world = World::builder()
        .gateway("berlin", "gw")
        // Long enough that no connection ends by itself within the test.
        .settings(|settings| {
            settings.handshake_timeout = Some("1h".parse().unwrap());
            settings.first_byte_timeout = Some("1h".parse().unwrap());
        })
        .options(|options| options.handshake_timeout = Some("1h".parse().unwrap()))
        .start()
        .await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(rogue::stalled_handshake(world.gateway_addr()).await);
        silent.push(rogue::stalled_handshake(world.aggregator.addr()).await);
    }
    let mut idle = Vec::new();
    for number in 0..10 {
        idle.push(world.connect(&format!("idle-{number}"), Protocol::Json).await);
        idle.push(world.connect(&format!("idle-{number}"), Protocol::Frames).await);
    }
    let from = this_second();
    let mut device = world.device(0, "press-1", Protocol::Json);
    for n in 0..20 {
        device.send(&Sample::one(from + n, "temperature", n as f64)).await;
    }
    device.settle().await;
    world.agrees(&[QueryRequest::new("temperature", from, from + 1000)]).await;
    // Idle connections may start at any time.
    for (connection, protocol) in idle.iter_mut().zip([Protocol::Json, Protocol::Frames].into_iter().cycle())
    {
        if protocol == Protocol::Json {
            connection.line(r#"{"temperature":1}"#).await.unwrap();
            let answer = within("an answer", connection.answer()).await.unwrap();
            assert_eq!(answer, Some(json!({"ack": 1})));
        }
    }
}

#[tokio::test]
async fn an_unfinished_handshake_is_ended() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.handshake_timeout = Some("300ms".parse().unwrap()))
        .start()
        .await;
    let mut stream = rogue::stalled_handshake(world.gateway_addr()).await;
    // An end or a reset: the gateway closes the connection in either way.
    let _ = within("the gateway closes the connection", stream.read_to_end(&mut Vec::new())).await;
    let mut stream = rogue::no_tls(world.gateway_addr()).await;
    let _ = within("the gateway closes the connection", stream.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn a_connection_beyond_a_devices_limit_is_refused_while_the_others_are_alive() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.sessions_max = Some(2))
        .start()
        .await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = world.connect("press-1", Protocol::Json).await;
        connection.line(r#"{"temperature":1}"#).await.unwrap();
        assert_eq!(within("an answer", connection.answer()).await.unwrap(), Some(json!({"ack": 1})));
        connections.push(connection);
    }
    // Silent connections do not count.
    let _silent = world.connect("press-1", Protocol::Json).await;
    let mut newest = world.connect("press-1", Protocol::Json).await;
    newest.line(r#"{"temperature":1}"#).await.unwrap();
    let refusal = within("a refusal", newest.answer()).await.unwrap().unwrap();
    assert_eq!(refusal["error"]["code"], json!("too_many_connections"), "{refusal}");
    assert_eq!(within("the end of the newest", newest.answer()).await.unwrap(), None);
    let identity = world.pki.device("berlin", "press-1");
    for (version, code) in [(4, 3), (5, 0x97)] {
        let mut client = Client::open(world.gateway_addr(), &identity, None, None).await.unwrap();
        let refused =
            within("CONNACK", client.connect(ConnectOptions::clean(version, "other"))).await.unwrap();
        assert_eq!(refused, (false, code), "version {version}");
    }
    for connection in &mut connections {
        connection.line(r#"{"temperature":2}"#).await.unwrap();
        assert_eq!(within("an answer", connection.answer()).await.unwrap(), Some(json!({"ack": 2})));
    }
    // A freed slot can be used again.
    drop(connections.pop());
    eventually("a free slot", async || {
        let mut next = world.connect("press-1", Protocol::Json).await;
        next.line(r#"{"temperature":3}"#).await.map_err(|error| error.to_string())?;
        match next.answer().await {
            Ok(Some(answer)) if answer == json!({"ack": 1}) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_takes_over_its_session_and_silent_ones_give_way() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            settings.sessions_max = Some(2);
            settings.sessions_silent_after = Some("100ms".parse().unwrap());
            settings.http = Some(([127, 0, 0, 1], 0).into());
        })
        .start()
        .await;
    let identity = world.pki.device("berlin", "press-1");
    let connect = async |client: &str| {
        let mut connection = Client::open(world.gateway_addr(), &identity, None, None).await.unwrap();
        // Its keep-alive keeps it alive, however long it is silent.
        let options = ConnectOptions { keep_alive: 600, ..ConnectOptions::clean(5, client) };
        (within("CONNACK", connection.connect(options)).await.unwrap().1, connection)
    };
    let (a, mut first) = connect("a").await;
    let (b, mut other) = connect("b").await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let (c, _refused) = connect("c").await;
    assert_eq!((a, b, c), (0, 0, 0x97));
    let (again, _second) = connect("a").await;
    assert_eq!((again, first.end().await), (0, Some(0x8e)), "the same client takes its session over");
    other.send(&[0xc0, 0]).await.unwrap();
    assert_eq!(within("an answer", other.packet()).await.unwrap().unwrap().first, 0xd0);
    // Without a keep-alive, the silent connection is displaced.
    let mut oldest = world.connect("press-2", Protocol::Json).await;
    oldest.line(r#"{"temperature":1}"#).await.unwrap();
    assert_eq!(within("an answer", oldest.answer()).await.unwrap(), Some(json!({"ack": 1})));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = world.connect("press-2", Protocol::Json).await;
        connection.line(r#"{"temperature":1}"#).await.unwrap();
        assert_eq!(within("an answer", connection.answer()).await.unwrap(), Some(json!({"ack": 1})));
        connections.push(connection);
    }
    let refusal = within("the end of the oldest", oldest.answer()).await.unwrap().unwrap();
    assert_eq!(refusal["error"]["code"], json!("displaced"), "{refusal}");
    // The end of the stream comes later: if a program closed at once with it unread, its socket would be reset as if
    // the program were dead.
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), oldest.answer()).await;
    assert!(early.is_err(), "{early:?}");
    // It closes after the refusal, so its program is alive.
    drop(oldest);
    eventually("the count of displaced sessions that were alive", async || {
        let metrics = world.gateways[0].server.metrics().await;
        let line = "catchment_gateway_sessions_displaced_alive_total 1\n";
        if metrics.contains(line) { Ok(()) } else { Err(metrics) }
    })
    .await;
}
