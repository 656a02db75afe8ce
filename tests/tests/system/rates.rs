//! Rates: a device that sends too much waits and loses nothing; a site that returns at once is served.

use catchment_tests::{
    connection::{Connection, Credentials, Protocol},
    device::Sample,
    eventually::{eventually, within},
    model::QueryRequest,
    now_ms,
    world::World,
};
use tokio::task::JoinSet;

/// The value of a metric of the gateway.
async fn metric(world: &World, name: &str) -> Option<f64> {
    let page = world.gateways[0].server.metrics().await;
    page.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

async fn until_metric(world: &World, name: &str, right: impl Fn(f64) -> bool) {
    eventually(name, async || match metric(world, name).await {
        Some(value) if right(value) => Ok(()),
        value => Err(format!("{name} is {value:?}")),
    })
    .await;
}

/// Checks that an honest device delivers and its readings count.
async fn is_served(world: &World, name: &str) {
    let from = now_ms() / 1000 * 1000;
    let mut device = world.device(0, name, Protocol::Json);
    for n in 0..10 {
        device.send(&Sample::one(from + n, "pressure", n as f64)).await;
    }
    device.settle().await;
    world.agrees(&[QueryRequest::new("pressure", from, from + 1000)]).await;
}

/// Waits for the acknowledgement of so many messages.
async fn acknowledged(connection: &mut Connection, messages: u64) {
    loop {
        let answer = within("an answer", connection.answer()).await.unwrap().expect("it stays open");
        assert!(answer["error"].is_null(), "nothing is refused: {answer}");
        if answer["ack"].as_u64() == Some(messages) {
            return;
        }
    }
}

#[tokio::test]
async fn a_device_that_sends_too_much_waits_and_loses_nothing() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            settings.http = Some(([127, 0, 0, 1], 0).into());
            settings.shards = Some(1);
            // 10,000 at once.
            settings.readings_per_second_max = Some(2_000);
            // Shorter than the device waits.
            settings.idle_timeout = Some("600ms".parse().unwrap());
            settings.message_timeout = Some("300ms".parse().unwrap());
        })
        .start()
        .await;
    let mut first = world.connect("fast", Protocol::Json).await;
    let line = format!("[{}]\n", ["{\"temperature\":1}"; 10].join(","));
    // Reads split lines: each unfinished one waits too.
    first.send(line.repeat(1_800).as_bytes()).await.unwrap();
    until_metric(&world, "catchment_gateway_devices_delayed ", |devices| devices == 1.0).await;
    // Another connection of the device waits for the same tokens; another device does not.
    let mut second = world.connect("fast", Protocol::Json).await;
    second.line("{\"temperature\":1}").await.unwrap();
    is_served(&world, "honest").await;
    tokio::join!(acknowledged(&mut first, 1_800), acknowledged(&mut second, 1));
    until_metric(&world, "catchment_gateway_readings_total ", |readings| readings == 18_011.0).await;
    until_metric(&world, "catchment_gateway_rate_waits_total ", |waits| waits > 0.0).await;
    until_metric(&world, "catchment_gateway_devices_delayed ", |devices| devices == 0.0).await;
}

#[tokio::test]
async fn a_site_that_returns_at_once_is_smoothed_and_served() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            settings.http = Some(([127, 0, 0, 1], 0).into());
            settings.sessions_max = Some(1_000);
            settings.handshakes_max = Some(48);
            // 200 at once.
            settings.handshake_rate_per_address = Some(50);
            settings.handshake_timeout = Some("60s".parse().unwrap());
        })
        .start()
        .await;
    let (identity, addr) = (world.pki.device("berlin", "crowd"), world.gateways[0].server.direct_addr());
    // One that is connected stays served while the others return.
    let from = now_ms() / 1000 * 1000;
    let mut beside = world.device(0, "beside", Protocol::Json);
    beside.send(&Sample::one(from, "pressure", 0.0)).await;
    beside.settle().await;
    let mut crowd = JoinSet::new();
    for _ in 0..320 {
        let identity = identity.clone();
        crowd.spawn(async move {
            let opening = Connection::open(addr, Credentials::of(&identity), Protocol::Json);
            let mut connection = within("a connection", opening).await.unwrap();
            connection.line("{\"temperature\":1}").await.unwrap();
            acknowledged(&mut connection, 1).await;
            connection
        });
    }
    until_metric(&world, "catchment_gateway_handshakes_waiting ", |waiting| waiting > 0.0).await;
    for n in 1..10_i32 {
        beside.send(&Sample::one(from + i64::from(n), "pressure", f64::from(n))).await;
    }
    beside.settle().await;
    let waits = metric(&world, "catchment_gateway_handshakes_waiting ").await;
    assert!(waits > Some(0.0), "the device beside them waited for all of them");
    let connections = crowd.join_all().await;
    until_metric(&world, "catchment_gateway_readings_total ", |readings| readings == 330.0).await;
    let throttled = "catchment_gateway_handshakes_failed_total{reason=\"throttled\"} ";
    assert_eq!(metric(&world, throttled).await, Some(0.0));
    is_served(&world, "honest").await;
    assert_eq!(connections.len(), 320);
}
