use std::sync::Arc;

use catchment_proto::{Name, OperatorId};
use futures_util::StreamExt as _;

use super::{super::runner::Runner, *};
use crate::{
    access::{CallingOperator, Disconnect},
    config::QueryLimits,
    metrics::Metrics,
    store::GatewayEpoch,
    testing::{MemoryStore, batch, gateway, key},
};

fn ada() -> CallingOperator {
    CallingOperator {
        operator: OperatorId { name: Name::new("ada").unwrap() },
        disconnect: Disconnect::default(),
    }
}

/// Runs a query over readings of one device each; returns the messages.
async fn answers(readings: &[(&str, Vec<(i64, f64)>)], request: AggregateRequest) -> Vec<Kind> {
    let store = Arc::new(MemoryStore::default());
    let epoch = GatewayEpoch {
        gateway: gateway("berlin", "g1"),
        id: 1,
        created_ms: 0,
        shards: 1,
        run: 0,
        previous_runs: Default::default(),
    };
    for (number, (device, readings)) in readings.iter().enumerate() {
        let batch = batch(number as u64 + 1, key(device, "m", &[]), readings, 1);
        store.put(&epoch, batch, false).await.unwrap();
    }
    let runner = Runner::new(QueryLimits::default(), Metrics::new(), &Arc::default()).unwrap();
    let ada = ada();
    let answer = runner.run(&ada, move |sink| async move {
        execute(&*store, request, u64::MAX, i64::MAX, &sink).await.map(|_| ())
    });
    let messages: Vec<_> = answer.await.unwrap().into_inner().collect().await;
    messages.into_iter().map(|message| message.unwrap().kind.unwrap()).collect()
}

fn request(step_ms: i64, by: &[&str]) -> AggregateRequest {
    AggregateRequest {
        selector: "m".to_owned(),
        from_ms: 1_000,
        to_ms: 200_000_000,
        step_ms,
        by: by.iter().map(|label| (*label).to_owned()).collect(),
        aggregates: vec!["count".to_owned(), "sum".to_owned()],
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
        assert!(series.points.len() <= SLICE_POINTS as usize);
        for point in &series.points {
            let numbers: Vec<_> = point.values.iter().map(|value| value.number).collect();
            assert_eq!((point.start_ms, numbers), (next * 10_000, vec![Some(2.0), Some(2.0 * next as f64)]));
            next += 1;
        }
    }
    assert_eq!(next, many + 1);
}

#[tokio::test]
async fn a_deadline_holds_while_series_are_matched() {
    let store = Arc::new(MemoryStore::default());
    // There is always another page, with nothing in it.
    store.endless.store(true, std::sync::atomic::Ordering::Relaxed);
    let limits = QueryLimits { timeout: std::time::Duration::from_millis(50), ..QueryLimits::default() };
    let runner = Runner::new(limits, Metrics::new(), &Arc::default()).unwrap();
    let ada = ada();
    let answer = runner.run(&ada, move |sink| async move {
        execute(&*store, request(0, &[]), u64::MAX, i64::MAX, &sink).await.map(|_| ())
    });
    assert_eq!(answer.await.err().unwrap().code(), tonic::Code::DeadlineExceeded);
}
