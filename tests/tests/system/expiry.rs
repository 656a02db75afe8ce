//! Devices that were away for longer than `device_expiry` are forgotten; connected devices are not. Kills and restarts
//! in between do not change results.

use std::time::Duration;

use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::{eventually, within},
    model::QueryRequest,
    this_second,
    world::World,
};
use serde_json::{Value, json};

const EXPIRY: Duration = Duration::from_secs(10);

/// Sends one message and waits until it is durable.
async fn send(device: &mut Device, time_ms: i64, value: f64) {
    device.send(&Sample::one(time_ms, "temperature", value)).await;
    device.settle().await;
}

/// The highest durable number that a gateway knows of a device's epoch.
async fn known(world: &World, device: &str, epoch: &str) -> Value {
    let mut connection = within("a connection", world.connect(device, Protocol::Json)).await;
    let hello = json!({"hello": {"epoch": epoch}}).to_string();
    within("the gateway reads", connection.line(&hello)).await.unwrap();
    let welcome = within("a welcome", connection.answer()).await.unwrap().expect("a welcome");
    welcome["welcome"]["ack"].clone()
}

/// Waits until a device's epoch is forgotten, with longer pauses each time, because a connection counts as use.
async fn until_forgotten(world: &World, device: &str, epoch: &str) {
    for times in [2, 3, 5, 8] {
        tokio::time::sleep(EXPIRY * times).await;
        if known(world, device, epoch).await == 0 {
            return;
        }
    }
    panic!("{device} was not forgotten");
}

#[tokio::test]
async fn a_device_that_returns_after_its_expiry_counts_once_even_with_kills_in_between() {
    let mut world = World::builder()
        .gateway("berlin", "gw")
        .processes()
        .settings(|settings| {
            settings.device_expiry = Some(catchment_settings::HumanDuration(EXPIRY));
            settings.future_max = Some(catchment_settings::HumanDuration::secs(1));
        })
        .start()
        .await;
    let from = this_second() - 10_000;
    let mut away = world.device(0, "away", Protocol::Json);
    let mut silent = world.device(0, "silent", Protocol::Frames);
    send(&mut away, from, 1.0).await;
    send(&mut silent, from, 2.0).await;
    send(&mut silent, from + 1_000, 4.0).await;
    away.disconnect();
    world.gateways[0].server.kill();
    world.gateways[0].server.start().await;
    assert_eq!(known(&world, "away", "boot-1").await, 1, "a kill forgets no device");
    // It connects and then sends nothing.
    send(&mut silent, from + 2_000, 8.0).await;
    until_forgotten(&world, "away", "boot-1").await;

    world.gateways[0].server.kill();
    world.gateways[0].server.start().await;
    assert_eq!(known(&world, "silent", "boot-1").await, 3, "it was connected all the time");
    send(&mut silent, from + 3_000, 16.0).await;
    // As documented: a new epoch, and readings of the same windows and series.
    away.reboot("boot-2");
    for step in 0..3 {
        send(&mut away, from + 100 + step * 1_000, 32.0).await;
        match step {
            0 => world.gateways[0].server.kill(),
            _ => world.gateways[0].server.stop().await,
        }
        world.gateways[0].server.start().await;
        away.disconnect();
    }
    assert_eq!(known(&world, "away", "boot-2").await, 3);
    assert_eq!(known(&world, "away", "boot-1").await, 0);
    let all = QueryRequest::new("temperature", from, from + 10_000);
    world.agrees(&[all.clone().step(1000).by(&["device"]), all]).await;
}

#[tokio::test]
async fn a_new_device_beyond_the_limit_is_refused_with_a_reason_and_known_ones_are_served() {
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            settings.devices_max = Some(1);
            settings.http = Some(([127, 0, 0, 1], 0).into());
        })
        .start()
        .await;
    let line = json!({"ts": this_second(), "values": {"temperature": 1.0}}).to_string();
    let mut first = world.connect("press-1", Protocol::Json).await;
    let mut second = world.connect("press-2", Protocol::Json).await;
    for ack in 1..=2 {
        first.line(&line).await.unwrap();
        assert_eq!(within("an ack", first.answer()).await.unwrap(), Some(json!({"ack": ack})));
        if ack == 1 {
            second.line(&line).await.unwrap();
            let refusal = within("a refusal", second.answer()).await.unwrap().expect("words");
            assert_eq!(refusal["error"]["code"], "too_many_devices", "{refusal}");
            assert_eq!(within("the end", second.answer()).await.unwrap(), None);
        }
    }
    let server = &world.gateways[0].server;
    eventually("the condition", async || {
        let metrics = server.metrics().await;
        let held = metrics.contains("catchment_gateway_condition{name=\"devices_full\"} 1\n");
        if held { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert_eq!(server.http("/readyz").await.0, 200);
}
