use std::{sync::Arc, time::Duration};

use catchment_partial::Timestamp;
use catchment_proto::wire::{self, DeliverRequest, DeliverResponse, deliver_response::Kind};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

mod ahead;
mod revocations;
mod room;
mod session;

use super::{task::FULL_PAUSE, *};
use crate::{
    ingest::{ByteBounds, IngestBytes, Shared, StreamRegistry},
    metrics::Metrics,
    session_end::SessionEnd,
    store::{GatewayEpoch, IngestStore, ReadAll as _},
    testing::{Fault, MemoryStore, batch, gateway, key},
};

const REQUESTS: usize = 64;

struct Rig {
    store: Arc<MemoryStore>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

struct Stream {
    requests: mpsc::Sender<Result<DeliverRequest, Status>>,
    responses: mpsc::Receiver<Result<DeliverResponse, Status>>,
    end: JoinHandle<End>,
}

const BOUNDS: ByteBounds =
    ByteBounds { max: 128 << 20, per_gateway_max: 32 << 20, message: 1 << 20, stream: 1 << 10 };

fn rig(in_flight_max: usize) -> Rig {
    rig_within(in_flight_max, BOUNDS)
}

fn rig_within(in_flight_max: usize, bounds: ByteBounds) -> Rig {
    let store = Arc::new(MemoryStore::default());
    let (stop, stopping) = watch::channel(false);
    let shared = Shared {
        store: Arc::clone(&store) as Arc<dyn IngestStore>,
        streams: Arc::new(StreamRegistry::default()),
        metrics: Metrics::new(),
        clock_tolerance: Duration::from_secs(600),
        in_flight_max,
        bytes: IngestBytes::new(bounds),
        stopping,
    };
    Rig { store, shared: Arc::new(shared), stop }
}

fn message(kind: wire::deliver_request::Kind) -> DeliverRequest {
    DeliverRequest { kind: Some(kind) }
}

fn numbered(number: u64) -> DeliverRequest {
    let readings = [(number as i64 * 10_000, number as f64)];
    let batch = batch(number, key("d1", "m", &[]), &readings, number as i64 * 10_000);
    message(wire::deliver_request::Kind::Batch(wire::Batch::from(&batch)))
}

impl Rig {
    fn open(&self) -> Stream {
        self.open_in(SessionEnd::never())
    }

    /// On a connection whose session ends by this.
    fn open_in(&self, session: SessionEnd) -> Stream {
        let (requests, incoming) = mpsc::channel(REQUESTS);
        let (outgoing, responses) = mpsc::channel(1);
        let shared = Arc::clone(&self.shared);
        let incoming = ReceiverStream::new(incoming);
        let end = tokio::spawn(async move {
            let bytes = shared.bytes.enter(&gateway("berlin", "g1")).unwrap();
            run(&shared, (gateway("berlin", "g1"), session), &bytes, incoming, &outgoing).await
        });
        Stream { requests, responses, end }
    }

    /// A stream after its Start, and the batches delivered before.
    async fn start(&self) -> (Stream, Vec<u64>) {
        let (stream, resume) = self.start_as(0).await;
        (stream, resume.delivered)
    }

    /// As a run of a gateway; 0: an older one that does not report its run.
    async fn start_as(&self, run: u64) -> (Stream, wire::Resume) {
        self.start_in(SessionEnd::never(), run).await
    }

    async fn start_in(&self, session: SessionEnd, run: u64) -> (Stream, wire::Resume) {
        let mut stream = self.open_in(session);
        let start = wire::Start {
            epoch: 1,
            epoch_created_ms: 1,
            shards: 1,
            version: "test".to_owned(),
            run,
            ..wire::Start::default()
        };
        stream.send(message(wire::deliver_request::Kind::Start(start))).await;
        match stream.answer().await {
            Some(Kind::Resume(resume)) => (stream, resume),
            other => panic!("{other:?}"),
        }
    }
}

impl Stream {
    async fn send(&self, request: DeliverRequest) {
        self.requests.send(Ok(request)).await.unwrap();
    }

    async fn answer(&mut self) -> Option<Kind> {
        self.responses.recv().await?.unwrap().kind
    }

    async fn ack(&mut self) -> Option<u64> {
        match self.answer().await? {
            Kind::Ack(ack) => Some(ack.number),
            other => panic!("{other:?}"),
        }
    }

    /// The last ack before the end, and how the stream ended.
    async fn finish(mut self) -> (Option<u64>, End) {
        let mut last = None;
        while let Some(number) = self.ack().await {
            assert!(last < Some(number), "acks grow");
            last = Some(number);
        }
        (last, self.end.await.unwrap())
    }

