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
        admit::{self, KnownSeries, StreamAdmission},
        backlog::Backlog,
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

/// Whether a gateway answers queries for raw readings, and whether it takes revocation lists.
fn knows_raw_and_lists(message: &DeliverRequest) -> [bool; 2] {
    let Some(wire::deliver_request::Kind::Start(start)) = &message.kind else { return [false; 2] };
    let capabilities = Capabilities::read(&start.capabilities);
    [Capabilities::RAW_1, Capabilities::REVOCATIONS_1].map(|one| capabilities.contains(one))
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
    let (knows_refusals, [knows_raw, knows_lists], start) =
        match tokio::time::timeout(START_TIMEOUT, requests.next()).await {
            Err(_) => return End::new("silent", Code::DeadlineExceeded, "no Start arrived in time"),
            Ok(None) => return End { reason: "closed", status: None },
            Ok(Some(Err(status))) => return broken(status),
            Ok(Some(Ok(message))) => {
                (knows_refusals(&message), knows_raw_and_lists(&message), admit::start(gateway, message))
            }
        };
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
    let admission = StreamAdmission::new(epoch.shards, delivered).with_known_series(known(shared, &epoch));
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
            left_out_logged: false,
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
            backlog: Backlog::default(),
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

/// Finds the gateway's series in the store.
fn known(shared: &Shared, epoch: &GatewayEpoch) -> KnownSeries {
    let (store, gateway) = (Arc::clone(&shared.store), epoch.gateway.clone());
    Box::new(move |key: &SeriesKey| store.known_series(&gateway, key))
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
