//! Queries and lists over the wire: grouping, steps, limits, authorization.

use std::time::Duration;

use catchment_proto::wire::{AggregateRequest, FleetRequest};
use tonic::Code;

use super::rig::{Running, TIMEOUT, World, query_request, run_query};
use crate::testing::{batch, key};

/// Two sites with a gateway each, five windows of ten seconds.
async fn fleet() -> (World, Running) {
    let world = World::new();
    let running = world.start().await;
    for (site, offset, watermark) in [("berlin", 0.0, 60_000), ("munich", 100.0, 50_000)] {
        let mut delivery = world.delivery(running.addr, site).await;
        let readings = |factor: f64| -> Vec<(i64, f64)> {
            (0..50).map(|second| (second * 1_000, offset + factor * second as f64)).collect()
        };
        delivery.send(&batch(1, key("d1", "temperature", &[("room", "1")]), &readings(1.0), watermark)).await;
        delivery.send(&batch(2, key("d2", "temperature", &[]), &readings(2.0), watermark)).await;
        delivery.send(&batch(3, key("d2", "humidity", &[]), &readings(3.0), watermark)).await;
        // The second shard has closed as much, without partials.
        let mut empty = batch(1, key("d1", "x", &[]), &[], watermark);
        empty.shard = 1;
        delivery.send(&empty).await;
        delivery.until(3).await.unwrap();
        drop(delivery);
    }
    (world, running)
}

