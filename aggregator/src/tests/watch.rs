//! Watches over the wire: what is pushed, and that a cut loses nothing.

use std::collections::BTreeMap;

use catchment_proto::wire::{
    AggregateRequest, Header, WatchRequest, WatchReset, WatchResponse, watch_response::Kind,
};
use tonic::{Status, Streaming};

use super::rig::{Delivery, QueryResult, Running, TIMEOUT, World, query_request, run_query, series_name};
use crate::testing::{batch, key};

/// Labels, and start of a point.
type PointName = (String, i64);

/// A watch, and what its reader knows from it.
pub(super) struct Watcher {
    stream: Streaming<WatchResponse>,
    pub(super) header: Option<Header>,
    pub(super) points: BTreeMap<PointName, Vec<Option<f64>>>,
    /// Number of points received, also of those that replace others.
    pub(super) received: usize,
    pub(super) token: Vec<u8>,
    pub(super) complete_until_ms: Option<i64>,
    pub(super) merged: u64,
    pub(super) resets: Vec<WatchReset>,
}

impl Watcher {
    pub(super) async fn open(
        world: &World,
        running: &Running,
        request: WatchRequest,
    ) -> Result<Self, Status> {
        Self::of(world.query(running.addr).watch(request).await?.into_inner())
    }

    pub(super) fn of(stream: Streaming<WatchResponse>) -> Result<Self, Status> {
        Ok(Self {
            stream,
            header: None,
            points: BTreeMap::new(),
            received: 0,
            token: Vec::new(),
            complete_until_ms: None,
            merged: 0,
            resets: Vec::new(),
        })
    }

    /// Continues with the last token, and knows what was known.
    pub(super) async fn resume(&mut self, world: &World, running: &Running, request: WatchRequest) {
        let request = WatchRequest { resume: self.token.clone(), ..request };
        self.stream = world.query(running.addr).watch(request).await.unwrap().into_inner();
    }

