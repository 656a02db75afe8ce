//! Batches of partials to an aggregator, as a gateway of two shards delivers them: ten readings per partial, every
//! series once per window, compressed, with a bound on batches in flight.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use catchment_certs::{ClientTls, GrpcConnector, IdentityFolder, Role, endpoint_uri};
use catchment_partial::{Partial, Timestamp};
use catchment_proto::{
    DictionaryEncoder,
    batch::BATCH_BYTES_MAX,
    wire::{
        self, Batch, DeliverRequest, DeliverResponse, deliver_request, deliver_response,
        ingest_client::IngestClient,
    },
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

use super::{
    Outcome, now_ns,
    walk::{METRICS, Walk},
};
use crate::cpu;

/// Shards of the gateway.
const SHARDS: u32 = 2;
/// Most partials per batch, as in the gateway.
const BATCH_PARTIALS: usize = 4_096;
/// Width of the windows, milliseconds.
pub(crate) const WIDTH_MS: u32 = 10_000;
/// Readings per partial.
const READINGS: i64 = 10;
/// Partials made ahead; series cycle through them from different offsets.
const AHEAD: usize = 16_384;
const TIMEOUT: Duration = Duration::from_secs(30);

/// A load of deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) addr: SocketAddr,
    /// The aggregator's process.
    pub(crate) pid: Option<u32>,
    pub(crate) series: usize,
    /// Most unacknowledged batches per shard.
    pub(crate) in_flight: usize,
    pub(crate) duration: Duration,
    /// Partials a second; `None`: as fast as they are taken.
    pub(crate) rate: Option<f64>,
}

/// Encoded partials of ten readings, made ahead. They are relative to their window, so they fit any.
pub(crate) fn bodies() -> anyhow::Result<Vec<Bytes>> {
    let mut walks: Vec<Walk> =
        METRICS.iter().zip(1..).map(|(metric, seed)| Walk::new(*metric, seed)).collect();
    let start = Timestamp::from_nanos(0);
    let body = |index: usize| {
        let walk = walks.get_mut(index % METRICS.len()).context("a walk for each metric")?;
        let mut partial = Partial::empty();
        for reading in 0..READINGS {
            // Sampled every second, with the delay of the device.
            let time = reading * 1_000_000_000 + (index as i64 % 997) * 1_000_000;
            partial.push(Timestamp::from_nanos(time), walk.next());
        }
        let mut out = Vec::new();
        partial.encode(start, &mut out);
        Ok(Bytes::from(out))
    };
    (0..AHEAD).map(body).collect()
}

/// The names of series: devices with ten metrics each.
pub(crate) fn series(count: usize) -> Vec<wire::SeriesRef> {
    let name = |index: usize| wire::SeriesRef {
        device: format!("press-{:05}", index / METRICS.len()),
        metric: METRICS.get(index % METRICS.len()).map_or("", |metric| metric.0).to_owned(),
        labels: vec![wire::Label { name: "line".to_owned(), value: (index / 100 % 7).to_string() }],
    };
    (0..count).map(name).collect()
}

/// Batches of one shard, one after the other.
pub(crate) struct Shard {
    shard: u32,
    number: u64,
    /// The series, divided into batches.
    series: Vec<Vec<wire::SeriesRef>>,
    bodies: Arc<[Bytes]>,
    /// Index of the next batch in `series`.
    chunk: usize,
    window: i64,
    position: i64,
}

impl Shard {
    pub(crate) fn batch(&mut self) -> Batch {
        self.number += 1;
        let series = self.series.get(self.chunk).cloned().unwrap_or_default();
        let count = series.len();
        let opened = |place: usize| if place == 0 { self.position } else { 40 };
        let spread = self.chunk * BATCH_PARTIALS + self.window as usize * 7_919;
        let body = |place: usize| {
            self.bodies.get((spread + place) % self.bodies.len().max(1)).cloned().unwrap_or_default()
        };
        let all: Vec<Bytes> = (0..count).map(body).collect();
        let batch = Batch {
            shard: self.shard,
            number: self.number,
            watermark_ms: self.window * i64::from(WIDTH_MS),
            live: false,
            width_ms: WIDTH_MS,
            series_index: (0..count).map(|place| i64::from(place > 0)).collect(),
            window: (0..count).map(|place| if place == 0 { self.window } else { 0 }).collect(),
            part: (0..count).map(opened).collect(),
            revision: (0..count).map(|place| 3_600 + place as u64 % 13).collect(),
            body_bytes: all.iter().map(|body| u32::try_from(body.len()).unwrap_or(u32::MAX)).collect(),
            bodies: all.concat().into(),
            series,
            continues: false,
            names_epoch: 0,
            history: None,
            refused: Vec::new(),
        };
        self.position += 40 * i64::try_from(count).unwrap_or(0);
        self.chunk += 1;
        if self.chunk >= self.series.len() {
            self.chunk = 0;
            self.window += 1;
        }
        batch
    }
}

async fn connect(addr: SocketAddr, identity: &Path) -> anyhow::Result<IngestClient<Channel>> {
    let tls = ClientTls::new(&IdentityFolder::load(identity)?, &[b"h2"])?;
    let connector = GrpcConnector::new(tls, Role::Aggregator, TIMEOUT);
    let endpoint = Endpoint::from(endpoint_uri(&format!("https://{addr}"))?).tcp_nodelay(true);
    let channel = endpoint.connect_with_connector(connector).await?;
    Ok(IngestClient::new(channel)
        .send_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_encoding_message_size(BATCH_BYTES_MAX)
        .max_decoding_message_size(BATCH_BYTES_MAX))
}

