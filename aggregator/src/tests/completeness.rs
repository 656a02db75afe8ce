//! Completeness of answers: no known loss and no future time is claimed as complete.

use catchment_partial::{Timestamp, Width};
use catchment_proto::{
    History, Span,
    wire::{self, AggregateRequest, FleetRequest},
};

use super::rig::{Delivery, QueryResult, Running, World, query_request, run_query, site_gateway};
use crate::{
    clock,
    testing::{batch, key},
};

fn span(from_ms: i64, to_ms: i64) -> Span {
    let time = |ms| Timestamp::from_millis(ms).unwrap();
    Span { from: time(from_ms), to: time(to_ms) }
}

/// The history of the batches of [`deliver`] before this one.
fn before(number: u64) -> History {
    let mut history = History::default();
    (1..number as i64).for_each(|before| history.push(1, span(before * 10_000, (before + 1) * 10_000)));
    history
}

/// Delivers batches of one window each from `numbers`, of berlin's first shard: batch n has the window that starts at
/// n times ten seconds, and moves the watermark to the window's end.
async fn deliver(running: &Running, world: &World, numbers: std::ops::RangeInclusive<u64>) -> Delivery {
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let last = *numbers.end();
    if delivery.delivered[1] == 0 {
        // The second shard has nothing, up to a time beyond everything here.
        let mut empty = batch(1, key("d1", "x", &[]), &[], 10_000_000);
        empty.shard = 1;
        delivery.send(&empty).await;
    }
    for number in numbers {
        let start = number as i64 * 10_000;
        let mut batch = batch(number, key("d1", "m", &[]), &[(start, 1.0)], start + 10_000);
        batch.history = before(number);
        delivery.send(&batch).await;
    }
    delivery.until(last).await.unwrap();
    delivery
}

async fn query_range(running: &Running, world: &World, from_ms: i64, to_ms: i64) -> QueryResult {
    let request = AggregateRequest { from_ms, to_ms, ..query_request("m") };
    run_query(&mut world.query(running.addr), request).await.unwrap()
}

