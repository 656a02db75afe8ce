//! Fetches and lists over stores.

mod evaluating;
mod fetching;
mod listing;
mod rolling_up;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use catchment_partial::{Partial, Timestamp, Width, Window};
use catchment_promql::{
    Alignment, Columns, Fetch, FetchRange, FetchedSeries, Figures, Grid, Labels, Matcher, Panes, Source as _,
};
use catchment_proto::{Batch, Entry, Name, OperatorId, SeriesKey};
use futures_util::StreamExt as _;

use super::{
    super::{error::QueryError, runner::Runner, scan::Present, sink::Sink},
    Promql,
    source::StoreSource,
    views::tests::matcher,
};
use crate::{
    access::{CallingOperator, Disconnect},
    config::QueryLimits,
    metrics::Metrics,
    store::{GatewayEpoch, IngestStore, QueryStore},
    testing::{MemoryStore, batch, gateway, key},
};

const SUMS: Columns = Columns {
    sum: true,
    deviations: false,
    extent: false,
    counter: false,
    sketch: false,
    single_windows: false,
};

fn ada() -> CallingOperator {
    CallingOperator {
        operator: OperatorId { name: Name::new("ada").unwrap() },
        disconnect: Disconnect::default(),
    }
}

fn promql(store: Arc<dyn QueryStore>) -> Promql {
    let metrics = Metrics::new();
    let runner = Runner::new(QueryLimits::default(), Arc::clone(&metrics), &Arc::default()).unwrap();
    Promql { store, runner, streams: Arc::default(), clock_tolerance: Duration::ZERO, metrics }
}

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

/// Delivers readings of a series as batch `number` of a gateway, in windows of ten seconds.
async fn put(
    store: &impl IngestStore,
    gateway: &str,
    number: u64,
    series: SeriesKey,
    readings: &[(i64, f64)],
) {
    let batch = batch(number, series, readings, 1);
    store.put(&epoch(gateway, 1), batch, number == 1).await.unwrap();
}

/// As [`batch`], of windows of any width.
fn wide_batch(number: u64, series: SeriesKey, readings: &[(i64, f64)], width_ms: u32) -> Batch {
    let width = Width::from_millis(width_ms).unwrap();
    let window_of = |ms: i64| Window::containing(Timestamp::from_millis(ms).unwrap(), width);
    let windows = readings.chunk_by(|a, b| window_of(a.0) == window_of(b.0));
    let entries = windows.map(|readings| {
        let (window, mut partial, mut body) = (window_of(readings[0].0), Partial::empty(), Vec::new());
        for (ms, value) in readings {
            partial.push(Timestamp::from_millis(*ms).unwrap(), *value);
        }
        partial.encode(window.start(), &mut body);
        Entry { series: 0, window, part: number, revision: number, body: body.into() }
    });
    let entries: Vec<Entry> = entries.collect();
    Batch { width, entries, ..batch(number, series, &[(0, 0.0)], 1) }
}

fn fetch(conditions: &[(&str, &str, &str)], grid: Grid, range: FetchRange, columns: Columns) -> Fetch {
    let matchers: Vec<Matcher> =
        conditions.iter().map(|(label, op, value)| matcher(label, op, value)).collect();
    Fetch { matchers: matchers.into(), grid, range, columns, group: None }
}

type Fetched = (Alignment, Vec<FetchedSeries>, usize);

/// What a fetch gives, and how often it began.
async fn fetched(store: &Arc<impl QueryStore>, fetch: Fetch) -> Result<Fetched, tonic::Status> {
    let promql = promql(Arc::clone(store) as Arc<dyn QueryStore>);
    let found = Arc::new(Mutex::new(None));
    let (into, store) = (Arc::clone(&found), Arc::clone(&promql.store));
    let work = move |sink: Sink<Bytes>| async move {
        let present = Present { now_ms: i64::MAX, clock_tolerance: Duration::ZERO, streams: Arc::default() };
        let source = StoreSource::open(store, &sink, &present, fetch.grid).await?;
        let mut begun = 0;
        let fetched = loop {
            begun += 1;
            match all(&source, &fetch).await {
                Err(_) if source.must_begin_anew() => {}
                other => break other,
            }
        };
        sink.task.stop_parts().await;
        let (alignment, series) = fetched?;
        *into.lock().unwrap() = Some((alignment, series, begun));
        Ok(())
    };
    let mut answer = promql.runner.run(&ada(), work).await?.into_inner();
    assert!(answer.next().await.is_none());
    Ok(Arc::try_unwrap(found).unwrap().into_inner().unwrap().unwrap())
}

async fn all(source: &StoreSource<'_>, fetch: &Fetch) -> Result<(Alignment, Vec<FetchedSeries>), QueryError> {
    let mut batches = source.fetch(fetch).await?;
    let mut series = Vec::new();
    while let Some(batch) = batches.next().await? {
        assert!(!batch.is_empty() && batch.len() <= 64);
        series.extend(batch);
    }
    Ok((batches.alignment(), series))
}

fn figures(series: &FetchedSeries) -> &[(i64, Figures)] {
    match &series.panes {
        Panes::Figures(panes) => panes,
        Panes::Windows(_) => panic!("figures are expected"),
    }
}

fn windows(series: &FetchedSeries) -> &[(i64, Arc<Partial>)] {
    match &series.panes {
        Panes::Windows(panes) => panes,
        Panes::Figures(_) => panic!("windows are expected"),
    }
}

fn shown(labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(",")
}