    /// Lets the stream read as much as it can.
    async fn run_pending(&self) {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    fn unread(&self) -> usize {
        REQUESTS - self.requests.capacity()
    }
}

fn code(end: &End) -> Code {
    end.status.as_ref().expect("the gateway gets a status").code()
}

#[tokio::test]
async fn batches_are_acknowledged_and_resumed_from() {
    let rig = rig(8);
    let (mut stream, delivered) = rig.start().await;
    assert_eq!(delivered, [0]);
    for number in 1..=20 {
        stream.send(numbered(number)).await;
    }
    while stream.ack().await.unwrap() < 20 {}
    drop(stream.requests.clone());
    let Stream { requests, responses, end } = stream;
    drop(requests);
    let (last, end) = Stream { requests: mpsc::channel(1).0, responses, end }.finish().await;
    assert_eq!((last, end.reason, end.status.is_none()), (None, "closed", true));

    let (stream, delivered) = rig.start().await;
    assert_eq!(delivered, [20]);
    stream.send(numbered(20)).await;
    stream.send(numbered(21)).await;
    let mut stream = stream;
    while stream.ack().await.unwrap() < 21 {}
    assert_eq!(rig.shared.metrics.duplicates.get(), 1);
    assert_eq!(rig.shared.metrics.gaps.get(), 0);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable_and_acks_are_merged() {
    let rig = rig(8);
    let (mut stream, _) = rig.start().await;
    let disk = rig.store.gate.write().await;
    for number in 1..=8 {
        stream.send(numbered(number)).await;
    }
    stream.run_pending().await;
    assert_eq!((stream.unread(), rig.store.puts()), (0, 0));
    assert!(stream.responses.try_recv().is_err());
    drop(disk);
    // All of them became durable before the first ack was sent.
    assert_eq!(stream.ack().await, Some(8));
    stream.run_pending().await;
    assert!(stream.responses.try_recv().is_err());
}

#[tokio::test]
async fn a_slow_disk_stops_reading() {
    let rig = rig(2);
    let (mut stream, _) = rig.start().await;
    let disk = rig.store.gate.write().await;
    for number in 1..=10 {
        stream.send(numbered(number)).await;
    }
    stream.run_pending().await;
    assert_eq!(stream.unread(), 8, "two are at the store");
    drop(disk);
    while stream.ack().await.unwrap() < 10 {}
}

#[tokio::test]
async fn a_watermark_waits_for_the_batches_before_it() {
    let rig = rig(8);
    let (mut stream, _) = rig.start().await;
    let disk = rig.store.gate.write().await;
    stream.send(numbered(1)).await;
    let progress = wire::Progress { shard: 0, watermark_ms: 90_000, number: 0, history: None };
    stream.send(message(wire::deliver_request::Kind::Progress(progress))).await;
    stream.run_pending().await;
    assert_eq!(rig.store.gateways()[0].watermark, None);
    drop(disk);
    assert_eq!(stream.ack().await, Some(1));
    stream.run_pending().await;
    assert_eq!(rig.store.gateways()[0].watermark.map(Timestamp::as_millis), Some(90_000));
}

#[tokio::test(start_paused = true)]
async fn a_full_store_holds_the_gateway_and_acknowledges_nothing_more() {
    let rig = rig(8);
    let (mut stream, _) = rig.start().await;
    stream.send(numbered(1)).await;
    assert_eq!(stream.ack().await, Some(1));
    rig.store.fail(Fault::Full);
    let began = tokio::time::Instant::now();
    for number in 2..=6 {
        stream.send(numbered(number)).await;
    }
    let (last, end) = stream.finish().await;
    assert_eq!((last, end.reason, code(&end)), (None, "full", Code::ResourceExhausted));
    assert!(began.elapsed() >= FULL_PAUSE);
    let (_stream, delivered) = rig.start().await;
    assert_eq!(delivered, [1]);
}

#[tokio::test]
async fn a_full_store_drops_live_state_and_counts_it() {
    let rig = rig(8);
    let (mut stream, _) = rig.start().await;
    rig.store.fail(Fault::Full);
    stream.send(numbered(0)).await;
    stream.send(numbered(1)).await;
    assert_eq!(stream.ack().await, Some(1));
    assert_eq!(rig.shared.metrics.live_dropped.get(), 1);
}

#[tokio::test]
async fn a_failed_store_ends_the_stream() {
    let rig = rig(8);
    let (stream, _) = rig.start().await;
    rig.store.fail(Fault::Fails);
    stream.send(numbered(1)).await;
    let (last, end) = stream.finish().await;
    assert_eq!((last, end.reason, code(&end)), (None, "store_failed", Code::Unavailable));
}

#[tokio::test]
async fn a_broken_rule_ends_the_stream_after_the_acks() {
    let spoiled = |number: u64| {
        let mut request = numbered(number);
        if let Some(wire::deliver_request::Kind::Batch(batch)) = &mut request.kind {
            batch.bodies = b"\xff\xff\xff".to_vec().into();
            batch.body_bytes = vec![3];
        }
        request
    };
    let wide = message(wire::deliver_request::Kind::Batch(wire::Batch {
        shard: 7,
        number: 2,
        width_ms: 1,
        ..Default::default()
    }));
    for (request, reason, expected) in [
        (numbered(4), "gap", Code::FailedPrecondition),
        (spoiled(2), "malformed", Code::InvalidArgument),
        (wide, "shard", Code::InvalidArgument),
        (DeliverRequest { kind: None }, "protocol", Code::Unimplemented),
    ] {
        let rig = rig(8);
        let (stream, _) = rig.start().await;
        stream.send(numbered(1)).await;
        stream.send(request).await;
        let (last, end) = stream.finish().await;
        assert_eq!((last, end.reason, code(&end)), (Some(1), reason, expected));
    }
}

#[tokio::test]
async fn a_stream_without_start_is_refused() {
    let rig = rig(8);
    let stream = rig.open();
    stream.send(numbered(1)).await;
    let (_, end) = stream.finish().await;
    assert_eq!((end.reason, code(&end)), ("protocol", Code::FailedPrecondition));
    assert_eq!(rig.store.puts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_ended() {
    let rig = rig(8);
    let stream = rig.open();
    let Stream { requests, responses, end } = stream;
    let (_, end) = Stream { requests: mpsc::channel(1).0, responses, end }.finish().await;
    assert_eq!((end.reason, code(&end)), ("silent", Code::DeadlineExceeded));
    drop(requests);
}

#[tokio::test]
async fn a_newer_stream_ends_the_older_and_keeps_the_live_state() {
    let rig = rig(8);
    let (old, _) = rig.start().await;
    old.send(numbered(0)).await;
    old.run_pending().await;
    assert_eq!(rig.store.live_rows(), 1);
    let (new, _) = rig.start().await;
    let (_, end) = old.finish().await;
    assert_eq!((end.reason, code(&end)), ("superseded", Code::Aborted));
    assert_eq!(rig.store.live_rows(), 1, "the newer stream continues it");
    new.requests.send(Err(Status::unknown("reset"))).await.unwrap();
    let (_, end) = new.finish().await;
    assert_eq!((end.reason, end.status.is_none()), ("lost", true));
    assert_eq!(rig.store.live_rows(), 0);
}

#[tokio::test]
async fn a_graceful_shutdown_acknowledges_batches_in_flight() {
    let rig = rig(8);
    let (stream, _) = rig.start().await;
    let disk = rig.store.gate.write().await;
    for number in 1..=5 {
        stream.send(numbered(number)).await;
    }
    stream.run_pending().await;
    rig.stop.send_replace(true);
    stream.run_pending().await;
    stream.send(numbered(6)).await;
    stream.run_pending().await;
    assert_eq!(stream.unread(), 1, "nothing more is read");
    drop(disk);
    let (last, end) = stream.finish().await;
    assert_eq!((last, end.reason, code(&end)), (Some(5), "stopping", Code::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn budgets_are_sent_at_the_start_with_acks_and_on_changes() {
    let rig = rig(8);
    rig.store.set_budget(10);
    let (mut stream, resume) = rig.start_as(7).await;
    let budget = |series_max| Some(wire::SeriesBudget { series_max });
    assert_eq!(resume.series, budget(10));
    let ack = async |stream: &mut Stream| match stream.answer().await {
        Some(Kind::Ack(ack)) => (ack.number, ack.series),
        other => panic!("{other:?}"),
    };
    stream.send(numbered(1)).await;
    assert_eq!(ack(&mut stream).await, (1, None), "as before");
    rig.store.set_budget(20);
    assert_eq!(ack(&mut stream).await, (1, budget(20)), "although nothing is delivered");
    tokio::time::advance(Duration::from_secs(5)).await;
    rig.store.set_budget(30);
    stream.send(numbered(2)).await;
    let (number, series) = ack(&mut stream).await;
    assert_eq!(series, budget(30));
    if number < 2 {
        assert_eq!(ack(&mut stream).await, (2, None));
    }
}

fn epoch() -> GatewayEpoch {
    GatewayEpoch {
        gateway: gateway("berlin", "g1"),
        id: 1,
        created_ms: 1,
        shards: 1,
        run: 0,
        previous_runs: Default::default(),
    }
}
