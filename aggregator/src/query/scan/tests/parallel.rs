//! Queries that are split into parts.

use super::{
    flat::{FlatStore, window},
    *,
};

/// Points and headers of a query over a store.
async fn run(
    store: FlatStore,
    request: AggregateRequest,
    limits: QueryLimits,
) -> Result<Vec<Kind>, tonic::Status> {
    let runner = Runner::new(limits, Metrics::new(), &Arc::default()).unwrap();
    let ada = ada();
    let answer = runner.run(&ada, move |sink| async move {
        execute(Arc::new(store), request, limits.points_max, &present(), &sink).await.map(|_| ())
    });
    let messages: Vec<_> = answer.await?.into_inner().collect().await;
    let counts = runner.counts();
    while counts() != crate::query::QueryCounts::default() {
        tokio::task::yield_now().await;
    }
    messages.into_iter().map(|message| Ok(message?.kind.unwrap())).collect()
}

fn over(to_ms: i64, step_ms: i64, by: &[&str], aggregate: &str) -> AggregateRequest {
    AggregateRequest { from_ms: 0, to_ms, aggregates: vec![aggregate.to_owned()], ..request(step_ms, by) }
}

/// The only number of each point.
fn values(messages: &[Kind]) -> Vec<(i64, u64)> {
    let number = |(start_ms, values): (i64, Vec<Option<f64>>)| (start_ms, values[0].unwrap().to_bits());
    numbers(messages).into_iter().map(number).collect()
}

#[tokio::test]
async fn the_parts_of_a_large_group_give_what_one_partial_gives() {
    let store = FlatStore::new(150, 40, 3);
    let mut expected = BTreeMap::<i64, catchment_partial::Partial>::new();
    for (window, body) in store.rows.iter().flatten() {
        let point = window.start().as_millis() / 60_000 * 60_000;
        expected.entry(point).or_default().merge_encoded_across_series(body, window.start()).unwrap();
    }
    for threads in [1, 4] {
        for (name, value) in [("mean", 0), ("p99", 1)] {
            let limits = QueryLimits { threads, ..QueryLimits::default() };
            let store = FlatStore::new(150, 40, 3);
            let answer = run(store, over(400_000, 60_000, &[], name), limits).await.unwrap();
            let of = |partial: &catchment_partial::Partial| [partial.mean(), partial.quantile(0.99)][value];
            let expected: Vec<_> = expected
                .iter()
                .map(|(start_ms, partial)| (*start_ms, of(partial).unwrap().to_bits()))
                .collect();
            assert_eq!(values(&answer), expected, "{name} on {threads} threads");
        }
    }
}

#[tokio::test]
async fn groups_come_in_order_however_many_parts_there_are() {
    let limits = QueryLimits { threads: 4, ..QueryLimits::default() };
    let answer =
        run(FlatStore::new(300, 50, 1), over(500_000, 0, &["device"], "count"), limits).await.unwrap();
    let labels: Vec<_> = answer
        .iter()
        .filter_map(|kind| match kind {
            Kind::Series(series) => Some(series.labels["device"].clone()),
            Kind::Header(_) => None,
        })
        .collect();
    let mut sorted = labels.clone();
    sorted.sort();
    assert_eq!((labels.len(), &labels), (300, &sorted));
    assert!(values(&answer).iter().all(|point| *point == (0, 50_f64.to_bits())));
}

#[tokio::test]
async fn damage_costs_its_own_range_and_the_answer_says_so() {
    let mut store = FlatStore::new(1, 20_000, 1);
    let time = |index| window(index).start();
    store.rows[0][15_000].1 = vec![9, 9];
    let body = store.rows[0][15_000].1.clone();
    assert!(catchment_partial::Partial::decode(&body, time(0)).is_err());
    let request = over(200_000_000, 10_000, &[], "count");
    let answer = run(store, request.clone(), QueryLimits::default()).await.unwrap();
    assert_eq!(values(&answer).len(), 19_999);
    let headers: Vec<_> = answer
        .iter()
        .filter_map(|kind| match kind {
            Kind::Header(header) => Some(header),
            Kind::Series(_) => None,
        })
        .collect();
    assert_eq!((headers.len(), &headers[0].gaps[..]), (2, &[][..]), "found after points were sent");
    let gap = &headers[1].gaps[0];
    assert_eq!((&*gap.site, &*gap.gateway, gap.batches), ("berlin", "g1", 0));
    assert_eq!((gap.from_ms, gap.to_ms), (Some(150_000_000), 150_010_000));
    assert_eq!(headers[1].complete_until_ms, Some(150_000_000));

    let mut store = FlatStore::new(2, 10, 1);
    store.damaged = vec![(time(2), time(4))];
    store.rows.iter_mut().for_each(|rows| drop(rows.drain(2..4)));
    let answer = run(store, over(200_000_000, 0, &[], "count"), QueryLimits::default()).await.unwrap();
    assert_eq!(values(&answer), [(0, 16_f64.to_bits())]);
    let Kind::Header(header) = &answer[0] else { panic!("{answer:?}") };
    let gaps: Vec<_> = header.gaps.iter().map(|gap| (gap.from_ms, gap.to_ms)).collect();
    assert_eq!(gaps, [(Some(20_000), 40_000)], "known before anything was sent; once for both series");
}

