//! Shards of a gateway's folder that are missing or from another folder: a start does not treat them as empty.

use std::{fs, path::Path, time::Duration};

use catchment_settings::HumanDuration;
use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::eventually,
    model::QueryRequest,
    query, this_second,
    world::{WIDTH_MS, World},
};

use crate::owner::{exchange, good, refused, refuses_folder};

const GATEWAY: &str = "catchment-gateway";
/// Enough devices for each of two shards to have some.
const DEVICES: usize = 8;
/// How far ahead readings are accepted: windows may be lost up to there.
const FUTURE_MAX: Duration = Duration::from_secs(1);

fn devices(world: &World, gateway: usize) -> Vec<Device> {
    (0..DEVICES).map(|n| world.device(gateway, &format!("press-{n}"), Protocol::Json)).collect()
}

async fn send(devices: &mut [Device], metric: &str, from: i64) {
    for device in devices {
        for n in 0..10 {
            device.send(&Sample::one(from + n * 100, metric, (n + 1) as f64)).await;
        }
        device.settle().await;
    }
}

fn query(metric: &str, from: i64) -> Vec<QueryRequest> {
    vec![QueryRequest::new(metric, from, from + 2000).step(1000).by(&["site", "device"])]
}

#[tokio::test]
async fn a_missing_shard_prevents_a_start_until_it_is_restored_or_given_up() {
    let near =
        |settings: &mut catchment_gateway::Settings| settings.future_max = Some(HumanDuration(FUTURE_MAX));
    let mut world = World::builder().gateway("berlin", "gw").settings(near).start().await;
    let from = this_second() - 3000;
    let mut presses = devices(&world, 0);
    send(&mut presses, "temperature", from).await;
    world.agrees(&query("temperature", from)).await;
    world.aggregator.stop().await;
    send(&mut presses, "humidity", from).await;
    let server = &mut world.gateways[0].server;
    server.stop().await;
    let data = server.data();
    let (shard, moved) = (data.join("shard-1"), data.with_extension("moved"));
    fs::rename(&shard, &moved).unwrap();
    let message = refuses_folder(GATEWAY, server, None).await;
    assert!(
        message.contains("shard-1: the shard is gone") && message.contains("journal repair"),
        "{message}"
    );
    assert!(!shard.exists(), "a refused start creates nothing");
    let config = server.config_file().to_owned();
    let message = refused(GATEWAY, &[Path::new("--config"), &config, Path::new("--check-config")]).await;
    assert!(message.contains("the shard is gone"), "{message}");
    fs::rename(&moved, &shard).unwrap();
    world.aggregator.start().await;
    world.gateways[0].server.start().await;
    for metric in ["temperature", "humidity"] {
        world.agrees(&query(metric, from)).await;
    }

    // Given up repeatedly, also with an outbox that is still there: delivered partials stay, new readings are accepted,
    // and results over the loss are not complete.
    for (life, parts) in [&[""][..], &[""], &["journal", "checkpoint"]].into_iter().enumerate() {
        let server = &mut world.gateways[0].server;
        server.stop().await;
        for part in parts {
            fs::remove_dir_all(shard.join(part)).unwrap();
        }
        let printed =
            good(GATEWAY, &["journal", "repair", "--data", data.to_str().unwrap()].map(Path::new)).await;
        assert!(printed.contains("given up: ") && printed.contains("shard-1"), "{printed}");
        // The last windows of the lost shard.
        let lost = this_second();
        server.start().await;
        let mut again = devices(&world, 0);
        again.iter_mut().for_each(|device| device.reboot(&format!("life {life}")));
        let metric = format!("pressure_{life}");
        send(&mut again, &metric, this_second()).await;
        let channel = world.operator();
        let over = QueryRequest::new(&metric, lost, lost + WIDTH_MS);
        eventually("the gap of the loss", async || {
            let answer =
                query::aggregate(channel.clone(), &over).await.map_err(|status| status.to_string())?;
            match answer.complete_until_ms {
                None if !answer.table.is_empty() => Ok(()),
                until => Err(format!("{until:?}")),
            }
        })
        .await;
        tokio::time::sleep(FUTURE_MAX + Duration::from_millis(3 * WIDTH_MS as u64)).await;
        let (metric, later) = (format!("flow_{life}"), this_second());
        send(&mut again, &metric, later).await;
        world.agrees(&query(&metric, later)).await;
        assert_eq!(world.query(&over).await.unwrap().complete_until_ms, None, "it stays incomplete");
    }
    let delivered = world.model.answer(&query("temperature", from)[0], WIDTH_MS);
    let answer = world.query(&query("temperature", from)[0]).await.unwrap();
    assert_eq!(answer.table, delivered, "delivered partials stay");
}

#[tokio::test]
async fn a_shard_of_another_folder_is_refused() {
    let mut world = World::builder().gateway("berlin", "gw").gateway("lyon", "gw").start().await;
    let from = this_second() - 3000;
    world.aggregator.stop().await;
    for gateway in 0..2 {
        let mut presses = devices(&world, gateway);
        send(&mut presses, "temperature", from).await;
    }
    for gateway in &mut world.gateways {
        gateway.server.stop().await;
    }
    let (berlin, lyon) = (world.gateways[0].server.data(), world.gateways[1].server.data());
    for part in
        ["shard-0", "shard-1/journal", "shard-0/outbox", "shard-1/names", "shard-0/checkpoint", "epochs"]
    {
        let (own, other) = (berlin.join(part), lyon.join(part));
        if !own.exists() {
            continue;
        }
        exchange(&own, &other);
        let message = refuses_folder(GATEWAY, &mut world.gateways[0].server, None).await;
        assert!(message.contains("another data folder"), "{part}: {message}");
        let printed = refused_verify(&berlin).await;
        assert!(printed.contains("another data folder"), "{part}: {printed}");
        exchange(&own, &other);
    }
    world.aggregator.start().await;
    for gateway in &mut world.gateways {
        gateway.server.start().await;
    }
    world.agrees(&query("temperature", from)).await;
}

/// The output of `journal verify` for an incomplete folder.
async fn refused_verify(data: &Path) -> String {
    let data = data.display().to_string();
    let verify = move || catchment_tests::process::run(GATEWAY, &["journal", "verify", "--data", &data], "");
    let output = tokio::task::spawn_blocking(verify).await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