    /// Takes the next message; returns whether a round ended with it.
    pub(super) async fn read(&mut self) -> Result<bool, Status> {
        let message = tokio::time::timeout(TIMEOUT, self.stream.message()).await.expect("a message")?;
        match message.and_then(|message| message.kind).expect("the watch continues") {
            Kind::Header(header) => self.header = Some(header),
            Kind::Series(series) => {
                let name = series_name(&series);
                for point in series.points {
                    self.received += 1;
                    let values = point.values.into_iter().map(|value| value.number).collect();
                    self.points.insert((name.clone(), point.start_ms), values);
                }
            }
            Kind::Reset(reset) => {
                self.points.retain(|(_, start), _| !(reset.from_ms..reset.to_ms).contains(start));
                self.resets.push(reset);
            }
            Kind::Progress(progress) => {
                assert!(progress.token.len() <= 4_096);
                (self.token, self.complete_until_ms) = (progress.token, progress.complete_until_ms);
                self.merged = progress.merged;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the rest of the round.
    pub(super) async fn round(&mut self) {
        while !self.read().await.unwrap() {}
    }

    /// Reads until it knows what a query says.
    pub(super) async fn agrees(&mut self, world: &World, running: &Running, request: &WatchRequest) {
        // Whole points, as a watch has them.
        let query =
            AggregateRequest { from_ms: 0, to_ms: 9_000_000_000_000, ..request.query.clone().unwrap() };
        let right = points(run_query(&mut world.query(running.addr), query).await.unwrap());
        while self.points != right {
            self.round().await;
        }
    }
}

fn points(result: QueryResult) -> BTreeMap<PointName, Vec<Option<f64>>> {
    let series = |(labels, points): (String, Vec<(i64, _)>)| {
        points.into_iter().map(move |(start_ms, values)| ((labels.clone(), start_ms), values))
    };
    result.series.into_iter().flat_map(series).collect()
}

/// Points of ten seconds by device, from the beginning.
pub(super) fn watch_request() -> WatchRequest {
    let query = AggregateRequest {
        from_ms: 1,
        step_ms: 10_000,
        by: vec!["device".to_owned()],
        ..query_request("temperature")
    };
    WatchRequest { query: Some(query), ..WatchRequest::default() }
}

pub(super) async fn deliver(delivery: &mut Delivery, number: u64, device: &str, readings: &[(i64, f64)]) {
    delivery.send(&batch(number, key(device, "temperature", &[]), readings, 60_000)).await;
    delivery.until(number).await.unwrap();
}

fn point(device: &str, start_ms: i64) -> PointName {
    (format!("device={device}"), start_ms)
}

#[tokio::test]
async fn new_and_corrected_points_are_pushed_also_of_new_series() {
    let world = World::new();
    let running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    deliver(&mut delivery, 1, "d1", &[(1_000, 1.0), (11_000, 2.0)]).await;
    let mut watch = Watcher::open(&world, &running, watch_request()).await.unwrap();
    watch.round().await;
    assert_eq!(watch.header.as_ref().unwrap().aggregates, ["count", "sum"]);
    assert_eq!(watch.points[&point("d1", 10_000)], [Some(1.0), Some(2.0)]);
    assert_eq!((watch.points.len(), watch.received), (2, 2));

    // A late part corrects one point, and a new series adds one; the others are not sent again.
    deliver(&mut delivery, 2, "d1", &[(2_000, 5.0)]).await;
    deliver(&mut delivery, 3, "d2", &[(21_000, 7.0)]).await;
    while watch.points.len() < 3 || watch.points[&point("d1", 0)] != [Some(2.0), Some(6.0)] {
        watch.round().await;
    }
    assert_eq!(watch.points[&point("d2", 20_000)], [Some(1.0), Some(7.0)]);
    assert!(watch.received <= 6, "only what changed: {}", watch.received);
    // Another metric is not watched.
    delivery.send(&batch(4, key("d3", "humidity", &[]), &[(1_000, 1.0)], 60_000)).await;
    delivery.until(4).await.unwrap();

    // The second shard reports, so that completeness is known; that is pushed without points.
    delivery.progress(1, 60_000, 0).await;
    while watch.complete_until_ms != Some(60_000) {
        watch.round().await;
    }
    watch.agrees(&world, &running, &watch_request()).await;
    running.until_metric("catchment_aggregator_watches 1").await;
    drop(watch);
    running.until_metric("catchment_aggregator_watches 0").await;
}

#[tokio::test]
async fn open_windows_are_pushed_on_request() {
    let world = World::new();
    let running = world.start().await;
    let delivery = world.delivery(running.addr, "berlin").await;
    let open = WatchRequest { open_windows: true, ..watch_request() };
    let mut closed = Watcher::open(&world, &running, watch_request()).await.unwrap();
    let mut watch = Watcher::open(&world, &running, open.clone()).await.unwrap();
    watch.round().await;
    closed.round().await;
    // Number 0: a live batch.
    for (count, readings) in [(1.0, &[(1_000, 1.0)][..]), (2.0, &[(1_000, 1.0), (2_000, 1.0)])] {
        let mut live = batch(0, key("d1", "temperature", &[]), readings, 0);
        live.entries.iter_mut().for_each(|entry| (entry.part, entry.revision) = (1, count as u64));
        delivery.send(&live).await;
        while watch.points.get(&point("d1", 0)).is_none_or(|values| values[0] != Some(count)) {
            watch.round().await;
        }
    }
    // The stream ends, and with it what is known of open windows.
    let token = watch.token.clone();
    drop(delivery);
    let mut delivery = world.delivery(running.addr, "berlin").await;
    deliver(&mut delivery, 1, "d2", &[(1_000, 1.0)]).await;
    while !closed.points.contains_key(&point("d2", 0)) {
        closed.round().await;
    }
    assert_eq!(closed.points.len(), 1, "no open window was sent to a watch of closed ones");
    let resumed = WatchRequest { resume: token, ..open };
    let mut resumed = Watcher::open(&world, &running, resumed).await.unwrap();
    while !resumed.points.contains_key(&point("d2", 0)) {
        resumed.round().await;
    }
}

#[tokio::test]
async fn a_watch_that_is_cut_at_random_ends_with_what_a_query_says() {
    let world = World::new();
    let mut running = world.start().await;
    let mut delivery = world.delivery(running.addr, "berlin").await;
    let mut watch = Watcher::open(&world, &running, watch_request()).await.unwrap();
    watch.round().await;
    let mut random = 42_u64;
    let mut below = |most: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % most
    };
    for number in 1..=150 {
        if number == 100 {
            drop(delivery);
            drop(watch.stream);
            running.stop().await.unwrap();
            running = world.start().await;
            assert_eq!(watch.resets, [], "the log held everything until here");
            delivery = world.delivery(running.addr, "berlin").await;
            let request = WatchRequest { resume: watch.token.clone(), ..watch_request() };
            watch.stream = world.query(running.addr).watch(request).await.unwrap().into_inner();
            watch.round().await;
        }
        let (device, at) = (format!("d{}", below(5)), below(60) as i64 * 1_000);
        let readings: Vec<_> = (0..=below(3) as i64).map(|n| (at + n * 10_000, below(9) as f64)).collect();
        delivery.send(&batch(number, key(&device, "temperature", &[]), &readings, 60_000)).await;
        match below(6) {
            // Cut, with messages read up to anywhere and others on their way.
            0 => {
                for _ in 0..below(4) {
                    if tokio::time::timeout(std::time::Duration::from_millis(20), watch.read()).await.is_err()
                    {
                        break;
                    }
                }
                watch.resume(&world, &running, watch_request()).await;
            }
            1 => {
                delivery.until(number).await.unwrap();
                watch.agrees(&world, &running, &watch_request()).await;
            }
            _ => {}
        }
    }
    deliver(&mut delivery, 151, "d1", &[(1_000, 1.0)]).await;
    watch.resume(&world, &running, watch_request()).await;
    watch.agrees(&world, &running, &watch_request()).await;
    assert_eq!(watch.resets.len(), 1, "{:?}", watch.resets);
    assert!(watch.resets[0].reason.contains("started anew"));
}

#[tokio::test]
async fn a_token_older_than_the_log_sends_everything_again() {
    let world = World::new();
    let mut config = world.config();
    config.watch.changes_bytes_max = 100;
    let running = Running::new(crate::bind(config).await.unwrap());
    let mut delivery = world.delivery(running.addr, "berlin").await;
    deliver(&mut delivery, 1, "d1", &[(1_000, 1.0)]).await;
    let mut watch = Watcher::open(&world, &running, watch_request()).await.unwrap();
    watch.round().await;
    let token = watch.token.clone();
    deliver(&mut delivery, 2, "d2", &[(1_000, 1.0)]).await;
    watch.resume(&world, &running, watch_request()).await;
    watch.agrees(&world, &running, &watch_request()).await;
    assert!(watch.received <= 3 && watch.resets.is_empty(), "only what changed since: {}", watch.received);
    for number in 3..20 {
        deliver(&mut delivery, number, "d1", &[(number as i64 * 10_000, 1.0)]).await;
    }
    watch.token = token;
    watch.resume(&world, &running, watch_request()).await;
    watch.agrees(&world, &running, &watch_request()).await;
    assert!(watch.resets.iter().any(|reset| reset.reason.contains("watch_changes")), "{:?}", watch.resets);
}
