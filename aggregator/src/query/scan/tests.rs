mod asking;
mod flat;
mod parallel;

use std::sync::Arc;

use catchment_proto::{
    Name, OperatorId,
    wire::{StateValue, Value},
};
use futures_util::StreamExt as _;

use super::{
    super::{messages::MESSAGE_BYTES, runner::Runner},
    *,
};
use crate::{
    access::{CallingOperator, Disconnect},
    config::QueryLimits,
    metrics::Metrics,
    store::{GatewayEpoch, IngestStore as _},
    testing::{MemoryStore, batch, gateway, key, state_batch},
};

fn ada() -> CallingOperator {
    CallingOperator {
        operator: OperatorId { name: Name::new("ada").unwrap() },
        disconnect: Disconnect::default(),
    }
}

/// The end of all times.
fn present() -> Present {
    Present { now_ms: i64::MAX, clock_tolerance: Duration::ZERO, streams: Arc::default() }
}

/// Epoch `id` of a gateway.
fn epoch(name: &str, id: u64) -> GatewayEpoch {
    GatewayEpoch {
        gateway: gateway("berlin", name),
        id,
        created_ms: 0,
        shards: 1,
        run: 0,
        previous_runs: Default::default(),
    }
}

/// Runs a query over readings of one device each; returns the messages.
async fn answers(readings: &[(&str, Vec<(i64, f64)>)], request: AggregateRequest) -> Vec<Kind> {
    let store = MemoryStore::default();
    for (number, (device, readings)) in readings.iter().enumerate() {
        let batch = batch(number as u64 + 1, key(device, "m", &[]), readings, 1);
        store.put(&epoch("g1", 1), batch, false).await.unwrap();
    }
    answers_of(store, request).await
}

/// Runs a query over a store; returns the messages.
async fn answers_of(store: MemoryStore, request: AggregateRequest) -> Vec<Kind> {
    let runner = Runner::new(QueryLimits::default(), Metrics::new(), &Arc::default()).unwrap();
    let ada = ada();
    let answer = runner.run(&ada, move |sink| async move {
        execute(Arc::new(store), request, u64::MAX, &present(), &sink).await.map(|_| ())
    });
    let messages: Vec<_> = answer.await.unwrap().into_inner().collect().await;
    messages.into_iter().map(|message| message.unwrap().kind.unwrap()).collect()
}

/// Points of all series: start and values.
fn points(messages: &[Kind]) -> Vec<(i64, Vec<Value>)> {
    let series = messages.iter().filter_map(|message| match message {
        Kind::Series(series) => Some(&series.points),
        Kind::Header(_) => None,
    });
    series.flatten().map(|point| (point.start_ms, point.values.clone())).collect()
}

fn numbers(messages: &[Kind]) -> Vec<(i64, Vec<Option<f64>>)> {
    let numbers = |values: Vec<Value>| values.iter().map(|value| value.number).collect();
    points(messages).into_iter().map(|(start_ms, values)| (start_ms, numbers(values))).collect()
}

fn request(step_ms: i64, by: &[&str]) -> AggregateRequest {
    AggregateRequest {
        selector: "m".to_owned(),
        from_ms: 1_000,
        to_ms: 200_000_000,
        step_ms,
        by: by.iter().map(|label| (*label).to_owned()).collect(),
        aggregates: vec!["count".to_owned(), "sum".to_owned()],
        ..AggregateRequest::default()
    }
}

#[tokio::test]
async fn without_a_step_a_point_starts_at_the_start_of_the_range() {
    let readings = [("late", vec![(500_000, 1.0)]), ("early", vec![(10_000, 2.0)])];
    let messages = answers(&readings, request(0, &["device"])).await;
    assert!(matches!(messages[0], Kind::Header(_)));
    assert_eq!(messages.len(), 3);
    for message in &messages[1..] {
        let Kind::Series(series) = message else { panic!("{message:?}") };
        assert_eq!(series.points.len(), 1);
        assert_eq!(series.points[0].start_ms, 1_000, "{:?}", series.labels);
    }
}

#[tokio::test]
async fn a_long_series_is_read_in_slices_and_completely() {
    let many = 10_000;
    let readings: Vec<_> = (1..=many).map(|i| (i * 10_000, i as f64)).collect();
    let messages = answers(&[("d1", readings.clone()), ("d2", readings)], request(10_000, &[])).await;
    assert!(messages.len() > 3, "a header and several slices");
    let mut next = 1;
    for message in &messages[1..] {
        let Kind::Series(series) = message else { panic!("{message:?}") };
        assert!(series.points.len() <= 4_096);
        for point in &series.points {
            let numbers: Vec<_> = point.values.iter().map(|value| value.number).collect();
            assert_eq!((point.start_ms, numbers), (next * 10_000, vec![Some(2.0), Some(2.0 * next as f64)]));
            next += 1;
        }
    }
    assert_eq!(next, many + 1);
}

/// A counter from 1,000 that gains 1 each second, read in the middle of seconds.
fn counter(seconds: std::ops::Range<i64>) -> Vec<(i64, f64)> {
    seconds.map(|s| (s * 1_000 + 500, 1_000.0 + s as f64)).collect()
}

