//! A gateway that was offline for long: its backlog survives a kill and arrives in full alongside fresh readings.

use std::path::PathBuf;

use catchment_gateway::Settings;
use catchment_settings::HumanDuration;
use catchment_tests::{
    connection::{Connection, Protocol},
    device::Sample,
    eventually::{eventually, within},
    model::QueryRequest,
    this_second,
    world::World,
};
use serde_json::json;

/// Series of the device.
const SERIES: usize = 500;
/// Windows of each series: over all series some 8 MiB of partials, more than a segment of the outbox.
const WINDOWS: i64 = 800;

/// Size of a segment of an outbox, in bytes.
const SEGMENT_BYTES: u64 = 4 << 20;

/// Sends one reading per series and window, one line per window, and waits for the acknowledgements.
async fn send(world: &World, connection: &mut Connection, from: i64) {
    for window in 0..WINDOWS {
        let time = from + window * 1000;
        let readings = (0..SERIES).map(|series| {
            let value = (series as i64 * 7 + window) as f64 / 4.0;
            world.note("history", &[("n", &series.to_string())], "m", time, value);
            json!({"ts": time, "labels": {"n": series.to_string()}, "values": {"m": value}})
        });
        let line = serde_json::Value::Array(readings.collect()).to_string();
        within("the gateway reads", connection.line(&line)).await.unwrap();
    }
    let last = json!(WINDOWS);
    while within("an acknowledgement", connection.answer()).await.unwrap().unwrap()["ack"] != last {}
}

/// All files below the outboxes of a gateway's data folder.
fn outbox_files(world: &World) -> Vec<PathBuf> {
    let below = |folder| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let shards = below(world.gateways[0].server.data());
    shards.flat_map(|shard| below(shard.path().join("outbox"))).map(|file| file.path()).collect()
}

/// Bytes of all files below the outboxes.
fn outbox_bytes(world: &World) -> u64 {
    outbox_files(world).iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

#[tokio::test]
async fn a_backlog_survives_a_kill_and_arrives_alongside_fresh_readings() {
    let nothing_kept = |settings: &mut Settings| settings.outbox_keep = Some(HumanDuration::secs(0));
    let mut world = World::builder().gateway("berlin", "gw").settings(nothing_kept).processes().start().await;
    world.aggregator.link.cut();
    let from = this_second() - WINDOWS * 1000 - 10_000;
    let mut connection = world.connect("history", Protocol::Json).await;
    send(&world, &mut connection, from).await;
    drop(connection);
    let backlog = eventually("the backlog is in the outbox", async || {
        let bytes = outbox_bytes(&world);
        let full = bytes > SEGMENT_BYTES + SEGMENT_BYTES / 2;
        if full { Ok(outbox_files(&world)) } else { Err(format!("{bytes} bytes")) }
    })
    .await;
    world.gateways[0].server.kill();
    world.gateways[0].server.start().await;
    world.aggregator.link.resume();
    let now = this_second();
    let mut device = world.device(0, "press-1", Protocol::Frames);
    for n in 0..500 {
        device.send(&Sample::one(now + n, "fresh", n as f64)).await;
    }
    device.settle().await;
    let history = QueryRequest::new("m", from, from + WINDOWS * 1000).aggregates(&["count", "sum", "first"]);
    let fresh = QueryRequest::new("fresh", now, now + 1000);
    world.agrees(&[history.clone().step(1000).by(&["n"]), history, fresh]).await;
    eventually("delivered partials are released", async || {
        // The first file of the shard that has two; a segment that is not full yet stays.
        if backlog.iter().all(|file| file.exists()) { Err(format!("{backlog:?}")) } else { Ok(()) }
    })
    .await;
}
