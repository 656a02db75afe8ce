//! The task of one delivery stream.
//!
//! Batches are put concurrently, so that the store can make many durable with one sync; their results are taken
//! in the order in which they came, and acks are merged by shard while the gateway is slow to read them.
//! When the bound of batches in flight is reached, the stream is not read: HTTP/2's flow control slows the
//! gateway. Any error ends the stream after the acks of everything before it; the gateway sends again what was
//! not acknowledged.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use catchment_partial::Timestamp;
use catchment_proto::{
    Batch, GatewayId,
    wire::{BatchAck, DeliverRequest, DeliverResponse, deliver_response::Kind},
};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tonic::{Code, Status};

use super::{
    admit::{self, Admission, Admitted, Order, Refusal},
    service::Shared,
    sessions::Session,
};
use crate::store::{Origin, Store, StoreError};

/// Longest wait for the first message.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// A gateway whose batch finds no room is held this long before it may come back.
const FULL_PAUSE: Duration = Duration::from_secs(2);

/// Why a stream ended: a word for metrics, and the status for the gateway unless it ended the stream itself.
#[derive(Debug)]
pub(super) struct End {
    pub(super) reason: &'static str,
    pub(super) status: Option<Status>,
}

impl End {
    pub(super) fn new(reason: &'static str, code: Code, message: impl Into<String>) -> Self {
        Self { reason, status: Some(Status::new(code, message)) }
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason(), refusal.code(), refusal.to_string())
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        let (reason, code) = match &error {
            StoreError::Full(_) => ("full", Code::ResourceExhausted),
            StoreError::Gap { .. } => ("gap", Code::FailedPrecondition),
            StoreError::Superseded => ("superseded", Code::Aborted),
            StoreError::Body { .. } => ("malformed", Code::InvalidArgument),
            StoreError::Poisoned(_) => ("store_failed", Code::Unavailable),
            StoreError::Read(_) => ("store_unreadable", Code::Unavailable),
        };
        let advice = if reason == "full" { "; send again later" } else { "" };
        Self::new(reason, code, format!("{error}{advice}"))
    }
}

/// Something in flight, in the order of its arrival.
enum Done {
    Batch { shard: u32, number: u64, partials: u64, result: Result<(), StoreError> },
    Live(Result<(), StoreError>),
    Progress { shard: u32, watermark: Option<Timestamp>, last: u64 },
}

/// Serves one stream until it ends.
pub(super) async fn run(
    shared: &Shared,
    gateway: GatewayId,
    requests: impl Stream<Item = Result<DeliverRequest, Status>> + Send,
    responses: &mpsc::Sender<Result<DeliverResponse, Status>>,
) -> End {
    let mut requests = pin!(requests);
    let start = match tokio::time::timeout(START_TIMEOUT, requests.next()).await {
        Err(_) => return End::new("silent", Code::DeadlineExceeded, "no Start came"),
        Ok(None) => return End { reason: "closed", status: None },
        Ok(Some(Err(status))) => return broken(status),
        Ok(Some(Ok(message))) => admit::start(gateway, message),
    };
    let (mut origin, version) = match start {
        Ok(start) => start,
        Err(refusal) => return refusal.into(),
    };
    let known = shared.store.created_ms(&origin);
    let claimed = std::mem::replace(&mut origin.epoch_created_ms, 0);
    origin.epoch_created_ms = shared.horizon().created(claimed, known);
    if origin.epoch_created_ms != claimed {
        tracing::warn!(
            gateway = %origin.gateway, epoch = origin.epoch, claimed_ms = claimed, taken_ms = origin.epoch_created_ms,
            "a gateway's data folder claims to be created in the future: check the gateway's clock"
        );
    }
    let (session, superseded) = shared.sessions.enter(&origin, &version);
    let delivered = match shared.store.begin(&origin).await {
        Ok(delivered) => delivered,
        Err(error) => return error.into(),
    };
    let admission = Admission::new(origin.shards, delivered);
    let resume = DeliverResponse { kind: Some(Kind::Resume(admission.resume())) };
    let origin = Arc::new(origin);
    let end = if responses.send(Ok(resume)).await.is_err() {
        End { reason: "closed", status: None }
    } else {
        let mut flow = Flow {
            shared,
            responses,
            origin: Arc::clone(&origin),
            admission,
            session: &session,
            refused: 0,
            flying: FuturesOrdered::new(),
            acks: BTreeMap::new(),
        };
        flow.run(requests, superseded).await
    };
    if session.leave() {
        shared.store.drop_live(&origin);
    }
    end
}

/// The gateway's side broke the stream: a message too large, a reset, a lost connection.
fn broken(status: Status) -> End {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => End { reason: "too_large", status: Some(status) },
        Code::Internal | Code::InvalidArgument => End { reason: "malformed", status: Some(status) },
        _ => End { reason: "lost", status: None },
    }
}

struct Flow<'a> {
    shared: &'a Shared,
    responses: &'a mpsc::Sender<Result<DeliverResponse, Status>>,
    origin: Arc<Origin>,
    admission: Admission,
    session: &'a Session,
    /// Watermarks that were not believed, as far as they are counted.
    refused: u64,
    flying: FuturesOrdered<BoxFuture<'static, Done>>,
    /// Highest number of each shard that is durable and not yet told; bounded by the shards.
    acks: BTreeMap<u32, u64>,
}

