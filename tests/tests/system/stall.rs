//! Peers that do nothing: beside them everybody else is served.

use catchment_tests::{
    connection::Protocol, device::Sample, eventually::within, model::Question, rogue, this_second,
    world::World,
};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn stalled_handshakes_and_idle_connections_stop_nobody() {
    let world = World::builder()
        .gateway("berlin", "gw")
        // So long that none of them ends within the test by itself.
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
    world.agrees(&[Question::new("temperature", from, from + 1000)]).await;
    // Those that were idle may begin at any time.
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
async fn a_handshake_that_does_not_end_is_ended() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.handshake_timeout = Some("300ms".parse().unwrap()))
        .start()
        .await;
    let mut stream = rogue::stalled_handshake(world.gateway_addr()).await;
    // An end or a reset, but the gateway hangs up.
    let _ = within("the gateway hangs up", stream.read_to_end(&mut Vec::new())).await;
    let mut stream = rogue::no_tls(world.gateway_addr()).await;
    let _ = within("the gateway hangs up", stream.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn the_oldest_of_too_many_connections_of_a_device_ends() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| settings.sessions_max = Some(2))
        .start()
        .await;
    let mut connections = Vec::new();
    for _ in 0..3 {
        let mut connection = world.connect("press-1", Protocol::Json).await;
        connection.line(r#"{"temperature":1}"#).await.unwrap();
        assert_eq!(within("an answer", connection.answer()).await.unwrap(), Some(json!({"ack": 1})));
        connections.push(connection);
    }
    let mut oldest = connections.remove(0);
    assert_eq!(within("the end of the oldest", oldest.answer()).await.unwrap(), None);
    for connection in &mut connections {
        connection.line(r#"{"temperature":2}"#).await.unwrap();
        assert_eq!(within("an answer", connection.answer()).await.unwrap(), Some(json!({"ack": 2})));
    }
}
