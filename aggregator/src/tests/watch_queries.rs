//! Watches of what queries can ask: several selectors, labels to merge over, calendar steps, arithmetic.

use catchment_proto::wire::{AggregateRequest, CalendarStep, WatchRequest, calendar_step::Unit};

use super::{
    rig::World,
    watch::{Watcher, deliver, watch_request},
};
use crate::testing::{batch, key};

/// The start of November 2024 in Berlin: 23:00 of the day before in UTC.
const NOVEMBER_MS: i64 = 1_730_415_600_000;

fn watched(query: AggregateRequest) -> WatchRequest {
    WatchRequest { query: Some(query), ..WatchRequest::default() }
}

#[tokio::test]
async fn a_series_of_several_selectors_is_pushed_for_each_also_if_it_is_new() {
    let world = World::new();
    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    deliver(&mut delivery, 1, "d1", &[(1_000, 1.0), (2_000, 3.0)]).await;
    let request = watched(AggregateRequest {
        more_selectors: vec![r#"{device=~"d1|d3"}"#.to_owned()],
        by: Vec::new(),
        without: vec!["gateway".to_owned(), "site".to_owned()],
        aggregates: vec!["sum/count".to_owned(), "count".to_owned()],
        ..watch_request().query.unwrap()
    });
    let mut watch = Watcher::open(&world, &running, request.clone()).await.unwrap();
    watch.round().await;
    let name = |name: &str| (name.to_owned(), 0);
    let both = [name("1:__name__=temperature,device=d1"), name("__name__=temperature,device=d1")];
    assert!(watch.points.keys().eq(&both), "{:?}", watch.points);
    assert!(watch.points.values().all(|values| *values == [Some(2.0), Some(2.0)]), "{:?}", watch.points);
    let header = watch.header.clone().unwrap();
    assert_eq!((header.request_version, header.gateways_expected, header.gateways.len()), (1, 1, 1));
    assert!(header.gateways[0].connected);

    // New ones: of the first selector, of the second, of both.
    deliver(&mut delivery, 2, "d2", &[(1_000, 1.0)]).await;
    delivery.send(&batch(3, key("d1", "humidity", &[]), &[(1_000, 1.0)], 60_000)).await;
    delivery.until(3).await.unwrap();
    deliver(&mut delivery, 4, "d3", &[(1_000, 1.0)]).await;
    watch.agrees(&world, &running, &request).await;
    assert_eq!(watch.points.len(), 6, "{:?}", watch.points);

    // A correction while nobody reads: both points of the series come after the token.
    deliver(&mut delivery, 5, "d1", &[(3_000, 5.0)]).await;
    watch.received = 0;
    watch.resume(&world, &running, request.clone()).await;
    watch.agrees(&world, &running, &request).await;
    assert!((2..=4).contains(&watch.received) && watch.resets.is_empty(), "{}", watch.received);
}

#[tokio::test]
async fn calendar_points_end_where_their_zone_says() {
    let world = World::new();
    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let step = |unit: Unit| AggregateRequest {
        step_ms: 0,
        calendar_step: Some(CalendarStep { unit: unit as i32, count: 1 }),
        time_zone: "Europe/Berlin".to_owned(),
        ..watch_request().query.unwrap()
    };
    let months = watched(step(Unit::Month));
    let mut months_of = Watcher::open(&world, &running, months.clone()).await.unwrap();
    let days = watched(AggregateRequest { from_ms: NOVEMBER_MS - 1, ..step(Unit::Day) });
    let mut days_of = Watcher::open(&world, &running, days).await.unwrap();
    months_of.round().await;
    days_of.round().await;
    let readings = [(NOVEMBER_MS - 1_000, 1.0), (NOVEMBER_MS, 2.0), (NOVEMBER_MS + 86_400_000, 3.0)];
    deliver(&mut delivery, 1, "d1", &readings).await;
    // Before the watch of days begins.
    deliver(&mut delivery, 2, "d1", &[(NOVEMBER_MS - 100_000_000, 4.0)]).await;
    months_of.agrees(&world, &running, &months).await;
    let starts = |watch: &Watcher| watch.points.keys().map(|(_, start_ms)| *start_ms).collect::<Vec<_>>();
    // October began in summer time.
    assert_eq!(starts(&months_of), [NOVEMBER_MS - 31 * 86_400_000 - 3_600_000, NOVEMBER_MS]);
    while days_of.points.len() < 3 {
        days_of.round().await;
    }
    let day = |day: i64| NOVEMBER_MS + day * 86_400_000;
    assert_eq!(starts(&days_of), [day(-1), day(0), day(1)]);
}