impl Flow<'_> {
    async fn run(
        &mut self,
        mut requests: impl Stream<Item = Result<DeliverRequest, Status>> + Unpin + Send,
        mut superseded: oneshot::Receiver<()>,
    ) -> End {
        let mut stopping = self.shared.stopping.clone();
        // Set when no more is read: the end that comes when everything in flight is acknowledged.
        let mut ending: Option<End> = None;
        loop {
            if self.flying.is_empty() && self.acks.is_empty() {
                match ending.take() {
                    Some(end) if end.reason == "full" => return self.hold(end, superseded, stopping).await,
                    Some(end) => return end,
                    None => {}
                }
            }
            let room = ending.is_none() && self.flying.len() < self.shared.in_flight_max;
            tokio::select! {
                biased;
                _ = &mut superseded => {
                    return End::new("superseded", Code::Aborted, "superseded by a newer stream of this gateway");
                }
                Some(done) = self.flying.next() => {
                    if let Err(error) = self.landed(done) {
                        // What follows the failed batch is not acknowledged, whatever became of it.
                        self.flying = FuturesOrdered::new();
                        ending = Some(error.into());
                    }
                }
                permit = self.responses.reserve(), if !self.acks.is_empty() => {
                    let (Ok(permit), Some((shard, number))) = (permit, self.acks.pop_first()) else {
                        return End { reason: "closed", status: None };
                    };
                    permit.send(Ok(DeliverResponse { kind: Some(Kind::Ack(BatchAck { shard, number, series: None })) }));
                }
                _ = stopping.wait_for(|stop| *stop), if ending.is_none() => {
                    ending = Some(End::new("stopping", Code::Unavailable, "this aggregator is stopping"));
                }
                request = requests.next(), if room => match request {
                    Some(Ok(message)) => {
                        self.heard();
                        match self.admission.admit(message, self.shared.horizon()) {
                            Ok(admitted) => self.launch(admitted),
                            Err(refusal) => ending = Some(refusal.into()),
                        }
                    }
                    Some(Err(status)) => ending = Some(broken(status)),
                    None => ending = Some(End { reason: "closed", status: None }),
                },
            }
        }
    }

    /// Counts a watermark that was not believed, and marks its gateway.
    fn note_clock(&mut self) {
        let refused = self.admission.watermarks_refused();
        self.shared.metrics.watermarks_refused.inc_by(refused.saturating_sub(self.refused));
        let ahead_ms = self.admission.ahead_ms();
        if let (0, Some(ahead_ms)) = (self.refused, ahead_ms) {
            let gateway = &self.origin.gateway;
            tracing::warn!(
                %gateway, ahead_ms,
                "a gateway's watermark is ahead of this clock by more than clock_tolerance and is not believed: check both clocks"
            );
        }
        self.session.note_ahead(ahead_ms);
        self.refused = refused;
    }

    /// Tells of a gateway whose data folder is there twice.
    fn heard(&self) {
        if self.session.heard() {
            self.shared.metrics.contended.inc();
            let gateway = &self.origin.gateway;
            tracing::warn!(
                %gateway,
                "two data folders deliver under one certificate: stop one of them, and give each gateway its own identity"
            );
        }
    }

    /// Gives something to the store, or in line behind what is there.
    fn launch(&mut self, admitted: Admitted) {
        if self.admission.watermarks_refused() > 0 {
            self.note_clock();
        }
        let metrics = &self.shared.metrics;
        match admitted {
            Admitted::Progress { shard, watermark, last } => {
                self.flying.push_back(Box::pin(async move { Done::Progress { shard, watermark, last } }));
            }
            Admitted::Batch { batch, first, order } => {
                match order {
                    Order::Next => {}
                    Order::Duplicate => _ = metrics.duplicates.inc(),
                    Order::Gap(skipped) => {
                        metrics.gaps.inc_by(skipped);
                        let gateway = &self.origin.gateway;
                        tracing::warn!(%gateway, shard = batch.shard, skipped, "batches were lost before this one");
                    }
                }
                let store = Arc::clone(&self.shared.store);
                self.flying.push_back(Box::pin(put(store, Arc::clone(&self.origin), batch, first)));
            }
        }
    }

    /// Takes a result, in order.
    fn landed(&mut self, done: Done) -> Result<(), StoreError> {
        let metrics = &self.shared.metrics;
        match done {
            Done::Progress { shard, watermark, last } => {
                self.shared.store.progress(&self.origin, shard, watermark, last)?
            }
            Done::Batch { shard, number, partials, result } => {
                result?;
                metrics.batches.inc();
                metrics.partials.inc_by(partials);
                self.acks.insert(shard, number);
            }
            Done::Live(Ok(())) => _ = metrics.live_batches.inc(),
            // The next live batch says the same and more.
            Done::Live(Err(StoreError::Full(_))) => _ = metrics.live_dropped.inc(),
            Done::Live(Err(error)) => return Err(error),
        }
        Ok(())
    }

    /// Keeps a gateway waiting whose batch found no room, so that it does not send it over and over.
    async fn hold(
        &mut self,
        end: End,
        superseded: oneshot::Receiver<()>,
        mut stopping: watch::Receiver<bool>,
    ) -> End {
        tokio::select! {
            () = tokio::time::sleep(FULL_PAUSE) => {}
            _ = superseded => {}
            _ = stopping.wait_for(|stop| *stop) => {}
            () = self.responses.closed() => {}
        }
        end
    }
}

async fn put(store: Arc<dyn Store>, origin: Arc<Origin>, batch: Batch, first: bool) -> Done {
    let (shard, number, live) = (batch.shard, batch.number, batch.live);
    let partials = batch.entries.len() as u64;
    let result = store.put(&origin, batch, first).await;
    if live { Done::Live(result) } else { Done::Batch { shard, number, partials, result } }
}

#[cfg(test)]
mod tests;