#[tokio::test]
async fn figures_of_the_order_are_sums_over_series_with_late_parts_and_live_windows() {
    let store = MemoryStore::default();
    let (g1, g2) = (epoch("g1", 1), epoch("g2", 2));
    let device = || key("d1", "m", &[]);
    let (before, after) = counter(10..60).into_iter().partition(|(ms, _)| *ms < 25_000);
    let (before, after): (Vec<_>, Vec<_>) = (before, after);
    // The later readings of the window from 20 s come first, as its first part.
    store.put(&g1, batch(1, device(), &after, 1), true).await.unwrap();
    store.put(&g1, batch(2, device(), &before, 1), false).await.unwrap();
    store.put(&g1, batch(0, device(), &counter(60..65), 1), false).await.unwrap();
    // The same device at another gateway is another series.
    store.put(&g2, batch(1, device(), &counter(10..30), 1), true).await.unwrap();
    let mut request = request(20_000, &[]);
    request.aggregates = ["count", "increase", "rate", "resets", "time_above(1029)", "integral_linear"]
        .map(str::to_owned)
        .to_vec();
    let messages = answers_of(store, request).await;
    let integral = |from: f64, to: f64| (to - from) * (1_000.0 + (from + to) / 2.0 - 0.5);
    let expected = [
        (0, vec![20.0, 20.0, 2.0, 0.0, 0.0, 2.0 * integral(10.5, 19.5)]),
        (20_000, vec![30.0, 30.0, 1.5, 0.0, 9.0, integral(20.5, 39.5) + integral(20.5, 29.5)]),
        (40_000, vec![20.0, 20.0, 1.0, 0.0, 19.0, integral(40.5, 59.5)]),
        (60_000, vec![5.0, 5.0, 0.25, 0.0, 4.0, integral(60.5, 64.5)]),
    ];
    for ((start_ms, values), (expected_ms, expected)) in numbers(&messages).into_iter().zip(expected) {
        assert_eq!(start_ms, expected_ms);
        let close = |(value, expected): (&Option<f64>, &f64)| {
            value.is_some_and(|value| (value - expected).abs() <= 1e-9 * expected.abs().max(1.0))
        };
        assert!(values.iter().zip(&expected).all(close), "{start_ms}: {values:?}, not {expected:?}");
    }
    assert_eq!(numbers(&messages).len(), 4);
}

#[tokio::test]
async fn a_new_epoch_of_a_gateway_continues_its_series() {
    let store = MemoryStore::default();
    store.put(&epoch("g1", 1), batch(1, key("d1", "m", &[]), &counter(10..30), 1), true).await.unwrap();
    store.put(&epoch("g1", 7), batch(1, key("d1", "m", &[]), &counter(30..60), 1), true).await.unwrap();
    let mut request = request(0, &[]);
    (request.from_ms, request.to_ms) = (10_000, 60_000);
    request.aggregates = vec!["increase".to_owned()];
    assert_eq!(numbers(&answers_of(store, request).await), [(10_000, vec![Some(50.0)])]);
}

#[tokio::test]
async fn states_are_texts_and_times() {
    let store = MemoryStore::default();
    let g1 = epoch("g1", 1);
    let states = [(11_000, "auto"), (15_000, "off"), (26_000, "auto"), (29_000, "off")];
    store.put(&g1, state_batch(1, key("d1", "m", &[]), &states), true).await.unwrap();
    store
        .put(&g1, state_batch(2, key("d2", "m", &[]), &[(12_000, "on"), (22_000, "auto")]), false)
        .await
        .unwrap();
    let mut request = request(0, &[]);
    request.aggregates =
        ["count", "state_count", "last_state", "state_times", "share_of(off)", "transitions"]
            .map(str::to_owned)
            .to_vec();
    let messages = answers_of(store, request).await;
    let number = |number| Value { number: Some(number), ..Value::default() };
    let times = [("auto", 7.0), ("off", 11.0), ("on", 10.0)];
    let times = times.map(|(state, number)| StateValue { state: state.to_owned(), number });
    let expected = vec![
        number(0.0),
        number(6.0),
        Value { text: Some("off".to_owned()), ..Value::default() },
        Value { states: times.to_vec(), ..Value::default() },
        number(11.0 / 28.0),
        number(4.0),
    ];
    assert_eq!(points(&messages), [(1_000, expected)]);
}

#[tokio::test]
async fn messages_of_many_states_are_bounded() {
    let store = MemoryStore::default();
    let texts: Vec<String> = (0..30).map(|n| format!("{n:02}{}", "x".repeat(62))).collect();
    let windows = 2_000;
    let states: Vec<_> = (0..windows)
        .flat_map(|window| {
            texts.iter().enumerate().map(move |(n, text)| (window * 10_000 + n as i64, &**text))
        })
        .collect();
    store.put(&epoch("g1", 1), state_batch(1, key("d1", "m", &[]), &states), true).await.unwrap();
    let mut request = request(10_000, &[]);
    (request.from_ms, request.aggregates) = (0, vec!["state_times".to_owned()]);
    let messages = answers_of(store, request).await;
    assert_eq!(points(&messages).len(), windows as usize);
    assert!(messages.iter().all(|message| {
        let Kind::Series(series) = message else { return true };
        prost::Message::encoded_len(series) < 2 * MESSAGE_BYTES
    }));
    assert!(messages.len() > 4, "{}", messages.len());
}

#[tokio::test]
async fn a_deadline_holds_while_series_are_matched() {
    let store = Arc::new(MemoryStore::default());
    // There is always another page, with nothing in it.
    store.endless.store(true, std::sync::atomic::Ordering::Relaxed);
    let limits = QueryLimits { timeout: Duration::from_millis(50), ..QueryLimits::default() };
    let runner = Runner::new(limits, Metrics::new(), &Arc::default()).unwrap();
    let ada = ada();
    let answer = runner.run(&ada, move |sink| async move {
        execute(store, request(0, &[]), u64::MAX, &present(), &sink).await.map(|_| ())
    });
    assert_eq!(answer.await.err().unwrap().code(), tonic::Code::DeadlineExceeded);
}
