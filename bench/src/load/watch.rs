//! Watches of an aggregator, beside a gateway that closes windows of a second: the delay from the close to each watch, and
//! the aggregator's processor time.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use catchment_proto::{
    DictionaryEncoder,
    wire::{
        AggregateRequest, Batch, DeliverRequest, WatchRequest, deliver_request, query_client::QueryClient,
        watch_response::Kind,
    },
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{delivery, now_ns, operator};
use crate::cpu;

/// Width of the windows, milliseconds.
const WIDTH_MS: i64 = 1_000;
/// Metrics of a device: what each watch selects.
const METRICS: usize = 10;
/// Most partials of a batch.
const BATCH_PARTIALS: usize = 2_048;
/// Streams per connection; an aggregator takes 64.
const STREAMS: usize = 50;
/// Windows before anything is measured: connections open, and series appear.
const WARM_UP: u32 = 4;

/// A load of watches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) addr: SocketAddr,
    /// The aggregator's process.
    pub(crate) pid: u32,
    pub(crate) series: usize,
    pub(crate) watches: usize,
    /// Number of windows that are measured.
    pub(crate) windows: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    /// Seconds from the close of a window to a watch that has its point.
    pub(crate) delays: Vec<f64>,
    /// Processor time of the aggregator, as a part of one processor.
    pub(crate) cpu: f64,
}

/// When windows were closed, and the delays of their points.
#[derive(Default)]
struct Clock {
    closed: Mutex<HashMap<i64, Instant>>,
    delays: Mutex<Vec<f64>>,
}

impl Clock {
    fn close(&self, start_ms: i64) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(start_ms, Instant::now());
    }

    fn take(&self, starts_ms: &[i64]) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let delays =
            starts_ms.iter().filter_map(|start_ms| Some(closed.get(start_ms)?.elapsed().as_secs_f64()));
        let delays: Vec<f64> = delays.collect();
        drop(closed);
        self.delays.lock().unwrap_or_else(PoisonError::into_inner).extend(delays);
    }
}

/// Runs the load.
///
/// # Errors
/// A delivery or a watch that fails, or points that do not come.
pub(crate) fn run(load: &Load, gateway: &Path, operator: &Path) -> anyhow::Result<Watched> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let clock = Arc::new(Clock::default());
        let mut watches = JoinSet::new();
        let mut channel: Option<Channel> = None;
        for number in 0..load.watches {
            if number % STREAMS == 0 {
                channel = Some(operator::channel(load.addr, operator, false).await?);
            }
            let client = QueryClient::new(channel.clone().context("connected")?);
            watches.spawn(watch(client, number, Arc::clone(&clock)));
        }
        let outcome = tokio::select! {
            ended = watches.join_next(), if load.watches > 0 => {
                ended.context("a watch")???;
                anyhow::bail!("a watch ended");
            }
            outcome = deliver(load, gateway, &clock) => outcome?,
        };
        let expected = load.watches * METRICS * load.windows as usize;
        let received = outcome.delays.len();
        ensure!(received * 10 >= expected * 9, "{received} points of {expected} came in time");
        Ok(outcome)
    })
}

/// Watches the metrics of a device.
async fn watch(mut client: QueryClient<Channel>, device: usize, clock: Arc<Clock>) -> anyhow::Result<()> {
    let query = AggregateRequest {
        selector: format!(r#"{{device="press-{device:05}"}}"#),
        step_ms: WIDTH_MS,
        by: vec!["__name__".to_owned()],
        aggregates: ["count", "mean", "max"].map(str::to_owned).to_vec(),
        columns: true,
        ..AggregateRequest::default()
    };
    let request = WatchRequest { query: Some(query), ..WatchRequest::default() };
    let mut messages = client.watch(request).await?.into_inner();
    while let Some(message) = messages.message().await? {
        if let Some(Kind::Series(series)) = message.kind {
            let starts = series.columns.unwrap_or_default().start_ms;
            let mut start_ms = 0;
            let starts: Vec<i64> = starts
                .into_iter()
                .map(|later| {
                    start_ms += later;
                    start_ms
                })
                .collect();
            clock.take(&starts);
        }
    }
    Ok(())
}

/// Delivers a window of all series each second.
async fn deliver(load: &Load, gateway: &Path, clock: &Clock) -> anyhow::Result<Watched> {
    let (sending, mut answers) = delivery::begin(load.addr, gateway, 1).await?;
    let acknowledging = tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
    let (bodies, names) = (delivery::bodies()?, delivery::series(load.series));
    let mut dictionary = DictionaryEncoder::default();
    let (mut number, mut cpu, mut begun) = (0, 0.0, Instant::now());
    let first = now_ns() / 1_000_000 / WIDTH_MS + 1;
    for (passed, window) in (0..=WARM_UP + load.windows).zip(first..) {
        // Closed a little after its end, as after a grace.
        let closes_ms = (window + 1) * WIDTH_MS + 200;
        let pause_ms = closes_ms - now_ns() / 1_000_000;
        tokio::time::sleep(Duration::from_millis(pause_ms.max(0).unsigned_abs())).await;
        if passed == WARM_UP {
            (cpu, begun) = (cpu::seconds(load.pid)?, Instant::now());
            clock.delays.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        if passed == WARM_UP + load.windows {
            break;
        }
        clock.close(window * WIDTH_MS);
        for chunk in names.chunks(BATCH_PARTIALS) {
            number += 1;
            let batch = batch(number, window, chunk, &bodies);
            let kind = Some(deliver_request::Kind::Batch(dictionary.encode(batch)));
            sending.send(DeliverRequest { kind }).await?;
        }
    }
    let used = (cpu::seconds(load.pid)? - cpu) / begun.elapsed().as_secs_f64();
    acknowledging.abort();
    let delays = std::mem::take(&mut *clock.delays.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Watched { delays, cpu: used })
}

/// A batch of one window of some series.
fn batch(number: u64, window: i64, names: &[catchment_proto::wire::SeriesRef], bodies: &[Bytes]) -> Batch {
    let count = names.len();
    let body = |place: usize| bodies.get((number as usize * 7 + place) % bodies.len().max(1)).cloned();
    let all: Vec<Bytes> = (0..count).filter_map(body).collect();
    // Positions in a journal, ever further.
    let position = number as i64 * 1_000_000;
    Batch {
        shard: 0,
        number,
        watermark_ms: window * WIDTH_MS,
        live: false,
        width_ms: WIDTH_MS as u32,
        series_index: (0..count).map(|place| i64::from(place > 0)).collect(),
        window: (0..count).map(|place| if place == 0 { window } else { 0 }).collect(),
        part: (0..count).map(|place| if place == 0 { position } else { 40 }).collect(),
        revision: (0..count).map(|_| 3_600).collect(),
        body_bytes: all.iter().map(|body| u32::try_from(body.len()).unwrap_or(u32::MAX)).collect(),
        bodies: all.concat().into(),
        series: names.to_vec(),
        continues: false,
        names_epoch: 0,
        history: None,
        ..Batch::default()
    }
}
