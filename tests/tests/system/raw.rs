//! Raw readings on demand: what devices were told is durable comes back from the gateway's journal, through the
//! aggregator, also after kills, and what is not there any more is reported.

use catchment_gateway::Settings;
use catchment_proto::wire::{RawRequest, RawStatus, query_client::QueryClient, raw_response::Kind};
use catchment_tests::{
    connection::Protocol,
    device::{Device, Sample},
    eventually::eventually,
    model::QueryRequest,
    this_second,
    world::World,
};

/// Readings of a phase: one every 100 ms.
const READINGS: i64 = 300;

fn raw_kept(settings: &mut Settings) {
    settings.raw_keep = Some("1h".parse().unwrap());
}

async fn send(device: &mut Device, from: i64, phase: i64) {
    for n in phase * READINGS..(phase + 1) * READINGS {
        let mut sample = Sample::one(from + n * 100, "temperature", n as f64 / 4.0);
        sample.values.push(("pressure".to_owned(), -(n as f64)));
        device.send(&sample).await;
    }
    device.settle().await;
}

/// Times in milliseconds and values, and the statuses of the gateways.
async fn raw(
    world: &World,
    selector: &str,
    (from_ms, to_ms): (i64, i64),
    readings_max: u64,
) -> Result<(Vec<(i64, f64)>, Vec<RawStatus>), String> {
    let request = RawRequest { selector: selector.to_owned(), from_ms, to_ms, readings_max };
    let mut client = QueryClient::new(world.operator());
    let mut stream = client.raw(request).await.map_err(|status| status.to_string())?.into_inner();
    let (mut found, mut statuses) = (Vec::new(), Vec::new());
    while let Some(message) = stream.message().await.map_err(|status| status.to_string())? {
        match message.kind.unwrap() {
            Kind::Series(series) => {
                assert_eq!((&*series.labels["site"], &*series.labels["device"]), ("berlin", "press"));
                let mut time = 0;
                for (step, value) in series.time_ns.iter().zip(&series.values) {
                    time += step;
                    found.push((time / 1_000_000, *value));
                }
            }
            Kind::Gateway(gateway) => statuses.push(gateway.status()),
        }
    }
    Ok((found, statuses))
}

fn right(from: i64, range: std::ops::Range<i64>) -> Vec<(i64, f64)> {
    range.map(|n| (from + n * 100, n as f64 / 4.0)).collect()
}

#[tokio::test]
async fn raw_readings_come_back_through_kills_each_once() {
    let mut world = World::builder().gateway("berlin", "gw").settings(raw_kept).processes().start().await;
    let from = this_second() - 600_000;
    let mut device = world.device(0, "press", Protocol::Json);
    let windows = QueryRequest::new("temperature", from, from + 3_600_000);
    for phase in 0..3 {
        send(&mut device, from, phase).await;
        world.gateways[0].server.kill();
        world.gateways[0].server.start().await;
    }
    world.agrees(&[windows.clone().step(1000).by(&["device"]), windows]).await;
    let all = (from, from + 3 * READINGS * 100);
    let found = eventually("a stream that answers", async || {
        let (found, statuses) = raw(&world, r#"temperature{device="press"}"#, all, 0).await?;
        if statuses == [RawStatus::Complete] { Ok(found) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    assert_eq!(found, right(from, 0..3 * READINGS), "in the order in which they came");
    let (found, statuses) = raw(&world, "temperature", (from + 10_000, from + 20_000), 0).await.unwrap();
    assert_eq!((found, statuses), (right(from, 100..200), vec![RawStatus::Complete]));
    let (found, statuses) = raw(&world, "temperature", all, 7).await.unwrap();
    assert_eq!((found, statuses), (right(from, 0..7), vec![RawStatus::Limit]));
    let (found, statuses) = raw(&world, "temprature", all, 0).await.unwrap();
    assert!(found.is_empty() && statuses.is_empty());
    let refused = raw(&world, "temperature", (from, from), 0).await.unwrap_err();
    assert!(refused.contains("the range is empty"), "{refused}");
    world.gateways[0].server.kill();
    let statuses = eventually("the aggregator notices", async || {
        let (found, statuses) = raw(&world, "temperature", all, 0).await?;
        if found.is_empty() { Ok(statuses) } else { Err("still answered".to_owned()) }
    })
    .await;
    assert_eq!(statuses, [RawStatus::NotConnected]);
}

#[tokio::test]
async fn a_gateway_that_keeps_none_says_so() {
    let world = World::small().await;
    let from = this_second() - 600_000;
    let mut device = world.device(0, "press", Protocol::Frames);
    send(&mut device, from, 0).await;
    world.agrees(&[QueryRequest::new("temperature", from, from + 3_600_000)]).await;
    let (found, statuses) = raw(&world, "temperature", (from, from + 60_000), 0).await.unwrap();
    assert_eq!((found, statuses), (vec![], vec![RawStatus::NotKept]));
}
