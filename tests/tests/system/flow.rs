//! The main data path: readings of several devices at two sites, over both protocols, become the right aggregates.

use catchment_tests::{
    connection::Protocol,
    device::Sample,
    eventually::eventually,
    model::{QueryRequest, labels},
    this_second,
    world::World,
};

#[tokio::test]
async fn every_aggregate_of_every_series_and_step_equals_the_model() {
    let world = World::builder().gateway("berlin", "gw").gateway("lyon", "gw").start().await;
    let protocols = [Protocol::Json, Protocol::Frames];
    let mut devices = Vec::new();
    for gateway in 0..2 {
        for number in 0..3 {
            devices.push(world.device(gateway, &format!("press-{number}"), protocols[number % 2]));
        }
    }
    // From the previous second to the one after the next: some windows are already closed, some not yet open.
    let from = this_second() - 1000;
    let to = from + 4000;
    for tenth in 0..40_i64 {
        for (number, device) in (0_i64..).zip(&mut devices) {
            let time_ms = from + tenth * 100 + number * 7;
            let room = labels(&[("room", if tenth % 2 == 0 { "hall" } else { "yard" })]);
            let value = (tenth * 37 % 23 * 16 + number * 1024) as f64 / 64.0 - 8.0;
            let values = vec![("temperature".to_owned(), value), ("load".to_owned(), -value)];
            device.send(&Sample { time_ms, labels: room, values }).await;
        }
    }
    for device in &mut devices {
        device.settle().await;
        assert!(device.refused().is_empty(), "{:?}", device.refused());
    }
    let all = QueryRequest::new("temperature", from, to);
    world
        .agrees(&[
            all.clone().step(1000).by(&["site", "device", "room"]),
            all.clone().step(2000).by(&["site"]),
            all.clone().step(4000).by(&["device", "room"]),
            all.clone(),
            all.clone().by(&["gateway"]).matching(&[("site", "lyon")]),
            all.clone().step(1000).matching(&[("room", "yard"), ("device", "press-1")]),
            QueryRequest::new("load", from, to).step(1000).by(&["room"]),
            // A range that starts and ends within the others.
            QueryRequest::new("load", from + 1000, to - 1000).by(&["site", "device"]),
        ])
        .await;
}

#[tokio::test]
async fn open_windows_are_sent_live_and_replaced_when_they_close() {
    let day = 86_400_000;
    let world = World::builder()
        .gateway("berlin", "gw")
        .settings(|settings| {
            // A window that does not close within the test, unless the test runs at midnight UTC.
            settings.window = Some("1day".parse().unwrap());
            settings.live = Some("100ms".parse().unwrap());
        })
        .start()
        .await;
    let now = this_second();
    let query = QueryRequest::new("temperature", now / day * day, (now / day + 1) * day);
    let mut device = world.device(0, "press-1", Protocol::Json);
    for n in 0..5 {
        device.send(&Sample::one(now + n, "temperature", n as f64)).await;
        device.settle().await;
        let right = world.model.answer(&query, day);
        eventually("the live state of the open window", async || {
            let answer = world.query(&query).await.map_err(|status| status.to_string())?;
            let complete = answer.complete_until_ms.is_some_and(|until| until >= query.to_ms);
            assert!(!complete || this_second() >= query.to_ms, "an open window is not complete");
            if answer.table == right {
                Ok(())
            } else {
                Err(format!("expected {right:?}, got {:?}", answer.table))
            }
        })
        .await;
    }
}