pub(crate) fn shards(count: usize) -> anyhow::Result<Vec<Shard>> {
    let bodies: Arc<[Bytes]> = bodies()?.into();
    let all = series(count.max(SHARDS as usize));
    let window = now_ns() / 1_000_000 / i64::from(WIDTH_MS) - 720;
    let part = all.len().div_ceil(SHARDS as usize);
    let shard = |(shard, names): (u32, &[wire::SeriesRef])| Shard {
        shard,
        number: 0,
        series: names.chunks(BATCH_PARTIALS).map(<[_]>::to_vec).collect(),
        bodies: Arc::clone(&bodies),
        chunk: 0,
        window,
        position: 8_192,
    };
    Ok((0..).zip(all.chunks(part)).map(shard).collect())
}

/// Runs the load; in the outcome, messages are batches and readings are partials. Each run has a new gateway epoch.
///
/// # Errors
/// A stream that fails.
pub(crate) fn run(load: &Load, identity: &Path) -> anyhow::Result<Outcome> {
    let shards = shards(load.series)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(deliver(load, identity, shards))
}

/// Begins a stream of a gateway with a new epoch: batches go in, answers come out.
///
/// # Errors
/// The aggregator refuses the connection or the stream.
pub(crate) async fn begin(
    addr: SocketAddr,
    identity: &Path,
    shards: u32,
) -> anyhow::Result<(mpsc::Sender<DeliverRequest>, Streaming<DeliverResponse>)> {
    let mut client = connect(addr, identity).await?;
    let (sending, sent) = mpsc::channel(16);
    let epoch = now_ns();
    let start = wire::Start {
        epoch: epoch.cast_unsigned(),
        epoch_created_ms: epoch / 1_000_000,
        shards,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..wire::Start::default()
    };
    sending.send(DeliverRequest { kind: Some(deliver_request::Kind::Start(start)) }).await?;
    let mut answers = client.deliver(ReceiverStream::new(sent)).await?.into_inner();
    answers.message().await?.context("no reply to the start of the stream")?;
    Ok((sending, answers))
}

async fn deliver(load: &Load, identity: &Path, mut shards: Vec<Shard>) -> anyhow::Result<Outcome> {
    let (sending, mut answers) = begin(load.addr, identity, SHARDS).await?;
    let cpu = |pid: Option<u32>| pid.map_or(Ok(0.0), cpu::seconds);
    let before = cpu(load.pid)?;
    let started = Instant::now();
    let deadline = started + load.duration;
    let room = Arc::new(Semaphore::new(load.in_flight * SHARDS as usize));
    let (permits, rate) = (Arc::clone(&room), load.rate);
    let producer = tokio::spawn(async move {
        let (mut partials, mut bytes) = (0_u64, 0_u64);
        // As in a gateway's stream, each series is named once.
        let mut dictionaries = [(); SHARDS as usize].map(|()| DictionaryEncoder::default());
        while Instant::now() < deadline {
            for shard in &mut shards {
                if let Some(rate) = rate {
                    tokio::time::sleep_until(
                        (started + Duration::from_secs_f64(partials as f64 / rate)).into(),
                    )
                    .await;
                }
                permits.acquire().await?.forget();
                let batch = shard.batch();
                partials += batch.body_bytes.len() as u64;
                bytes += batch.bodies.len() as u64;
                let dictionary =
                    dictionaries.get_mut(shard.shard as usize).context("a dictionary for each shard")?;
                let batch = dictionary.encode(batch);
                let request = DeliverRequest { kind: Some(deliver_request::Kind::Batch(batch)) };
                sending.send(request).await.map_err(|_| anyhow!("the stream ended"))?;
            }
        }
        let last: Vec<u64> = shards.iter().map(|shard| shard.number).collect();
        anyhow::Ok((partials, bytes, last, sending))
    });
    let mut acknowledged = [0_u64; SHARDS as usize];
    let mut producer = Some(producer);
    let mut done: Option<(u64, u64, Vec<u64>, mpsc::Sender<DeliverRequest>)> = None;
    loop {
        if producer.as_ref().is_some_and(tokio::task::JoinHandle::is_finished)
            && let Some(finished) = producer.take()
        {
            done = Some(finished.await??);
        }
        if let Some((partials, bytes, last, _)) = &done
            && last.iter().zip(&acknowledged).all(|(last, acknowledged)| last <= acknowledged)
        {
            let seconds = started.elapsed().as_secs_f64();
            let (readings, bytes, messages) = (*partials, *bytes, last.iter().sum());
            let cpu = cpu(load.pid)? - before;
            return Ok(Outcome { messages, readings, bytes, seconds, cpu, latencies: Vec::new() });
        }
        // Every acknowledgement checks whether the producer has ended; the last acknowledgement comes after its end.
        let answer = tokio::time::timeout(Duration::from_millis(100), answers.message()).await;
        let Ok(answer) = answer else { continue };
        match answer?.context("the aggregator ended the stream")?.kind {
            Some(deliver_response::Kind::Ack(ack)) => {
                let place = acknowledged.get_mut(ack.shard as usize).context("an ack of an unknown shard")?;
                room.add_permits(usize::try_from(ack.number.saturating_sub(*place))?);
                *place = ack.number.max(*place);
            }
            other => bail!("not an acknowledgement: {other:?}"),
        }
    }
}