/// Waits until an answer over a range is complete up to a time.
async fn until_complete(
    running: &Running,
    world: &World,
    range: (i64, i64),
    until_ms: Option<i64>,
) -> QueryResult {
    let complete = async {
        loop {
            let answer = query_range(running, world, range.0, range.1).await;
            if answer.complete_until_ms == until_ms {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::rig::TIMEOUT, complete).await.expect("it becomes complete")
}

async fn gateway(running: &Running, world: &World) -> wire::Gateway {
    let request = FleetRequest { selector: String::new() };
    let mut stream = world.fleet(running.addr).list_gateways(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap()
}

/// An aggregator with these batches, whose folder was copied when it had only them.
async fn start_after_a_copy(world: &World, numbers: std::ops::RangeInclusive<u64>) -> Running {
    let running = world.start().await;
    drop(deliver(&running, world, numbers).await);
    running.stop().await.unwrap();
    world.copy_data("older");
    world.start().await
}

#[tokio::test]
async fn an_older_copy_of_the_store_reports_what_it_lacks() {
    let world = World::new();
    let running = start_after_a_copy(&world, 1..=3).await;
    drop(deliver(&running, &world, 4..=6).await);
    let whole = until_complete(&running, &world, (0, 1_000_000), Some(70_000)).await;
    assert_eq!(whole.gaps, []);
    running.stop().await.unwrap();

    world.swap_data("older");
    let running = world.start().await;
    drop(deliver(&running, &world, 7..=9).await);
    let gap = wire::Gap {
        site: "berlin".to_owned(),
        gateway: "g1".to_owned(),
        from_ms: Some(40_000),
        to_ms: 70_000,
        batches: 3,
    };
    let mut running = running;
    for round in ["shown", "read again"] {
        let answer = until_complete(&running, &world, (0, 1_000_000), Some(40_000)).await;
        assert_eq!(answer.gaps, std::slice::from_ref(&gap), "{round}");
        assert_eq!(query_range(&running, &world, 40_000, 50_000).await.gaps.len(), 1);
        for (from_ms, to_ms) in [(0, 40_000), (70_000, 1_000_000)] {
            let answer = until_complete(&running, &world, (from_ms, to_ms), Some(100_000)).await;
            assert_eq!(answer.gaps, [], "{from_ms} to {to_ms}");
        }
        assert_eq!(gateway(&running, &world).await.lost_batches, 3);
        let metrics = running.page("/metrics").await;
        assert!(metrics.contains("catchment_aggregator_store_lost_batches 3"), "{metrics}");
        running.stop().await.unwrap();
        running = world.start().await;
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_gateway_with_nothing_to_deliver_shows_what_an_older_copy_lacks() {
    let world = World::new();
    let running = start_after_a_copy(&world, 1..=1).await;
    drop(deliver(&running, &world, 2..=4).await);
    running.stop().await.unwrap();

    world.swap_data("older");
    let running = world.start().await;
    let delivery = world.delivery(running.addr, "berlin").await;
    assert_eq!(delivery.delivered, [1, 1]);
    let history = before(5).wire(Width::MIN);
    delivery.report(wire::Progress { shard: 0, watermark_ms: 50_000, number: 4, history }).await;
    let answer = until_complete(&running, &world, (0, 1_000_000), Some(20_000)).await;
    assert_eq!(answer.gaps.len(), 1);
    assert_eq!(
        (answer.gaps[0].from_ms, answer.gaps[0].to_ms, answer.gaps[0].batches),
        (Some(20_000), 50_000, 3)
    );
    assert_eq!(query_range(&running, &world, 0, 20_000).await.complete_until_ms, Some(50_000));
    drop(delivery);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn after_the_loss_of_a_store_everything_before_the_first_batch_is_missing() {
    let world = World::new();
    let running = world.start().await;
    drop(deliver(&running, &world, 5..=6).await);
    let answer = until_complete(&running, &world, (0, 1_000_000), Some(10_000)).await;
    let gap = &answer.gaps[0];
    assert_eq!((gap.from_ms, gap.to_ms, gap.batches), (Some(10_000), 50_000, 4), "from its first window on");
    let later = until_complete(&running, &world, (50_000, 1_000_000), Some(70_000)).await;
    assert_eq!(later.gaps, []);
    running.stop().await.unwrap();
}

/// A batch of each kind: with windows of late readings, long before its watermark, and with windows that a restarting
/// gateway closes early, after its watermark.
#[tokio::test]
async fn late_and_early_windows_of_lost_batches_are_not_claimed() {
    let world = World::new();
    let running = start_after_a_copy(&world, 1..=3).await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let mut lost = batch(4, key("d1", "m", &[]), &[(0, 5.0), (500_000, 7.0)], 50_000);
    lost.history = before(4);
    delivery.send(&lost).await;
    delivery.until(4).await.unwrap();
    let whole = until_complete(&running, &world, (0, 1_000_000), Some(50_000)).await;
    assert_eq!(whole.series[0].1[0].1[0], Some(5.0), "1 to 3, and both of 4");
    drop(delivery);
    running.stop().await.unwrap();

    world.swap_data("older");
    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let mut history = before(4);
    history.push(1, span(0, 510_000));
    for number in 5..=6 {
        let start = number as i64 * 10_000;
        let mut next = batch(number, key("d1", "m", &[]), &[(start, 1.0)], start + 10_000);
        next.history = history.clone();
        delivery.send(&next).await;
        history.push(1, span(start, start + 10_000));
    }
    delivery.until(6).await.unwrap();
    let ranges = [(-10_000, 0), (510_000, 900_000), (0, 10_000), (20_000, 30_000), (500_000, 510_000)];
    for (number, (from_ms, to_ms)) in ranges.into_iter().enumerate() {
        let answer = query_range(&running, &world, from_ms, to_ms).await;
        let claimed = number < 2;
        assert_eq!(answer.gaps.is_empty(), claimed, "{from_ms}: {answer:?}");
        match number {
            // The gateway holds nothing there, and has delivered beyond it.
            0 => assert!(answer.complete_until_ms > Some(1_000_000_000_000), "{answer:?}"),
            1 => assert_eq!(answer.complete_until_ms, Some(70_000), "{answer:?}"),
            _ => assert_eq!(answer.complete_until_ms, Some(0), "{from_ms}: {answer:?}"),
        }
    }
    // A gateway of an earlier version does not report what is missing: it may be anything.
    let older = batch(9, key("d1", "m", &[]), &[(90_000, 1.0)], 100_000);
    drop(delivery);
    let mut delivery = world.delivery(running.addr, "berlin").await;
    delivery.send(&older).await;
    delivery.until(9).await.unwrap();
    let answer = query_range(&running, &world, -10_000, 0).await;
    assert_eq!((answer.complete_until_ms, answer.gaps[0].from_ms, answer.gaps[0].batches), (None, None, 3));
    drop(delivery);
    running.stop().await.unwrap();
}

/// A number without a batch is reported, and batches follow.
#[tokio::test]
async fn the_count_of_lost_batches_survives_a_restart() {
    let world = World::new();
    let mut running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    delivery.progress(0, 10_000, 48).await;
    running.until_metric("catchment_aggregator_store_lost_batches 48").await;
    delivery.send(&batch(1, key("d1", "m", &[]), &[(0, 1.0)], 20_000)).await;
    delivery.until(1).await.unwrap();
    for _ in 0..2 {
        let metrics = running.page("/metrics").await;
        assert!(metrics.contains("catchment_aggregator_store_lost_batches 47"), "{metrics}");
        assert_eq!(gateway(&running, &world).await.lost_batches, 47);
        drop(delivery);
        running.stop().await.unwrap();
        running = world.start().await;
        delivery = world.delivery(running.addr, "berlin").await;
        delivery.progress(0, 30_000, 48).await;
    }
    drop(delivery);
    running.stop().await.unwrap();
}

/// 2223-01-01 and 2200-01-01.
const FAR_MS: i64 = 7_984_137_600_000;
const FAR_CREATED_MS: i64 = 7_258_118_400_000;

#[tokio::test]
async fn a_gateway_with_a_future_clock_is_not_believed_and_the_others_are() {
    let world = World::new();
    let running = world.start().await;
    let far = wire::Start {
        epoch: 9,
        epoch_created_ms: FAR_CREATED_MS,
        shards: 1,
        version: "far".to_owned(),
        ..wire::Start::default()
    };
    let channel = world.channel(running.addr, &site_gateway("munich"));
    let mut rogue = Delivery::begin(channel.clone(), far.clone()).await.unwrap();
    rogue.send(&batch(1, key("d1", "m", &[]), &[(20_000, 5.0)], 30_000)).await;
    rogue.send(&batch(2, key("d1", "m", &[]), &[(30_000, 7.0)], FAR_MS)).await;
    rogue.until(2).await.unwrap();
    rogue.progress(0, FAR_MS, 2).await;
    running.until_metric("catchment_aggregator_ingest_watermarks_refused_total 2").await;
    drop(deliver(&running, &world, 1..=4).await);

    let both = until_complete(&running, &world, (0, FAR_MS), Some(30_000)).await;
    assert_eq!(both.series[0].1[0].1, [Some(6.0), Some(16.0)], "readings are accepted, whatever is believed");
    let request = FleetRequest { selector: r#"{site="munich"}"#.to_owned() };
    let mut stream = world.fleet(running.addr).list_gateways(request).await.unwrap().into_inner();
    let listed = stream.message().await.unwrap().unwrap();
    assert_eq!(listed.watermark_ms, Some(30_000));
    assert!(listed.lag_ms.unwrap() > 0 && listed.clock_ahead_ms.unwrap() > 0, "{listed:?}");
    assert_eq!(gateway(&running, &world).await.clock_ahead_ms, None, "berlin");
    drop(rogue);
    running.stop().await.unwrap();

    // The folder comes back, and keeps the time at which it was first seen; a folder created since is newer.
    let running = world.start().await;
    let channel = world.channel(running.addr, &site_gateway("munich"));
    drop(Delivery::begin(channel.clone(), far.clone()).await.unwrap());
    let right = wire::Start { epoch: 11, epoch_created_ms: clock::now_ms(), ..far.clone() };
    let mut new = Delivery::begin(channel.clone(), right).await.unwrap();
    new.send(&batch(1, key("d1", "m", &[]), &[(40_000, 1.0)], 50_000)).await;
    new.until(1).await.unwrap();
    drop(new);
    drop(Delivery::begin(channel, far).await.unwrap());
    let munich = AggregateRequest { selector: r#"m{site="munich"}"#.to_owned(), ..query_request("m") };
    let answer = run_query(&mut world.query(running.addr), munich).await.unwrap();
    assert_eq!(answer.complete_until_ms, Some(50_000));
    let request = FleetRequest { selector: r#"{site="munich"}"#.to_owned() };
    let mut stream = world.fleet(running.addr).list_gateways(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().epoch, 11);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_clock_slightly_ahead_is_believed_but_no_answer_is_complete_beyond_now() {
    let world = World::new();
    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let soon = clock::now_ms() + 300_000;
    delivery.send(&batch(1, key("d1", "m", &[]), &[(20_000, 5.0)], soon)).await;
    delivery.until(1).await.unwrap();
    delivery.progress(1, soon, 0).await;
    let complete = async {
        loop {
            if let Some(until_ms) = query_range(&running, &world, 0, 1_000_000).await.complete_until_ms {
                return until_ms;
            }
            tokio::task::yield_now().await;
        }
    };
    let until_ms = tokio::time::timeout(super::rig::TIMEOUT, complete).await.expect("it is believed");
    assert!(until_ms < soon && until_ms <= clock::now_ms(), "{until_ms}");
    let listed = gateway(&running, &world).await;
    assert_eq!((listed.watermark_ms, listed.lag_ms, listed.clock_ahead_ms), (Some(soon), Some(0), None));
    assert!(
        !running.page("/metrics").await.contains("gateway_lag_seconds{site=\"berlin\",gateway=\"g1\"} -")
    );
    drop(delivery);
    running.stop().await.unwrap();
}

/// Asks to retire a gateway of site `site`; returns whether nothing had to change.
async fn retire(running: &Running, world: &World, site: &str, undo: bool) -> Result<bool, tonic::Status> {
    let request = wire::RetireGatewayRequest { site: site.to_owned(), gateway: "g1".to_owned(), undo };
    let response = world.fleet(running.addr).retire_gateway(request).await?;
    Ok(response.into_inner().unchanged)
}

#[tokio::test]
async fn a_gateway_that_is_gone_is_retired_and_comes_back_by_itself() {
    let world = World::new();
    let running = world.start().await;
    drop(deliver(&running, &world, 1..=4).await);
    let channel = world.channel(running.addr, &site_gateway("munich"));
    let start = wire::Start { epoch: 9, epoch_created_ms: 1, shards: 1, ..wire::Start::default() };
    let mut munich = Delivery::begin(channel, start.clone()).await.unwrap();
    let mut first = batch(1, key("d1", "m", &[]), &[(20_000, 5.0)], 30_000);
    first.refused = vec![catchment_proto::RefusedReadings { hour: 0, readings: 4 }];
    munich.send(&first).await;
    munich.send(&batch(2, key("d1", "m", &[]), &[(20_001, 5.0)], 30_000)).await;
    munich.until(2).await.unwrap();
    until_complete(&running, &world, (0, 1_000_000), Some(30_000)).await;
    let refused = retire(&running, &world, "munich", false).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
    let unknown = retire(&running, &world, "rome", false).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound, "{unknown}");
    assert!(unknown.message().contains("catchment gateways"), "{unknown}");

    drop(munich);
    let retired = async {
        while let Err(status) = retire(&running, &world, "munich", false).await {
            assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::rig::TIMEOUT, retired).await.expect("its stream ends");
    assert!(retire(&running, &world, "munich", false).await.unwrap(), "it is retired");
    let answer = until_complete(&running, &world, (0, 1_000_000), Some(50_000)).await;
    assert_eq!(answer.header.gateways_expected, 1, "{:?}", answer.header);
    running.until_metric("catchment_aggregator_retired_gateways 1").await;
    running.stop().await.unwrap();

    let running = world.start().await;
    until_complete(&running, &world, (0, 1_000_000), Some(50_000)).await;
    let channel = world.channel(running.addr, &site_gateway("munich"));
    let munich = Delivery::begin(channel, start).await.unwrap();
    let answer = until_complete(&running, &world, (0, 1_000_000), Some(30_000)).await;
    let header = &answer.header;
    assert_eq!((header.gateways_expected, header.gateways_behind), (2, 2));
    assert_eq!(
        (header.late_corrections, header.refused_readings),
        (1, 4),
        "they are as durable as the batches"
    );
    let [berlin, listed] = &header.gateways[..] else { panic!("{header:?}") };
    assert_eq!((&*berlin.site, berlin.connected, berlin.complete_until_ms), ("berlin", false, Some(50_000)));
    assert_eq!((&*listed.site, listed.connected, listed.refused_readings), ("munich", true, 4));
    assert!(listed.lag_ms > Some(1_000_000_000_000));
    drop(munich);
    running.stop().await.unwrap();
}