#[tokio::test]
async fn answers_are_grouped_stepped_and_complete() {
    let (world, running) = fleet().await;
    let mut client = world.query(running.addr);
    let count = |answer: &super::rig::QueryResult| {
        answer.series.iter().map(|(_, points)| points.len()).collect::<Vec<_>>()
    };

    let all = run_query(&mut client, query_request("temperature")).await.unwrap();
    assert_eq!(all.aggregates, ["count", "sum"]);
    assert_eq!(all.series.len(), 1);
    assert_eq!(all.series[0].1[0].1[0], Some(200.0));

    let by = AggregateRequest {
        by: vec!["site".into(), "device".into(), "room".into()],
        step_ms: 20_000,
        ..query_request("temperature")
    };
    let by = run_query(&mut client, by).await.unwrap();
    let labels: Vec<&str> = by.series.iter().map(|(labels, _)| labels.as_str()).collect();
    assert_eq!(
        labels,
        [
            "device=d1,room=1,site=berlin",
            "device=d1,room=1,site=munich",
            "device=d2,site=berlin",
            "device=d2,site=munich"
        ]
    );
    assert_eq!(count(&by), [3, 3, 3, 3]);
    // 20 s to 40 s of berlin's d1: 20 + 21 + … + 39.
    assert_eq!(by.series[0].1[1], (20_000, vec![Some(20.0), Some(590.0)]));

    let part = AggregateRequest {
        from_ms: 10_000,
        to_ms: 40_000,
        step_ms: 20_000,
        aggregates: vec!["count".into(), "p50".into(), "last".into(), "last_time".into()],
        ..query_request(r#"temperature{site="berlin",device=~"d1|d9"}"#)
    };
    let part = run_query(&mut client, part).await.unwrap();
    assert_eq!(part.complete_until_ms, Some(60_000));
    let points = &part.series[0].1;
    assert_eq!(points[0].0, 0);
    assert_eq!(points[0].1[0], Some(10.0), "only the window that starts in the range");
    assert_eq!(points[1], (20_000, vec![Some(20.0), points[1].1[1], Some(39.0), Some(39.0)]));

    let both = run_query(&mut client, query_request(r#"{__name__=~".*idity"}"#)).await.unwrap();
    assert_eq!(both.complete_until_ms, Some(50_000));
    let nothing = run_query(&mut client, query_request("pressure")).await.unwrap();
    assert_eq!((nothing.complete_until_ms, nothing.series.len()), (None, 0));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn rates_add_up_and_follow_live_windows() {
    let (world, running) = fleet().await;
    let mut client = world.query(running.addr);
    let rates = |step_ms| AggregateRequest {
        from_ms: 0,
        to_ms: 60_000,
        step_ms,
        by: vec!["site".into()],
        aggregates: ["rate", "changes", "time_weighted_mean", "last"].map(str::to_owned).into(),
        ..query_request("temperature")
    };
    // Two series: 1 and 2 a second, read 49 times a second apart from the start of the range on. The counters begin at
    // 0, and end 11 s before the range does: extrapolated by half a second.
    let before = run_query(&mut client, rates(0)).await.unwrap();
    let rate = |seconds: f64, factor: f64| factor * seconds / 60.0;
    let points = &before.series[0].1;
    let close = |got: Option<f64>, expected: f64| (got.unwrap() - expected).abs() < 1e-9;
    assert!(close(points[0].1[0], rate(49.5, 1.0) + rate(49.5, 2.0)), "{points:?}");
    assert_eq!(points[0].1[1..], [Some(98.0), Some((24.0 + 48.0) / 2.0), Some(98.0)]);

    let delivery = world.delivery(running.addr, "berlin").await;
    let readings = |seconds: std::ops::Range<i64>| -> Vec<(i64, f64)> {
        seconds.map(|second| (second * 1_000, second as f64)).collect()
    };
    let device = || key("d1", "temperature", &[("room", "1")]);
    for (number, seconds, end) in [(0, 50..55, 54.5), (4, 50..60, 60.0)] {
        delivery.send(&batch(number, device(), &readings(seconds), 60_000)).await;
        let seen = async {
            loop {
                let answer = run_query(&mut client, rates(0)).await.unwrap();
                if close(answer.series[0].1[0].1[0], rate(end, 1.0) + rate(49.5, 2.0)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, seen).await.unwrap();
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn unanswerable_queries_are_refused_with_advice() {
    let (world, running) = fleet().await;
    let mut client = world.query(running.addr);
    for (request, part) in [
        (AggregateRequest { step_ms: 15_000, ..query_request("temperature") }, "10000 ms wide"),
        (AggregateRequest { selector: "sum(temperature)".into(), ..query_request("x") }, "not supported"),
        (AggregateRequest { to_ms: 0, ..query_request("temperature") }, "range is empty"),
        (
            AggregateRequest { aggregates: vec!["p101".into()], ..query_request("temperature") },
            "unknown aggregate",
        ),
    ] {
        let status = run_query(&mut client, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(part), "{status}");
    }
    running.stop().await.unwrap();

    let mut config = world.config();
    config.query.points_max = 9;
    let running = Running::new(crate::bind(config).await.unwrap());
    let mut client = world.query(running.addr);
    let steps = |by: &[&str]| AggregateRequest {
        step_ms: 10_000,
        by: by.iter().map(|label| (*label).to_owned()).collect(),
        ..query_request("temperature")
    };
    assert_eq!(run_query(&mut client, steps(&[])).await.unwrap().series[0].1.len(), 5);
    let status = run_query(&mut client, steps(&["site"])).await.unwrap_err();
    assert!(status.message().contains("more than 9 points"), "{status}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_fleet_is_listed() {
    let (world, running) = fleet().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let mut client = world.fleet(running.addr);
    let request = |selector: &str| FleetRequest { selector: selector.to_owned() };

    let mut stream = client.list_devices(request("")).await.unwrap().into_inner();
    let mut devices = Vec::new();
    while let Some(device) = stream.message().await.unwrap() {
        devices.push((device.site, device.gateway, device.device, device.series, device.last_seen_ms));
    }
    let device =
        |site: &str, name: &str, series| (site.to_owned(), "g1".to_owned(), name.to_owned(), series, 49_000);
    assert_eq!(
        devices,
        [
            device("berlin", "d1", 1),
            device("berlin", "d2", 2),
            device("munich", "d1", 1),
            device("munich", "d2", 2)
        ]
    );

    let mut stream = client.list_gateways(request(r#"{site=~"b.*"}"#)).await.unwrap().into_inner();
    let berlin = stream.message().await.unwrap().unwrap();
    assert_eq!(
        (berlin.site.as_str(), berlin.connected, berlin.version.as_str()),
        ("berlin", true, "0.1-test")
    );
    assert_eq!((berlin.devices, berlin.series, berlin.watermark_ms), (2, 3, Some(60_000)));
    assert!(berlin.lag_ms.unwrap() > 0);
    assert!(stream.message().await.unwrap().is_none());

    let mut stream = client.list_series(request(r#"temperature{room!=""}"#)).await.unwrap().into_inner();
    let series = stream.message().await.unwrap().unwrap();
    assert_eq!((series.metric.as_str(), series.labels["room"].as_str()), ("temperature", "1"));
    assert_eq!((series.labels["site"].as_str(), series.labels["device"].as_str()), ("berlin", "d1"));
    assert_eq!((series.first_window_ms, series.last_window_ms), (0, 40_000));

    let status = client.list_gateways(request(r#"{room="1"}"#)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("site, gateway"), "{status}");
    delivery.send(&batch(4, key("d3", "temperature", &[]), &[(55_000, 1.0)], 70_000)).await;
    delivery.until(4).await.unwrap();
    running.stop().await.unwrap();
}
