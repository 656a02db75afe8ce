//! A stream from its first message to its cleanup.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use catchment_proto::{
    Capabilities, GatewayId, SeriesKey,
    wire::{self, DeliverRequest, DeliverResponse, deliver_response::Kind},
};
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::{Code, Status};

use super::{
    end::{End, broken},
    task::StreamTask,
};
use crate::{
    ingest::{
        admit::{self, StreamAdmission},
        budget::Budget,
        bytes::StreamBytes,
        raw_routes::ASKED_MAX,
        revocations::ListsSender,
        shared::Shared,
    },
    session_end::SessionEnd,
    store::{GatewayEpoch, IngestStore},
};

/// Longest wait for the first message.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a gateway knows that a batch may be refused: one that reports its run does.
fn knows_refusals(message: &DeliverRequest) -> bool {
    matches!(&message.kind, Some(wire::deliver_request::Kind::Start(start)) if start.run != 0)
}

/// What a gateway announced.
fn capabilities(message: &DeliverRequest) -> Capabilities {
    let Some(wire::deliver_request::Kind::Start(start)) = &message.kind else { return Capabilities::NONE };
    Capabilities::read(&start.capabilities)
}

/// Keeps a stream attached to its epoch in the store while it lives.
struct Attached<'a> {
    store: &'a dyn IngestStore,
    epoch: &'a GatewayEpoch,
}

impl<'a> Attached<'a> {
    fn new(store: &'a dyn IngestStore, epoch: &'a GatewayEpoch) -> Self {
        store.attach(epoch);
        Self { store, epoch }
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.store.detach(self.epoch);
    }
}

/// Serves one stream until it ends.
pub(in crate::ingest) async fn run(
    shared: &Shared,
    (gateway, session): (GatewayId, SessionEnd),
    bytes: &StreamBytes,
    requests: impl Stream<Item = Result<DeliverRequest, Status>> + Send,
    responses: &mpsc::Sender<Result<DeliverResponse, Status>>,
) -> End {
    let mut requests = pin!(requests);
    let (asking, raw_asked) = mpsc::channel(ASKED_MAX);
    let start = match tokio::time::timeout(START_TIMEOUT, requests.next()).await {
        Err(_) => return End::new("silent", Code::DeadlineExceeded, "no Start arrived in time"),
        Ok(None) => return End { reason: "closed", status: None },
        Ok(Some(Err(status))) => return broken(status),
        Ok(Some(Ok(message))) => {
            (knows_refusals(&message), capabilities(&message), admit::start(gateway, message))
        }
    };
    let (knows_refusals, capabilities, start) = start;
    let knows_raw = capabilities.contains(Capabilities::RAW_1);
    let knows_lists = capabilities.contains(Capabilities::REVOCATIONS_1);
    let (mut epoch, version) = match start {
        Ok(start) => start,
        Err(refusal) => return refusal.into(),
    };
    clamp_created(shared, &mut epoch);
    let (registered, superseded) =
        shared.streams.register(&epoch, &version, (knows_raw.then_some(asking), knows_lists));
    let epoch = Arc::new(epoch);
    // Dropped last: nothing of the stream is in flight then.
    let _attached = Attached::new(&*shared.store, &epoch);
    let delivered = match shared.store.begin(&epoch).await {
        Ok(delivered) => delivered,
        Err(error) => return error.into(),
    };
    let (store, of) = (Arc::clone(&shared.store), epoch.gateway.clone());
    let known = Box::new(move |key: &SeriesKey| store.known_series(&of, key));
    let admission = StreamAdmission::new(epoch.shards, delivered).with_known_series(known);
    let (budget, series) = Budget::begin(&*shared.store, &epoch);
    let newer_epoch = shared.store.newer_epoch(&epoch).unwrap_or(0);
    let resume = wire::Resume { series, newer_epoch, ..admission.resume() };
    let durable = resume.delivered.clone();
    let resume = DeliverResponse { kind: Some(Kind::Resume(resume)) };
    let end = if responses.send(Ok(resume)).await.is_err() {
        End { reason: "closed", status: None }
    } else {
        let mut task = StreamTask {
            shared,
            responses,
            epoch: Arc::clone(&epoch),
            admission,
            registered: &registered,
            bytes,
            refused: 0,
            in_flight: FuturesOrdered::new(),
            acks: BTreeMap::new(),
            durable,
            budget,
            series: None,
            knows_refusals,
            refusals: BTreeMap::new(),
            raw_asked,
            raw_next: None,
            lists: knows_lists.then(|| ListsSender::new(&shared.streams.revocations)),
            acked_last: false,
        };
        task.run(requests, superseded, session.ended()).await
    };
    if registered.leave() {
        shared.store.drop_live(&epoch);
        if shared.streams.waiting.end((&epoch.gateway, epoch.id), None) {
            shared.publish_waiting();
        }
    }
    end
}

/// Limits the claimed creation time of a data folder to what this clock allows.
fn clamp_created(shared: &Shared, epoch: &mut GatewayEpoch) {
    let known = shared.store.created_ms(epoch);
    let claimed = std::mem::replace(&mut epoch.created_ms, 0);
    epoch.created_ms = shared.clock_bound().created(claimed, known);
    if epoch.created_ms != claimed {
        tracing::warn!(
            gateway = %epoch.gateway, epoch = epoch.id, claimed_ms = claimed, taken_ms = epoch.created_ms,
            "a gateway's data folder claims to have been created in the future: check the gateway's clock"
        );
    }
}
