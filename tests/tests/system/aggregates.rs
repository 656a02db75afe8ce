//! Counters, time-weighted figures and states over the wire: expected by hand.

use std::collections::BTreeMap;

use catchment_certs::Role;
use catchment_partial::{Partial, Timestamp};
use catchment_proto::wire::{
    AggregateRequest, StateValue, Value, aggregate_response::Kind, query_client::QueryClient,
};
use catchment_tests::{
    connection::Protocol, delivery::Delivery, eventually::eventually, now_ms, process::run, query,
    this_second, world::World,
};
use serde_json::json;

/// 2023-11-14T22:13:20Z.
const TS: i64 = 1_700_000_000_000;

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(TS + ms).unwrap()
}

/// Delivers numbers at milliseconds after [`TS`], a partial for each window.
async fn numbers(delivery: &mut Delivery, device: &str, readings: impl Iterator<Item = (i64, f64)>) {
    let mut windows: BTreeMap<i64, Partial> = BTreeMap::new();
    for (ms, value) in readings {
        windows.entry(ms.div_euclid(1000)).or_default().push(time(ms), value);
    }
    for (window, partial) in windows {
        delivery.deliver_partial(device, "energy", TS + window * 1000, &partial, TS + 60_000).await;
    }
}

/// Delivers states, each in a partial of its own.
async fn states(delivery: &mut Delivery, device: &str, readings: &[(i64, &str)]) {
    for (ms, state) in readings {
        let mut partial = Partial::empty();
        partial.push_state(time(*ms), state);
        delivery.deliver_partial(device, "mode", TS + ms, &partial, TS + 60_000).await;
    }
}

/// Values of all points, in order, as an operator's client gets them.
async fn values(
    world: &World,
    selector: &str,
    step_ms: i64,
    by: &[&str],
    aggregates: &[&str],
) -> Vec<Vec<Value>> {
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let request = AggregateRequest {
        selector: selector.to_owned(),
        from_ms: TS,
        to_ms: TS + 10_000,
        step_ms,
        by: strings(by),
        aggregates: strings(aggregates),
        ..AggregateRequest::default()
    };
    let mut stream = QueryClient::new(world.operator()).aggregate(request).await.unwrap().into_inner();
    let mut points = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        match message.kind.unwrap() {
            Kind::Header(header) => assert_eq!(header.aggregates, aggregates),
            Kind::Series(series) => points.extend(series.points.into_iter().map(|point| point.values)),
        }
    }
    points
}

fn assert_numbers(values: &[Value], expected: &[f64]) {
    let close = |(value, expected): (&Value, &f64)| {
        value.number.is_some_and(|number| (number - expected).abs() <= 1e-9 * expected.abs().max(1.0))
    };
    assert!(
        values.len() == expected.len() && values.iter().zip(expected).all(close),
        "{values:?}, not {expected:?}"
    );
}

async fn world() -> (World, Delivery) {
    let world = World::builder().start().await;
    let identity = world.pki.identity(Role::Gateway, "rome", "gw");
    let delivery = Delivery::start(query::channel(world.aggregator.addr(), &identity), 9, now_ms()).await;
    (world, delivery)
}

/// Two counters, four readings a second: one gains 4 a second and begins again at 0 after five seconds, the other
/// gains 8 a second.
#[tokio::test]
async fn rates_of_two_counters_of_which_one_begins_again() {
    let (world, mut delivery) = world().await;
    let first = |k: i64| (k * 250 + 125, if k < 20 { 100.0 + k as f64 } else { k as f64 - 20.0 });
    let second = |k: i64| (k * 250 + 125, 1_000.0 + 2.0 * k as f64);
    // Some readings of the first one are late: further parts of their windows.
    numbers(&mut delivery, "a", (0..40).filter(|k| k % 10 != 3).map(first)).await;
    numbers(&mut delivery, "a", (0..40).filter(|k| k % 10 == 3).map(first)).await;
    numbers(&mut delivery, "b", (0..40).map(second)).await;

    let asked = ["increase", "rate", "delta", "resets", "changes", "time_above(110)", "integral"];
    let of_first = 38.0 * 10.0 / 9.75;
    let integral = |values: f64| values * 0.25;
    let values_of_a: f64 = (0..39).map(|k| first(k).1).sum();
    let values_of_b: f64 = (0..39).map(|k| second(k).1).sum();
    let by_device = values(&world, "energy", 0, &["device"], &asked).await;
    let (a, b) = (&by_device[0], &by_device[1]);
    let change = -81.0 * 10.0 / 9.75;
    assert_numbers(a, &[of_first, of_first / 10.0, change, 1.0, 39.0, 2.25, integral(values_of_a)]);
    assert_numbers(b, &[80.0, 8.0, 80.0, 0.0, 39.0, 9.75, integral(values_of_b)]);
    // Together: the sums.
    let together = values(&world, "energy", 0, &[], &asked).await;
    let sums: Vec<f64> = a.iter().zip(b).map(|(a, b)| a.number.unwrap() + b.number.unwrap()).collect();
    assert_numbers(&together[0], &sums);

    // By step, the reset is between two points; after it the counter is not extrapolated below 0.
    let steps = values(&world, "energy", 5_000, &[], &["increase", "rate", "resets", "count"]).await;
    assert_eq!(steps.len(), 2);
    assert_numbers(&steps[0], &[20.0 + 40.0, 4.0 + 8.0, 0.0, 40.0]);
    assert_numbers(&steps[1], &[19.5 + 40.0, 3.9 + 8.0, 0.0, 40.0]);

    // In the order of values: trimmed, ranks, classes.
    let ranks = ["below(50)", "between(50,500)", "at_least(50)", "interquartile_range", "distinct"];
    let ranks = values(&world, "energy{device=\"a\"}", 0, &[], &ranks).await;
    let sketched = ranks[0][3].number.unwrap();
    assert!((sketched - 100.0).abs() < 2.0, "{sketched}");
    assert_numbers(&ranks[0][..3], &[20.0, 20.0, 20.0]);
    let estimated = ranks[0][4].number.unwrap();
    assert!((estimated - 40.0).abs() < 2.0, "{estimated}");
}

