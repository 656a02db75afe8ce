//! Watches that ask for too much, read too slowly, or outlive their server.

use std::time::Duration;

use catchment_proto::wire::{AggregateRequest, WatchRequest, query_client::QueryClient};
use tonic::{Code, Status};

use super::{
    rig::{Delivery, Running, World, channel_with, operator, site_gateway},
    watch::{Watcher, deliver, watch_request},
};
use crate::{
    Config,
    testing::{batch, key},
};

async fn start(world: &World, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = world.config();
    change(&mut config);
    Running::new(crate::bind(config).await.unwrap())
}

/// A watch of a client that buffers little before it reads.
async fn reluctant(world: &World, running: &Running) -> Watcher {
    let channel = channel_with(running.addr, &world.identity(&operator()), |endpoint| {
        endpoint.initial_stream_window_size(1_024).initial_connection_window_size(1 << 20)
    });
    Watcher::of(QueryClient::new(channel).watch(watch_request()).await.unwrap().into_inner()).unwrap()
}

/// Windows of one series, each second one: no two follow one another.
async fn spread(delivery: &mut Delivery, number: u64, value: f64) {
    let readings: Vec<_> = (0..6_000).map(|window| (window * 20_000, value)).collect();
    for (number, readings) in (number..).zip(readings.chunks(1_000)) {
        deliver(delivery, number, "d1", readings).await;
    }
}

async fn ended(watch: &mut Watcher) -> Status {
    loop {
        if let Err(status) = watch.read().await {
            return status;
        }
    }
}

#[tokio::test]
async fn a_slow_reader_is_merged_then_told_and_ends_with_what_a_query_says() {
    let world = World::new();
    let running = start(&world, |config| config.query.read_timeout = Duration::from_secs(3_600)).await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    spread(&mut delivery, 1, 1.0).await;
    let mut watch = reluctant(&world, &running).await;
    // Its first points do not fit into what it buffers.
    while running.page("/metrics").await.contains("watch_points_total 0") {}
    spread(&mut delivery, 7, 2.0).await;
    spread(&mut delivery, 13, 3.0).await;
    deliver(&mut delivery, 19, "d2", &[(1_000, 1.0)]).await;
    watch.agrees(&world, &running, &watch_request()).await;
    assert!(watch.merged > 0);
    let slow = watch.resets.iter().filter(|reset| reset.reason.contains("slow"));
    assert!(slow.count() > 0, "{:?}", watch.resets);
    // Merging means that a point was not sent for each of its changes.
    assert!(watch.received < 18_001, "{}", watch.received);
}

#[tokio::test]
async fn a_reader_that_reads_nothing_is_cut() {
    let world = World::new();
    let running = start(&world, |config| config.query.read_timeout = Duration::from_millis(300)).await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    spread(&mut delivery, 1, 1.0).await;
    let mut watch = reluctant(&world, &running).await;
    running.until_metric(r#"watches_ended_total{reason="unread"} 1"#).await;
    running.until_metric(r#"connections_cut_total{reason="answers_not_read"} 1"#).await;
    running.until_metric("catchment_aggregator_watches 0").await;
    let status = ended(&mut watch).await;
    assert_ne!(status.code(), Code::Ok);
}

#[tokio::test]
async fn watches_are_bounded() {
    let world = World::new();
    let running = start(&world, |config| {
        (config.watch.per_operator_max, config.watch.series_max) = (2, 3);
    })
    .await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let mut first = Watcher::open(&world, &running, watch_request()).await.unwrap();
    let second = Watcher::open(&world, &running, watch_request()).await.unwrap();
    let refused = Watcher::open(&world, &running, watch_request()).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("watches_per_operator_max"), "{refused:?}");
    drop(second);
    running.until_metric("catchment_aggregator_watches 1").await;

    // A watch that grows beyond its bound ends, and says what to raise; one that is larger from the start too.
    for number in 1..=4 {
        let device = format!("d{number}");
        deliver(&mut delivery, number, &device, &[(1_000, 1.0)]).await;
    }
    let status = ended(&mut first).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("watch_series_max"), "{status:?}");
    let mut large = Watcher::open(&world, &running, watch_request()).await.unwrap();
    assert_eq!(ended(&mut large).await.code(), Code::ResourceExhausted);
    running.until_metric("catchment_aggregator_watches 0").await;
    let query = AggregateRequest {
        selector: r#"temperature{device="d1"}"#.to_owned(),
        ..watch_request().query.unwrap()
    };
    let request = WatchRequest { query: Some(query), ..WatchRequest::default() };
    let mut small = Watcher::open(&world, &running, request.clone()).await.unwrap();
    small.agrees(&world, &running, &request).await;
}

#[tokio::test]
async fn wrong_requests_and_roles_are_refused() {
    let world = World::new();
    let running = world.start().await;
    let code = async |request| Watcher::open(&world, &running, request).await.err().unwrap();
    let without_step = AggregateRequest { step_ms: 0, ..watch_request().query.unwrap() };
    let without_step = WatchRequest { query: Some(without_step), ..WatchRequest::default() };
    for request in
        [WatchRequest::default(), without_step, WatchRequest { resume: b"token".to_vec(), ..watch_request() }]
    {
        assert_eq!(code(request).await.code(), Code::InvalidArgument);
    }
    let channel = world.channel(running.addr, &site_gateway("berlin"));
    let refused = QueryClient::new(channel).watch(watch_request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // Only the store knows that windows are wider than the step.
    let mut delivery = world.delivery(running.addr, "berlin").await;
    deliver(&mut delivery, 1, "d1", &[(1_000, 1.0)]).await;
    let narrow = AggregateRequest { step_ms: 1_000, ..watch_request().query.unwrap() };
    let narrow = WatchRequest { query: Some(narrow), ..WatchRequest::default() };
    let mut narrow = Watcher::open(&world, &running, narrow).await.unwrap();
    assert_eq!(ended(&mut narrow).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stop_ends_watches_in_order() {
    let world = World::new();
    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    delivery.send(&batch(1, key("d1", "temperature", &[]), &[(1_000, 1.0)], 60_000)).await;
    delivery.until(1).await.unwrap();
    let mut watch = Watcher::open(&world, &running, watch_request()).await.unwrap();
    watch.round().await;
    drop(delivery);
    let (status, stopped) = tokio::join!(ended(&mut watch), running.stop());
    stopped.unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("token"), "{status:?}");
    // Nothing of it holds the data folder.
    let running = world.start().await;
    watch.resume(&world, &running, watch_request()).await;
    watch.round().await;
    assert_eq!((watch.points.len(), watch.resets.len()), (1, 1));
}
