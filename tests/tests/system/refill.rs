//! Aggregators that lost what they had acknowledged: restored from a copy, or empty. Gateways deliver it again, each
//! reading once, whatever is killed meanwhile.

use std::{fs, path::Path, time::Duration};

use catchment_gateway::Settings;
use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    model::QueryRequest,
    query, this_second,
    world::{WIDTH_MS, World},
};

use crate::lost::copy;

/// Windows of a phase, each with two readings of each series.
const WINDOWS: i64 = 40;
/// Series beside `temperature`: over all phases some megabytes of partials.
const SERIES: usize = 400;

/// Sends the history of one phase.
async fn send(device: &mut Device, from: i64, phase: i64) {
    for half in 0..2 * WINDOWS {
        let time = from + (phase * 2 * WINDOWS + half) * WIDTH_MS / 2;
        let mut sample = Sample::one(time, "temperature", (half * 7 + phase) as f64 / 4.0);
        sample
            .values
            .extend((0..SERIES).map(|series| (format!("voltage_{series}"), (half + series as i64) as f64)));
        device.send(&sample).await;
    }
    device.settle().await;
}

/// All windows of three series, and their sums.
fn queries(from: i64) -> Vec<QueryRequest> {
    let of = |metric: &str| QueryRequest::new(metric, from, from + 3_600_000);
    let all = ["temperature", "voltage_0", "voltage_399"].map(of);
    all.iter().cloned().map(|query| query.step(1000).by(&["device"])).chain(all.iter().cloned()).collect()
}

fn replace(data: &Path, by: Option<&Path>) {
    fs::remove_dir_all(data).unwrap();
    if let Some(copied) = by {
        copy(copied, data);
    }
}

#[tokio::test]
async fn an_aggregator_that_is_restored_or_empty_is_refilled_even_with_kills() {
    let mut world = World::builder().gateway("berlin", "gw").processes().start().await;
    let from = this_second() - 3_600_000;
    let mut device = world.device(0, "press", Protocol::Json);
    let (data, older) = (world.aggregator.data(), world.dir().join("older"));
    send(&mut device, from, 0).await;
    world.agrees(&queries(from)).await;
    world.aggregator.stop().await;
    copy(&data, &older);
    world.aggregator.start().await;
    send(&mut device, from, 1).await;
    world.agrees(&queries(from)).await;
    for (phase, by) in [(2, Some(older.as_path())), (3, None)] {
        world.aggregator.kill();
        replace(&data, by);
        world.aggregator.start().await;
        // Killed while it is refilled, or before, or after: each must come out the same.
        tokio::time::sleep(Duration::from_millis(150)).await;
        world.aggregator.kill();
        world.gateways[0].server.kill();
        world.gateways[0].server.start().await;
        world.aggregator.start().await;
        send(&mut device, from, phase).await;
        world.agrees(&queries(from)).await;
        let list = query::gateways(world.operator(), "").await.unwrap();
        assert_eq!((list.len(), list[0].lost_batches), (1, 0), "{list:?}");
    }
}

/// The gateway counts what it delivers a second time, and only that.
#[tokio::test]
async fn what_is_delivered_a_second_time_is_counted() {
    let http = |settings: &mut Settings| settings.http = Some(([127, 0, 0, 1], 0).into());
    let mut world = World::builder().gateway("berlin", "gw").settings(http).start().await;
    let from = this_second() - 3_600_000;
    let mut device = world.device(0, "press", Protocol::Frames);
    send(&mut device, from, 0).await;
    world.agrees(&queries(from)).await;
    let resent = async |world: &World| {
        let page = world.gateways[0].server.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix("catchment_gateway_batches_resent_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    world.aggregator.stop().await;
    world.aggregator.start().await;
    send(&mut device, from, 1).await;
    world.agrees(&queries(from)).await;
    assert_eq!(resent(&world).await, 0, "the aggregator lacked nothing");
    world.aggregator.stop().await;
    replace(&world.aggregator.data(), None);
    world.aggregator.start().await;
    world.agrees(&queries(from)).await;
    assert!(resent(&world).await > 0);
}
