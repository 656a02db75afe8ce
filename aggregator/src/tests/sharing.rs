//! Concurrent operators: unread answers and too many queries of one take nothing from another.

use std::time::Duration;

use catchment_proto::wire::{
    AggregateRequest, FleetRequest, fleet_client::FleetClient, query_client::QueryClient,
};
use tonic::{Code, transport::Channel};

use super::rig::{Running, TIMEOUT, World, channel_with, operator, other_operator, query_request, run_query};
use crate::testing::{batch, key};

/// Far longer than anything here takes.
const NEVER: Duration = Duration::from_secs(3_600);
/// Queries whose answers are not read, and the limit of running ones.
const UNREAD: usize = 80;
const BEGUN: usize = 16;

/// An aggregator with large answers that waits long for its readers.
async fn world() -> (World, Running) {
    let world = World::new();
    let mut config = world.config();
    (config.query.timeout, config.query.read_timeout, config.stop_timeout) = (NEVER, NEVER, NEVER);
    let running = Running::new(crate::bind(config).await.unwrap());
    let mut delivery = world.delivery(running.addr, "berlin").await;
    for number in 1..=3 {
        let windows = (number as i64 - 1) * 2_000..number as i64 * 2_000;
        let readings: Vec<_> = windows.map(|window| (window * 10_000, 0.1 * window as f64)).collect();
        delivery.send(&batch(number, key("d1", "temperature", &[]), &readings, 60_000)).await;
    }
    delivery.until(3).await.unwrap();
    (world, running)
}

/// Some megabytes.
fn large() -> AggregateRequest {
    let aggregates = ["count", "sum", "mean", "min", "max", "first", "last", "stddev", "p50", "p90", "p99"];
    AggregateRequest {
        to_ms: 100_000_000,
        step_ms: 10_000,
        aggregates: aggregates.map(str::to_owned).to_vec(),
        ..query_request("temperature")
    }
}

/// A client that buffers little before it reads.
fn reluctant(world: &World, running: &Running) -> Channel {
    channel_with(running.addr, &world.identity(&operator()), |endpoint| {
        endpoint.initial_stream_window_size(1_024).initial_connection_window_size(1 << 20)
    })
}

#[tokio::test]
async fn unread_answers_of_one_operator_do_not_block_another() {
    let (world, running) = world().await;
    let channels = [reluctant(&world, &running), reluctant(&world, &running)];
    let unread: Vec<_> = (0..UNREAD)
        .map(|number| {
            let mut client = QueryClient::new(channels[number % 2].clone());
            tokio::spawn(async move { client.aggregate(large()).await })
        })
        .collect();
    let (begun, waiting) =
        (format!("queries_running {BEGUN}"), format!("queries_waiting {}", UNREAD - BEGUN));
    running.until_metric(&begun).await;
    running.until_metric(&waiting).await;

    let eve = world.channel(running.addr, &other_operator());
    let mut client = QueryClient::new(eve.clone());
    let running_query = run_query(&mut client, query_request("temperature"));
    let answer = tokio::time::timeout(TIMEOUT, running_query).await.expect("an answer").unwrap();
    assert_eq!(answer.series.len(), 1);
    let mut devices = FleetClient::new(eve).list_devices(FleetRequest::default()).await.unwrap().into_inner();
    assert_eq!(devices.message().await.unwrap().unwrap().device, "d1");
    drop(devices);
    // Meanwhile nothing of the other answers was read.
    running.until_metric(&begun).await;
    running.until_metric(&waiting).await;
    unread.iter().for_each(tokio::task::JoinHandle::abort);
    drop((unread, channels));
    running.until_metric("queries_running 0").await;
    running.until_metric("query_memory_bytes 0").await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_operator_with_too_many_queries_is_refused_with_a_reason() {
    let world = World::new();
    let mut config = world.config();
    (config.query.per_operator_max, config.query.waiting_per_operator_max) = (1, 1);
    (config.query.timeout, config.query.read_timeout) = (NEVER, NEVER);
    let running = Running::new(crate::bind(config).await.unwrap());
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let readings: Vec<_> = (0..4_000).map(|window| (window * 10_000, 0.1 * window as f64)).collect();
    delivery.send(&batch(1, key("d1", "temperature", &[]), &readings, 60_000)).await;
    delivery.until(1).await.unwrap();
    let channel = reluctant(&world, &running);
    let mut client = QueryClient::new(channel.clone());
    let unread = client.aggregate(large()).await.unwrap();
    let waiting = {
        let mut client = client.clone();
        tokio::spawn(async move { client.aggregate(large()).await })
    };
    running.until_metric("queries_waiting 1").await;
    let status = client.aggregate(query_request("temperature")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("waiting already"), "{status}");
    running.until_metric(r#"queries_refused_total{reason="too_many_waiting"} 1"#).await;
    let mut eve = QueryClient::new(world.channel(running.addr, &other_operator()));
    run_query(&mut eve, query_request("temperature")).await.unwrap();
    drop(unread);
    drop(waiting.await.unwrap().unwrap());
    drop((client, channel));
    running.stop().await.unwrap();
}
