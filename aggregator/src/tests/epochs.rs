//! Epochs: a Start alone changes nothing durable, and a gateway that creates too many stops only itself.

use catchment_proto::wire::FleetRequest;

use super::rig::{Delivery, Running, World, site_gateway};
use crate::testing::{batch, key};

async fn world(change: impl FnOnce(&mut crate::store::StoreConfig)) -> (World, Running) {
    let world = World::new();
    let mut config = world.config();
    change(&mut config.store);
    let running = Running::new(crate::bind(config).await.unwrap());
    (world, running)
}

/// Delivers one batch of an epoch, acknowledged.
async fn delivers(world: &World, running: &Running, site: &str, epoch: u64) -> Delivery {
    let channel = world.channel(running.addr, &site_gateway(site));
    let mut delivery = Delivery::start_as(channel, epoch, 7).await.unwrap();
    delivery.send(&batch(1, key("d1", "m", &[]), &[(10_000, 1.0)], 20_000)).await;
    delivery.until(1).await.unwrap();
    delivery
}

async fn epochs(running: &Running) -> String {
    let page = running.page("/metrics").await;
    let line = page.lines().find(|line| line.starts_with("catchment_aggregator_store_origins "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn bare_starts_leave_no_trace_and_lock_nobody_out() {
    let (world, running) = world(|store| store.epochs_max = 3).await;
    let bad = world.channel(running.addr, &site_gateway("berlin"));
    let mut begun = 0;
    for epoch in 1..=300 {
        // A stream whose predecessors have not ended yet may be refused.
        begun += usize::from(Delivery::start_as(bad.clone(), epoch, epoch).await.is_ok());
    }
    assert!(begun > 100, "{begun}");
    let mut hello =
        Delivery::start_as(world.channel(running.addr, &site_gateway("rome")), 1, 7).await.unwrap();
    hello.progress(0, 30_000, 0).await;
    hello.progress(1, 30_000, 0).await;
    drop(delivers(&world, &running, "lyon", 9).await);
    assert_eq!(epochs(&running).await, "catchment_aggregator_store_origins 1.0");
    // A gateway that has nothing to deliver is listed all the same.
    let mut shown = Vec::new();
    while shown != [("berlin", None), ("lyon", None), ("rome", Some(30_000))] {
        tokio::task::yield_now().await;
        shown.clear();
        let request = FleetRequest { selector: String::new() };
        let mut list = world.fleet(running.addr).list_gateways(request).await.unwrap().into_inner();
        while let Some(gateway) = list.message().await.unwrap() {
            let site = ["berlin", "lyon", "rome"].into_iter().find(|site| *site == gateway.site).unwrap();
            shown.push((site, gateway.watermark_ms));
        }
        shown.sort_unstable();
    }
    // Its reports before its first batch are kept.
    hello.send(&batch(1, key("d1", "m", &[]), &[(10_000, 1.0)], 20_000)).await;
    hello.until(1).await.unwrap();
    assert_eq!(epochs(&running).await, "catchment_aggregator_store_origins 2.0");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_gateway_at_its_limit_of_epochs_waits_and_the_others_do_not() {
    let (world, running) = world(|store| store.epochs_per_gateway_max = Some(3)).await;
    let channel = world.channel(running.addr, &site_gateway("berlin"));
    for epoch in 1..=2 {
        drop(delivers(&world, &running, "berlin", epoch).await);
    }
    // Two begin while there is room for one.
    let mut late = Delivery::start_as(channel.clone(), 4, 8).await.unwrap();
    drop(delivers(&world, &running, "berlin", 3).await);
    late.send(&batch(1, key("d1", "m", &[]), &[(10_000, 1.0)], 20_000)).await;
    let (shard, number, message) = late.refused().await;
    assert_eq!((shard, number), (0, 1));
    assert!(message.contains("3 of 3 of gateway berlin/g1"), "{message}");
    assert!(message.contains("raise epochs_per_gateway_max"), "{message}");
    let page = running.page("/metrics").await;
    assert!(page.contains(r#"ingest_refused_batches_total{reason="too_many_epochs"} 1"#), "{page}");
    assert!(page.contains(r#"condition{name="epochs_full"} 1"#), "{page}");
    let ready = running.page("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "one gateway's limit affects nobody else: {ready}");
    // Its stream begins all the same: its reports before it delivers count.
    let mut another = Delivery::start_as(channel, 5, 9).await.unwrap();
    another.send(&batch(1, key("d1", "m", &[]), &[(10_000, 1.0)], 20_000)).await;
    assert!(another.refused().await.2.contains("epochs_per_gateway_max"));
    drop(another);
    // A known folder continues, and so does every other gateway.
    let again = Delivery::start_as(world.channel(running.addr, &site_gateway("berlin")), 2, 7).await.unwrap();
    assert_eq!(again.delivered, [1, 0]);
    for epoch in 1..=3 {
        drop(delivers(&world, &running, "lyon", epoch).await);
    }
    running.stop().await.unwrap();
    let running = world.start().await;
    assert_eq!(epochs(&running).await, "catchment_aggregator_store_origins 6.0");
    running.stop().await.unwrap();
}