#[tokio::test]
async fn times_in_states() {
    let (world, mut delivery) = world().await;
    states(&mut delivery, "a", &[(100, "auto"), (2_500, "off"), (6_000, "auto"), (9_000, "auto")]).await;
    states(&mut delivery, "b", &[(500, "off"), (8_000, "manual")]).await;
    let number = |number: f64| Value { number: Some(number), ..Value::default() };
    let text = |text: &str| Value { text: Some(text.to_owned()), ..Value::default() };
    let aggregates = ["count", "state_count", "transitions", "last_state", "time_in(auto)", "share_of(off)"];
    let by_device = values(&world, "mode", 0, &["device"], &aggregates).await;
    let a = [number(0.0), number(4.0), number(2.0), text("auto"), number(5.4), number(3.5 / 8.9)];
    let b = [number(0.0), number(2.0), number(1.0), text("manual"), number(0.0), number(1.0)];
    assert_eq!(by_device, [a, b]);
    let together = values(&world, "mode", 0, &[], &aggregates).await;
    let sums = [number(0.0), number(6.0), number(3.0), text("auto"), number(5.4), number(11.0 / 16.4)];
    assert_eq!(together, [sums]);

    let flags = [
        "--aggregator",
        &format!("https://{}", world.aggregator.addr()),
        "--identity",
        &world.pki.operator().display().to_string(),
        "--from",
        &(TS / 1000).to_string(),
        "--to",
        &(TS / 1000 + 10).to_string(),
        "--agg",
        "state_times,last_state,time_in(\"auto\")",
        "--format",
    ]
    .map(str::to_owned);
    let queried = |format: &'static str| {
        let flags = flags.clone();
        let asking = move || {
            let flags = flags.iter().map(String::as_str).chain([format]);
            run("catchment", &["query", "mode"].into_iter().chain(flags).collect::<Vec<_>>(), "")
        };
        async move {
            let output = tokio::task::spawn_blocking(asking).await.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        }
    };
    let answer: serde_json::Value = serde_json::from_str(&queried("json").await).unwrap();
    let point = json!({
        "t": "2023-11-14T22:13:20Z",
        "state_times": { "auto": 5.4, "manual": 0.0, "off": 11.0 },
        "last_state": "auto",
        "time_in(\"auto\")": 5.4,
    });
    assert_eq!(answer["series"][0]["points"], json!([point]));
    let csv = queried("csv").await;
    assert_eq!(csv.lines().nth(1), Some("2023-11-14T22:13:20Z,auto=5.4 manual=0 off=11,auto,5.4"));
}

/// From a device's JSON lines through gateway and aggregator: texts are states, booleans are both.
#[tokio::test]
async fn states_of_devices() {
    let world = World::small().await;
    let from = this_second() - 10_000;
    let mut connection = world.connect("press-1", Protocol::Json).await;
    let lines = [(200, "auto", true), (1_200, "off", false), (4_700, "auto", false), (6_200, "auto", true)];
    for (offset, mode, open) in lines {
        let line = json!({"ts": from + offset, "values": {"mode": mode, "open": open}});
        connection.line(&line.to_string()).await.unwrap();
        connection.answer().await.unwrap();
    }
    let asked = |metric: &'static str| {
        let channel = world.operator();
        async move {
            let aggregates = ["count", "state_count", "state_times", "transitions", "last_state", "sum"];
            let request = AggregateRequest {
                selector: metric.to_owned(),
                from_ms: from,
                to_ms: from + 10_000,
                aggregates: aggregates.map(str::to_owned).to_vec(),
                ..AggregateRequest::default()
            };
            let mut stream = QueryClient::new(channel).aggregate(request).await.unwrap().into_inner();
            let mut values = Vec::new();
            while let Some(message) = stream.message().await.unwrap() {
                if let Some(Kind::Series(series)) = message.kind {
                    values = series.points[0].values.clone();
                }
            }
            values
        }
    };
    let number = |number: f64| Value { number: Some(number), ..Value::default() };
    let text = |text: &str| Value { text: Some(text.to_owned()), ..Value::default() };
    let times = |times: &[(&str, f64)]| Value {
        states: times
            .iter()
            .map(|(state, number)| StateValue { state: (*state).to_owned(), number: *number })
            .collect(),
        ..Value::default()
    };
    let mode = vec![
        number(0.0),
        number(4.0),
        times(&[("auto", 2.5), ("off", 3.5)]),
        number(2.0),
        text("auto"),
        Value::default(),
    ];
    let open = vec![
        number(4.0),
        number(4.0),
        times(&[("false", 5.0), ("true", 1.0)]),
        number(2.0),
        text("true"),
        number(2.0),
    ];
    for (metric, expected) in [("mode", mode), ("open", open)] {
        eventually("the states are delivered", async || {
            let got = asked(metric).await;
            if got == expected { Ok(()) } else { Err(format!("{got:?}")) }
        })
        .await;
    }
}
