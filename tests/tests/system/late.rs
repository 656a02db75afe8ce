//! Readings that arrive after their windows have closed: each is added exactly once.

use catchment_tests::{
    connection::Protocol,
    device::Sample,
    model::{ORDERED, QueryRequest},
    now_ms, this_second,
    world::World,
};

#[tokio::test]
async fn a_reading_for_a_delivered_window_is_added_to_it() {
    let world = World::small().await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    let from = this_second();
    device.send(&Sample::one(from + 100, "temperature", 20.0)).await;
    device.settle().await;
    let query = QueryRequest::new("temperature", from, from + 1000);
    // The window is closed and delivered; now the reading is late.
    world.complete(&query, from + 1000).await;
    device.send(&Sample::one(from + 50, "temperature", 40.0)).await;
    device.send(&Sample::one(from + 900, "temperature", 10.0)).await;
    device.settle().await;
    world.agrees(std::slice::from_ref(&query)).await;
    // Once more, for a window already delivered in two parts.
    device.send(&Sample::one(from + 999, "temperature", -5.0)).await;
    device.settle().await;
    world.agrees(&[query.clone().aggregates(&ORDERED), query]).await;
}

#[tokio::test]
async fn hours_of_history_are_folded_in_any_order() {
    let world = World::builder().gateway("berlin", "gw").gateway("berlin", "gw-2").start().await;
    let mut devices =
        [world.device(0, "press-1", Protocol::Frames), world.device(1, "press-2", Protocol::Json)];
    let hour = 3_600_000;
    let to = this_second();
    let from = to - 6 * hour;
    // Every 40 s of six hours, in an order that jumps back and forth: 541 windows, 4 readings each.
    let steps = 541;
    for device in &mut devices {
        for step in 0..steps {
            let time_ms = from + (step * 211 % steps) * 40_000;
            for offset in [700, 0, 999] {
                device.send(&Sample::one(time_ms + offset, "temperature", (step * 3 + offset) as f64)).await;
            }
        }
    }
    // The second device has readings at the same moments as the first: ties are broken by value.
    for device in &mut devices {
        for step in 0..steps {
            device.send(&Sample::one(from + step * 40_000, "temperature", (step % 7) as f64 - 3.0)).await;
        }
        device.settle().await;
    }
    let all = QueryRequest::new("temperature", from, to);
    world
        .agrees(&[
            all.clone().step(1000).by(&["device"]),
            all.clone().step(1000).aggregates(&["count", "sum", "min", "max", "first", "last"]),
            all.clone().step(hour).by(&["gateway"]),
            all.clone().step(10 * 60_000).by(&["device"]).aggregates(&ORDERED),
            all.clone().aggregates(&ORDERED),
            all,
        ])
        .await;
}

#[tokio::test]
async fn windows_before_1970_and_ahead_of_the_clock_are_counted() {
    let world = World::builder()
        .gateway("berlin", "gw")
        // More than fifty years in the past.
        .settings(|settings| settings.past_max = Some("36500d".parse().unwrap()))
        .start()
        .await;
    let mut device = world.device(0, "press-1", Protocol::Json);
    for time_ms in [-1, 0, 999, -86_400_000, -86_399_001] {
        device.send(&Sample::one(time_ms, "temperature", time_ms as f64)).await;
    }
    device.settle().await;
    assert!(device.refused().is_empty(), "{:?}", device.refused());
    world.agrees(&[QueryRequest::new("temperature", -86_401_000, 2000).step(1000)]).await;
    // Ahead of the clock: accepted, and delivered when the window has ended.
    let ahead = now_ms() / 1000 * 1000 + 3000;
    device.send(&Sample::one(ahead + 1, "temperature", 7.0)).await;
    device.settle().await;
    world.agrees(&[QueryRequest::new("temperature", ahead, ahead + 1000)]).await;
}