#[tokio::test]
async fn the_limit_counts_points_with_readings() {
    let limits = QueryLimits { points_max: 10_000, ..QueryLimits::default() };
    // Ten thousand points among ten million.
    let mut store = FlatStore::new(1, 10_000, 1);
    store.rows[0].iter_mut().enumerate().for_each(|(n, row)| row.0 = window(n as i64 * 1_000));
    let request = over(200_000_000_000, 10_000, &[], "count");
    assert_eq!(values(&run(store, request.clone(), limits).await.unwrap()).len(), 10_000);
    let error = run(FlatStore::new(1, 10_001, 1), request, limits).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument, "{error}");
}

#[tokio::test]
async fn a_step_that_fits_no_window_fails_before_anything_is_sent() {
    for by in [&[][..], &["device"]] {
        let error =
            run(FlatStore::new(200, 10, 1), over(200_000, 15_000, by, "mean"), QueryLimits::default());
        assert!(error.await.unwrap_err().message().contains("10000 ms wide"));
    }
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory_ends_and_gives_all_of_it_back() {
    let limits = QueryLimits { memory_max: 1 << 20, ..QueryLimits::default() };
    // A sketch of each point.
    let error = run(FlatStore::new(100, 4_000, 40), over(40_000_000, 10_000, &[], "p99"), limits);
    assert_eq!(error.await.unwrap_err().code(), tonic::Code::ResourceExhausted);
}

#[tokio::test]
async fn what_a_reader_holds_is_memory_of_its_query() {
    let limits = QueryLimits { memory_max: 1 << 20, ..QueryLimits::default() };
    for by in [&[][..], &["device"]] {
        let of =
            |held| run(FlatStore { held, ..FlatStore::new(3, 10, 1) }, over(200_000, 0, by, "count"), limits);
        assert_eq!(of(2 << 20).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
        of(10 << 10).await.unwrap();
    }
}

#[tokio::test]
async fn columns_hold_what_points_hold() {
    let mut request = over(50_000_000, 20_000, &["device"], "mean");
    request.aggregates.extend(["last_state", "count", "sample_variance"].map(str::to_owned));
    let points = run(FlatStore::new(3, 4_001, 1), request.clone(), QueryLimits::default()).await.unwrap();
    request.columns = true;
    let columns = run(FlatStore::new(3, 4_001, 1), request, QueryLimits::default()).await.unwrap();
    let mut read = Vec::new();
    for message in &columns {
        let Kind::Series(series) = message else { continue };
        let columns = series.columns.as_ref().unwrap();
        assert!(series.points.is_empty() && columns.columns.len() == 4);
        let mut start_ms = 0;
        for (n, later) in columns.start_ms.iter().enumerate() {
            start_ms += later;
            let number =
                |column: usize| Some(columns.columns[column].numbers[n]).filter(|number| !number.is_nan());
            assert_eq!(
                (&columns.columns[1].numbers[..], &columns.columns[1].values[n]),
                (&[][..], &Value::default())
            );
            read.push((start_ms, vec![number(0), None, number(2), number(3)]));
        }
    }
    assert_eq!(read, numbers(&points));
    assert!(read.iter().any(|(_, values)| values[3].is_none()), "of a single reading");
}

/// Limits that a query without end reaches soon.
fn short() -> QueryLimits {
    QueryLimits { timeout: Duration::from_millis(60), threads: 2, ..QueryLimits::default() }
}

#[tokio::test]
async fn a_deadline_holds_in_every_part() {
    for by in [&[][..], &["device"]] {
        let store = FlatStore { endless_from: Some(0), ..FlatStore::new(200, 10, 1) };
        let error = run(store, over(200_000, 0, by, "mean"), short()).await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
    }
}

#[tokio::test]
async fn parts_end_with_their_query() {
    // The first part fails: its windows are too wide. The others never end.
    let mut store = FlatStore { endless_from: Some(100), ..FlatStore::new(300, 10, 1) };
    for index in 0..10 {
        let wide = catchment_partial::Width::from_millis(20_000).unwrap();
        store.rows[0][index as usize].0 = catchment_partial::Window::from_index(index, wide).unwrap();
    }
    let readers = Arc::clone(&store.readers);
    let limits = QueryLimits { threads: 4, ..QueryLimits::default() };
    let error = run(store, over(200_000, 10_000, &[], "mean"), limits).await.unwrap_err();
    assert!(error.message().contains("20000 ms wide"), "{error}");
    assert_eq!(readers.load(std::sync::atomic::Ordering::SeqCst), 0, "no part reads on");
}

#[tokio::test]
async fn parts_end_when_the_reader_is_gone() {
    let store = FlatStore { endless_from: Some(250), ..FlatStore::new(300, 10, 1) };
    let readers = Arc::clone(&store.readers);
    let runner = Runner::new(QueryLimits::default(), Metrics::new(), &Arc::default()).unwrap();
    let (ada, request) = (ada(), over(200_000, 0, &["device"], "mean"));
    let answer = runner.run(&ada, move |sink| async move {
        execute(Arc::new(store), request, u64::MAX, &present(), &sink).await.map(|_| ())
    });
    let mut answer = answer.await.unwrap().into_inner();
    answer.next().await.unwrap().unwrap();
    drop(answer);
    while runner.counts()() != crate::query::QueryCounts::default() {
        tokio::task::yield_now().await;
    }
    assert_eq!(readers.load(std::sync::atomic::Ordering::SeqCst), 0);
}
