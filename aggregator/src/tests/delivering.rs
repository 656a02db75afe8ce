//! Delivery over the wire: batches, repeats, gaps, newer streams, a store that fails.

use std::sync::Arc;

use catchment_proto::{
    batch::BATCH_BYTES_MAX,
    wire::{self, fleet_client::FleetClient},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::rig::{Delivery, Running, TIMEOUT, World, operator, query_request, run_query, site_gateway};
use crate::{
    bind,
    metrics::Metrics,
    server,
    testing::{Fault, MemoryStore, batch, key},
};

#[tokio::test]
async fn acknowledged_batches_are_answered_after_a_restart() {
    let world = World::new();
    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    assert_eq!(delivery.delivered, [0, 0]);
    let series = || key("d1", "temperature", &[("room", "3")]);
    delivery.send(&batch(1, series(), &[(1_000, 1.0), (12_000, 2.0)], 20_000)).await;
    delivery.send(&batch(2, series(), &[(25_000, 4.0)], 30_000)).await;
    delivery.until(2).await.unwrap();
    let answer = run_query(&mut world.query(running.addr), query_request("temperature")).await.unwrap();
    let expected = [(String::new(), vec![(0, vec![Some(3.0), Some(7.0)])])];
    assert_eq!(answer.series, expected);
    // The other shard has not closed anything yet.
    assert_eq!(answer.complete_until_ms, None);
    running.stop().await.unwrap();
    let status = delivery.until(3).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");

    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    assert_eq!(delivery.delivered, [2, 0]);
    // Sends it again, and the next one.
    delivery.send(&batch(2, series(), &[(25_000, 4.0)], 30_000)).await;
    delivery.send(&batch(3, series(), &[(26_000, 8.0)], 40_000)).await;
    delivery.until(3).await.unwrap();
    let answer = run_query(&mut world.query(running.addr), query_request("temperature")).await.unwrap();
    assert_eq!(answer.series[0].1, [(0, vec![Some(4.0), Some(15.0)])]);
    let metrics = running.page("/metrics").await;
    assert!(metrics.contains("catchment_aggregator_ingest_duplicates_total 1"), "{metrics}");
    assert!(metrics.contains("catchment_aggregator_store_series 1"), "{metrics}");
    assert!(metrics.contains(r#"gateway_connected{site="berlin",gateway="g1"} 1"#), "{metrics}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_newer_stream_ends_the_older() {
    let world = World::new();
    let running = world.start().await;
    let mut old = world.delivery(running.addr, "berlin").await;
    let mut other = world.delivery(running.addr, "munich").await;
    let mut new = world.delivery(running.addr, "berlin").await;
    let status = old.until(1).await.unwrap_err();
    assert_eq!((status.code(), status.message().contains("superseded")), (Code::Aborted, true), "{status}");
    for delivery in [&mut new, &mut other] {
        delivery.send(&batch(1, key("d1", "m", &[]), &[(1_000, 1.0)], 20_000)).await;
        delivery.until(1).await.unwrap();
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn gaps_and_oversize_end_the_stream_with_their_reason() {
    let world = World::new();
    let running = world.start().await;
    let small = |number| batch(number, key("d1", "m", &[]), &[(1_000, 1.0)], 20_000);
    let mut delivery = world.delivery(running.addr, "berlin").await;
    delivery.send(&small(1)).await;
    delivery.send(&small(3)).await;
    let status = delivery.until(3).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");

    // At the start of a stream, a store that lost batches accepts what comes next.
    let mut delivery = world.delivery(running.addr, "berlin").await;
    assert_eq!(delivery.delivered, [1, 0]);
    delivery.send(&small(5)).await;
    delivery.until(5).await.unwrap();
    assert!(running.page("/metrics").await.contains("catchment_aggregator_ingest_gaps_total 3"));

    for compressible in [true, false] {
        let mut delivery = world.delivery(running.addr, "berlin").await;
        let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
        let body: Vec<u8> =
            (0..BATCH_BYTES_MAX + 4_096).map(|i| if compressible { 0 } else { noise(i) }).collect();
        let mut large = wire::Batch::from(&small(6));
        large.body_bytes = vec![body.len() as u32];
        large.bodies = body.into();
        delivery.send_wire(large).await;
        let status = delivery.until(6).await.unwrap_err();
        assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status}");
    }
    running.stop().await.unwrap();
}

/// An aggregator on a store that a test can make fail.
async fn start_on_memory(world: &World) -> (Arc<MemoryStore>, Running) {
    let config = world.config();
    let store = Arc::new(MemoryStore::default());
    let trusted = server::identity(&config).unwrap();
    let aggregator =
        server::bind_with(config, trusted, Arc::clone(&store) as _, Metrics::new()).await.unwrap();
    (store, Running::new(aggregator))
}

#[tokio::test]
async fn a_failed_store_is_reported_and_ends_the_process() {
    let world = World::new();
    let (store, running) = start_on_memory(&world).await;
    assert!(running.page("/readyz").await.starts_with("HTTP/1.1 200"));
    let health = HealthClient::new(world.channel(running.addr, &operator()));
    let request = HealthCheckRequest { service: "catchment.v1.Ingest".to_owned() };
    let mut watch = health.clone().watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    let mut delivery =
        Delivery::start(world.channel(running.addr, &site_gateway("berlin")), 1).await.unwrap();
    store.fail(Fault::Fails);
    delivery.send(&batch(1, key("d1", "m", &[]), &[(1_000, 1.0)], 20_000)).await;
    let status = delivery.until(1).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    // Not serving, then the end of the watch.
    assert_eq!(watch.message().await.unwrap().map(|answer| answer.status), Some(2));
    let error = running.ended().await.unwrap_err().to_string();
    assert!(error.contains("the disk failed"), "{error}");
    assert!(store.closed());
}

/// The reason is reported until the server has ended, and it does not end before its store is closed.
#[tokio::test]
async fn a_folder_that_is_gone_is_named_while_the_server_ends() {
    let world = World::new();
    let (store, running) = start_on_memory(&world).await;
    let closing = store.gate.write().await;
    store.lose_folder("data/lock was removed");
    let (mut ready, mut metrics) = (String::new(), String::new());
    while !ready.contains("stopping") {
        ready = running.page("/readyz").await;
        metrics = running.page("/metrics").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        assert!(ready.contains("folder_gone: data/lock was removed"), "{ready}");
        assert!(ready.contains("the store has failed: data/lock was removed"), "{ready}");
    }
    assert!(metrics.contains(r#"condition{name="folder_gone"} 1"#), "{metrics}");
    drop(closing);
    assert!(running.ended().await.is_err() && store.closed());
}

/// gRPC health reports the same as `/readyz`.
#[tokio::test]
async fn health_follows_readiness() {
    let world = World::new();
    let mut config = world.config();
    config.store.series_max = 1;
    let running = Running::new(bind(config).await.unwrap());
    let health = HealthClient::new(world.channel(running.addr, &operator()));
    let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let mut watch = health.clone().watch(request("")).await.unwrap().into_inner();
    let mut next = async || {
        let answer = tokio::time::timeout(TIMEOUT, watch.message()).await.expect("an answer");
        answer.unwrap().unwrap().status
    };
    assert_eq!(next().await, 1, "serving");
    let channel = world.channel(running.addr, &site_gateway("berlin"));
    let mut delivery = Delivery::start_as(channel, 1, 7).await.unwrap();
    for (number, metric) in [(1, "a"), (2, "b")] {
        delivery.send(&batch(number, key("d1", metric, &[]), &[(1_000, 1.0)], 20_000)).await;
    }
    delivery.refused().await;
    assert_eq!(next().await, 2, "not serving");
    assert!(running.page("/readyz").await.starts_with("HTTP/1.1 503"));
    let ingest = health.clone().check(request("catchment.v1.Ingest")).await.unwrap().into_inner();
    assert_eq!(ingest.status, 2);
    // The gateway has gone, and with it its waiting batches.
    drop(delivery);
    assert_eq!(next().await, 1, "serving again");
    drop(watch);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn new_series_without_room_wait_while_other_shards_and_sites_continue_until_some_are_forgotten() {
    let world = World::new();
    let mut config = world.config();
    (config.store.series_max, config.store.series_per_gateway_max) = (8, Some(3));
    let running = Running::new(bind(config).await.unwrap());
    let channel = |site| world.channel(running.addr, &site_gateway(site));
    let mut berlin = Delivery::start_as(channel("berlin"), 1, 7).await.unwrap();
    assert_eq!(berlin.series_max, Some(2), "half of its site's limit");
    let of = |shard, number, metric: &str| {
        let readings = [(number as i64 * 10_000, 1.0)];
        let mut batch = batch(number, key("d1", metric, &[]), &readings, number as i64 * 10_000);
        batch.shard = shard;
        batch
    };
    for (number, metric) in [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "a")] {
        berlin.send(&of(0, number, metric)).await;
    }
    let (shard, number, message) = berlin.refused().await;
    assert_eq!((shard, number), (0, 4));
    let why = "no room for 1 new series: gateway berlin/g1 may have 3 series and has 3; \
               raise series_per_gateway_max to 4 or more, or forget series";
    assert_eq!(message, why);
    // Other shards and sites are not affected, and a known series is always accepted.
    berlin.send(&of(1, 1, "a")).await;
    berlin.acked(1, 1).await;
    let mut lyon = Delivery::start_as(channel("lyon"), 1, 8).await.unwrap();
    lyon.send(&of(0, 1, "z")).await;
    lyon.acked(0, 1).await;

    while berlin.series_max != Some(3) {
        berlin.answer().await;
    }
    let ready = running.page("/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("series_full: gateway berlin/g1 waits"),
        "{ready}"
    );
    let mut fleet = world.fleet(running.addr);
    let request = wire::FleetRequest { selector: "{site=\"berlin\"}".to_owned() };
    let mut list = fleet.list_gateways(request).await.unwrap().into_inner();
    let known = list.message().await.unwrap().unwrap();
    assert_eq!((known.series, known.series_max, known.waits_for.as_str()), (3, Some(3), why));
    let metrics = running.page("/metrics").await;
    for line in [
        "store_series_max 8.0\n",
        r#"gateway_series{site="berlin",gateway="g1"} 3.0"#,
        r#"gateway_series_max{site="berlin",gateway="g1"} 3.0"#,
        r#"ingest_refused_batches_total{reason="too_many_series"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }

    let forget =
        |selector: &str, dry_run| wire::ForgetSeriesRequest { selector: selector.to_owned(), dry_run };
    for empty in ["", "{}", " "] {
        let status = fleet.forget_series(forget(empty, false)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let mut other = FleetClient::new(channel("berlin"));
    let status = other.forget_series(forget("b", true)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let answer = fleet.forget_series(forget("b", true)).await.unwrap().into_inner();
    assert_eq!(answer.series, 1);
    let answer = fleet.forget_series(forget("b", false)).await.unwrap().into_inner();
    assert_eq!(answer.series, 1);
    let answer = fleet.forget_series(forget("b", false)).await.unwrap().into_inner();
    assert_eq!(answer.series, 0);
    // The gateway's folder still has the name; its budget rises, and the waiting batch is accepted.
    while berlin.series_max != Some(4) {
        berlin.answer().await;
    }
    berlin.send(&of(0, 4, "d")).await;
    berlin.send(&of(0, 5, "a")).await;
    berlin.acked(0, 5).await;
    assert!(running.page("/readyz").await.starts_with("HTTP/1.1 200"));
    let answer = run_query(&mut world.query(running.addr), query_request("{site=\"berlin\"}")).await.unwrap();
    assert_eq!(answer.series[0].1, [(0, vec![Some(5.0), Some(5.0)])]);
    // People see the limit that applies here: the name that only its folder has does not count.
    let request = wire::FleetRequest { selector: "{site=\"berlin\"}".to_owned() };
    let mut list = fleet.list_gateways(request).await.unwrap().into_inner();
    let known = list.message().await.unwrap().unwrap();
    assert_eq!((known.series, known.series_max), (3, Some(3)));
    running.stop().await.unwrap();
}
